"""`select_rows`: what goes in, what comes out, and that it selects what the command selects."""

import json
import subprocess
import sys

import numpy as np
import pytest

from gip_exp import select_rows
from gip_exp.errors import UserError
from gip_exp.storage.files import read_jsonl

SUBJECTS = ["otters", "lathes", "violins", "glaciers"]


@pytest.fixture(scope="module")
def rows():
    made = [
        {
            "prompt": f"Tell me fact {i} about {SUBJECTS[i % 4]}.",
            "completion": f"The {SUBJECTS[i % 4]} have {i} parts and {i * i} uses.",
            "reward": float((7 * i) % 11),
        }
        for i in range(60)
    ]
    made[9]["completion"] = ""  # left out, so that later rows do not have their number in the pool
    return made


def test_the_picks_are_the_given_rows_at_the_indices(rows):
    subset = select_rows(rows, 6)
    assert len(subset) == 6
    assert list(subset) == [rows[at] for at in subset.indices]
    assert subset[0] == rows[subset.indices[0]]
    assert subset.n == 60
    assert any("row" in note and "empty" in note for note in subset.notes)
    assert repr(subset).startswith("<Subset: 6 of 60 rows: ")
    assert subset.report().is_file()
    assert len(subset.scored) == 60  # the empty row too, with why it was left out
    assert subset.measures["coverage"]["subset"] > 0


def test_it_selects_what_the_command_selects(rows, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [
        "+experiment=own_data",
        f"data.path={path}",
        "budget=7",
        "selector=mp_metadata",
        "data.metadata=[reward]",
    ]
    subprocess.run(
        [sys.executable, "-m", "gip_exp", *command, f"paths.root={tmp_path}/out"],
        check=True,
        capture_output=True,
    )
    (selected,) = (tmp_path / "out" / "runs").rglob("selected.jsonl")
    expected = [row["row"] - 1 for row in read_jsonl(selected)]
    assert select_rows(rows, 7, scores="reward").indices.tolist() == expected
    from_path = select_rows(str(path), 7, scores="reward")
    assert from_path.indices.tolist() == expected
    assert from_path.rows == [rows[at] for at in expected]


def test_scores_are_columns_functions_or_both(rows):
    by_column = select_rows(
        rows, 5, scores="reward", selector="top_score", settings=["selector.signal=metadata"]
    )
    by_function = select_rows(
        rows, 5, scores=lambda row: row["reward"], selector="top_score", settings=["selector.signal=metadata"]
    )
    assert by_column.indices.tolist() == by_function.indices.tolist()
    assert {row["reward"] for row in by_column} == {10.0}
    both = select_rows(rows, 5, scores={"reward": "reward", "short": lambda row: -len(row["prompt"])})
    assert {"reward", "short"} <= set(both.scored.columns)


def test_given_embeddings_decide(rows):
    """Rows of one direction are covered by one pick; the row that is left out keeps its vector's place."""
    embeddings = np.eye(4)[[at % 4 for at in range(60)]] + 0.01 * np.random.default_rng(0).normal(
        size=(60, 4)
    )
    subset = select_rows(rows, 4, embeddings=embeddings, settings=["selector.center=false"])
    assert {at % 4 for at in subset.indices} == {0, 1, 2, 3}


def test_data_frames_and_datasets_go_in_and_datasets_come_out(rows):
    import datasets
    import pandas as pd

    expected = select_rows(rows, 5).indices.tolist()
    assert select_rows(pd.DataFrame(rows), 5).indices.tolist() == expected
    dataset = datasets.Dataset.from_list(rows).cast_column("reward", datasets.Value("float32"))
    found = select_rows(dataset, 5)
    assert found.indices.tolist() == expected
    assert found.dataset().features == dataset.features
    assert select_rows(iter(rows), 5).dataset().to_list() == found.rows


def test_lists_and_missing_values_of_data_frames_are_read_as_those_of_dicts(rows, tmp_path):
    """A chat in a data frame read from Parquet is an array of dicts, and a missing value of a nullable column `pd.NA`."""
    import pandas as pd
    import pyarrow as pa

    chats = [
        {
            "messages": [
                {"role": "user", "content": row["prompt"]},
                {"role": "assistant", "content": row["completion"] or "None."},
            ],
            "reward": int(row["reward"]),
        }
        for row in rows
    ]
    expected = select_rows(chats, 5, scores="reward").indices.tolist()
    pd.DataFrame(chats).to_parquet(tmp_path / "chats.parquet")
    read = pd.read_parquet(tmp_path / "chats.parquet")
    assert select_rows(read, 5, scores="reward").indices.tolist() == expected
    assert select_rows(pa.Table.from_pylist(chats), 5, scores="reward").indices.tolist() == expected
    kinds = [None if at % 2 else "wood" for at in range(60)]
    with_topics = pd.DataFrame(rows).assign(kind=pd.array(kinds, dtype="string"))
    settings = ["data.metadata=[kind]"]
    scored = select_rows(with_topics, 5, settings=settings).scored
    assert set(scored["kind"].dropna()) == {"wood"}


def test_texts_with_unicode_line_breaks_come_back_from_a_path(rows, tmp_path):
    path = tmp_path / "rows.jsonl"
    broken = [{**row, "completion": f"{row['completion']}\u2028End.\x85"} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in broken))
    subset = select_rows(path, 4, scores="reward")
    assert subset.rows == [broken[at] for at in subset.indices]


def test_several_files_are_refused_even_if_one_holds_every_pick(rows, tmp_path):
    for part in range(2):
        lines = [
            json.dumps({**row, "reward": 100.0 * part + row["reward"]}) for row in rows[30 * part :][:30]
        ]
        (tmp_path / f"train-0000{part}-of-00002.jsonl").write_text("\n".join(lines))
    settings = ["selector.signal=metadata"]
    with pytest.raises(UserError, match="has several files, so rows have no number"):
        select_rows(tmp_path, 2, scores="reward", selector="top_score", settings=settings)


def test_a_dataset_of_rows_with_different_keys_holds_all_of_them_and_adds_none():
    """`datasets` takes the columns of the first row, and gives every tool call the arguments of all others."""

    def row(n):
        call = {"type": "function", "function": {"name": "add", "arguments": {"x": n} if n % 2 else {"y": n}}}
        asked = {"role": "user", "content": f"What is {n} plus {n}?"}
        turns = [asked, {"role": "assistant", "content": "", "tool_calls": [call]}]
        turns += [
            {"role": "tool", "content": str(2 * n)},
            {"role": "assistant", "content": f"It is {2 * n}."},
        ]
        return {"messages": turns, **({"note": n} if n % 3 else {})}

    found = select_rows([row(n) for n in range(12)], 12)
    table = found.dataset()
    assert table.column_names == ["messages", "note"]
    for given, got in zip(found.rows, table.to_list(), strict=True):
        assert {name: value for name, value in got.items() if value is not None} == given


def test_a_prefix_is_the_smaller_selection(rows):
    subset = select_rows(rows, 12)
    assert subset.prefix(3).indices.tolist() == subset.indices[:3].tolist()
    assert len(subset.prefix(0.1)) == 6
    assert len(subset.prefix(np.int64(3))) == 3
    assert subset.prefix(3).dataset().num_rows == 3
    with pytest.raises(UserError, match=r"budget=13 is 13 rows: give 1 to 12"):
        subset.prefix(13)


def test_a_folder_is_reused(rows, tmp_path):
    first = select_rows(rows, 5, root=tmp_path)
    again = select_rows(rows, 5, root=tmp_path)
    assert first.folder == again.folder
    record = json.loads((again.folder / "result.json").read_text())
    assert all(stage["cached"] for stage in record["stages"].values())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"budget": 61}, "budget=61 exceeds the pool of 59 rows"),
        ({"selector": "nope"}, "selector/nope"),
        ({"settings": ["selector.rige=1"]}, "did you mean selector.ridge"),
        ({"scores": "rewrad"}, "scores names the column 'rewrad', which no row has; did you mean reward"),
        (
            {"scores": lambda row: row["x"]},
            r"scores\['<lambda>'\]|scores\['score'\] fails on rows\[0\]: KeyError: 'x'",
        ),
        ({"scores": {"quality": "rewrad"}}, r"scores names the column 'rewrad', which no row has"),
        ({"scores": {"reward": len}}, r"'reward', which is a column of rows\[0\] already"),
        ({"scores": "reward", "judge": "rules"}, "scores and judge are both given"),
        ({"embeddings": np.ones((3, 2))}, "has 3 vectors, but the data has 60 rows"),
        ({"embeddings": np.ones(60)}, r"give numbers of the shape \(rows, dimensions\)"),
        ({"rows": {"train": []}}, "of a DatasetDict, one split"),
        ({"rows": 5}, "rows is a int"),
        ({"rows": [1, 2]}, r"rows\[0\] is a int"),
        ({"rows": []}, "rows is empty"),
        ({"rows": "no/such/file.jsonl"}, "does not exist"),
    ],
)
def test_wrong_arguments_are_named(rows, given, message):
    with pytest.raises(UserError, match=message):
        select_rows(**{"rows": rows, "budget": 5, **given})
