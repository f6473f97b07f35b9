"""Your own data from file or hub to a subset that any trainer takes, with the rows as they were beside it."""

import io
import json
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gip_exp import pipeline
from gip_exp.artifacts import read_selected
from gip_exp.cli.run import show, show_files
from gip_exp.config import parse
from gip_exp.config.data import Hub, RowsData
from gip_exp.console import Console
from gip_exp.data import load as load_module
from gip_exp.errors import UserError
from gip_exp.models.prompts import renderer
from gip_exp.stages import data
from gip_exp.storage.files import read_jsonl
from gip_exp.storage.row_table import read_table
from selection.signals import read_signals

FILLER = "cats dogs birds fish cows pigs goats hens ducks mice".split()


def rows_of(n=40):
    return [
        {"id": f"mine-{i}", "prompt": f"Say {FILLER[i % 10]} {i}", "completion": f"{i} it is", "votes": i % 3}
        for i in range(n)
    ]


def written(path, items):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((i if isinstance(i, str) else json.dumps(i)) + "\n" for i in items))
    return path


@pytest.fixture
def own(compose, tmp_path):
    """A parsed `own_data` on a path, by a selector that costs nothing; one with embeddings by override."""

    def parsed(path, *overrides):
        fixed = [f"data.path='{path}'", f"paths.root={tmp_path / 'out'}", "selector=random", "budget=0.1"]
        return parse(compose("+experiment=own_data", *fixed, *overrides))

    return parsed


def run(config):
    """(outcome, what was printed)."""
    said = io.StringIO()
    return pipeline.run(config, Console(said)), said.getvalue()


def test_the_subset_is_ready_for_trainers_and_the_rows_as_they_were_lie_beside_it(own, tmp_path):
    from datasets import load_dataset

    rows = rows_of()
    outcome, said = run(own(written(tmp_path / "my rows.jsonl", rows)))
    assert "my rows.jsonl: shape prompt_completion: prompt = prompt, completion = completion" in said
    assert ", id = id (not read: 'votes')" in said
    assert (outcome.result["n_pool"], outcome.result["n_target"], outcome.result["n_selected"]) == (40, 0, 4)
    files = [outcome.folder / name for name in ("selected.jsonl", "selected_rows.jsonl")]
    table, originals = (
        load_dataset("json", data_files=str(file), split="train", cache_dir=str(tmp_path / "cache"))
        for file in files
    )
    assert table.column_names == ["id", "prompt", "completion", "rank", "gain", "source", "row", "own_id"]
    assert table["rank"][:] == [1, 2, 3, 4]
    places = [int(name.removeprefix("train-")) for name in table["id"]]
    assert originals.to_list() == [rows[place] for place in places]
    assert table["own_id"][:] == originals["id"][:]
    assert table["row"][:] == [place + 1 for place in places]
    assert set(table["source"]) == {"my rows.jsonl"}
    assert table["prompt"][:] == originals["prompt"][:]


def test_the_last_lines_name_the_files(own, tmp_path):
    outcome, _ = run(own(written(tmp_path / "a.jsonl", rows_of())))
    said = io.StringIO()
    console = Console(said)
    show(outcome.result, console)
    show_files(outcome.result, outcome.folder, console)
    lines = said.getvalue().splitlines()
    assert "  4 of 40 examples by random" in lines
    assert any(line.startswith("│ coverage") for line in lines)
    assert [line.rpartition("/")[2] for line in lines[-4:]] == [
        "selected_rows.jsonl",
        "selected.jsonl",
        "scored.parquet",
        "selection.html",
    ]


def test_rows_left_out_shift_no_row_against_its_example(own, tmp_path):
    rows = rows_of(12)
    broken = ["{oops", *rows[:3], {"prompt": "x"}, *rows[3:], {**rows[0], "completion": ""}]
    path = written(tmp_path / "a.jsonl", broken)
    with pytest.raises(
        UserError, match=r"3 broken rows; fix or remove them, or leave them out \(data.drop_broken"
    ):
        run(own(path, "data.drop_empty=false"))
    outcome, said = run(
        own(path, "data.drop_broken=true", "data.limit=10", "budget=10", "data.metadata=[votes]")
    )
    assert "2 broken rows are left out (data.drop_broken; first: line 1: not JSON" in said
    assert (
        "a.jsonl: 1 of 15 rows are left out because their completion is empty (data.drop_empty; first: line 15)"
        in said
    )
    assert "not read" not in said  # the votes are
    assert (outcome.folder / "log.txt").read_text("utf-8").count("2 broken rows are left out") == 1
    chosen = read_jsonl(outcome.folder / "selected.jsonl")
    originals = read_jsonl(outcome.folder / "selected_rows.jsonl")
    assert [row["prompt"] for row in chosen] == [row["prompt"] for row in originals]
    assert [row["own_id"] for row in chosen] == [row["id"] for row in originals]
    assert [broken[row["row"] - 1]["id"] for row in chosen] == [row["id"] for row in originals]
    assert sorted(row["id"] for row in originals) == sorted(row["id"] for row in rows[:10])
    left_out = {"broken": 2, "empty_completion": 1, "limit": 2, "repeated": 0}
    assert outcome.result["left_out"] == left_out
    listed = read_jsonl(outcome.entries["data"].folder / "left_out.jsonl")
    assert [(row["row"], row["source_row"], row["why"]) for row in listed] == [
        ("line 1", 1, "broken"),
        ("line 5", 5, "broken"),
        ("line 15", 15, "empty_completion"),
    ]
    assert listed[1]["problem"].startswith("column 'completion' is missing")
    every = pq.read_table(outcome.folder / "scored.parquet", columns=["source", "row", "status"])
    assert every.to_pylist()[-3:] == [
        {"source": "a.jsonl", "row": 1, "status": "left out: broken"},
        {"source": "a.jsonl", "row": 5, "status": "left out: broken"},
        {"source": "a.jsonl", "row": 15, "status": "left out: empty_completion"},
    ]
    with pytest.raises(UserError, match="no row is left"):
        run(
            own(
                written(tmp_path / "b.jsonl", [{"prompt": "x", "completion": {"y": 1}}]),
                "data.drop_broken=true",
            )
        )


def test_a_column_of_decimals_is_numeric(own, tmp_path):
    cells = [Decimal(i) / 2 for i in range(11)] + [None]
    columns = {name: [row[name] for row in rows_of(12)] for name in ("prompt", "completion")}
    table = pa.table(columns | {"votes": pa.array(cells, type=pa.decimal128(6, 2))})
    pq.write_table(table, tmp_path / "a.parquet")
    outcome, said = run(
        own(tmp_path / "a.parquet", "selector=mp_metadata", "data.metadata=[votes]", "budget=3")
    )
    assert outcome.result["n_selected"] == 3
    assert "1 of 12 rows have no number and are unscored" in said


def test_repeats_and_conversations_are_said(own, tmp_path):
    turns = [
        {"role": role, "content": text} for role, text in zip(("user", "assistant") * 2, "abcd", strict=True)
    ]
    _, said = run(own(written(tmp_path / "a.jsonl", [{"messages": turns}] * 3 + [{"messages": turns[:2]}])))
    assert "3 of 4 rows are conversations of several turns: the last reply is the completion" in said
    assert (
        "2 of 4 rows are left out: they repeat the texts of an earlier row (data.repeated=drop; first: "
        in said
    )


def test_copies_are_left_out_listed_and_counted(own, tmp_path):
    rows = rows_of(20)
    near = rows[3] | {"prompt": rows[3]["prompt"].upper() + " !"}
    path = written(tmp_path / "a.jsonl", [*rows, rows[5], near, {**rows[0], "votes": 9}])
    kept = ("data.metadata=[votes]", "budget=1.0", "target.n=0")
    everything, said = run(own(path, "data.repeated=keep", *kept))
    assert everything.result["n_selected"] == 23
    assert everything.result["left_out"] == {}
    assert "2 of 23 rows repeat the texts of an earlier row (data.repeated=drop" in said
    outcome, said = run(own(path, "data.near_copies=0.8", *kept))
    assert outcome.result["left_out"] == {"repeated": 2, "near_copies": 1}
    assert "1 of 23 rows are left out: they are near-copies of an earlier row (data.near_copies=0.8;" in said
    listed = read_jsonl(outcome.entries["data"].folder / "left_out.jsonl")
    assert [(row["id"], row["why"], row["of"]) for row in listed] == [
        ("train-000020", "repeated", "train-000005"),
        ("train-000021", "near_copies", "train-000003"),
        ("train-000022", "repeated", "train-000000"),
    ]
    assert listed[1]["similarity"] == 1.0
    assert (listed[1]["row"], listed[1]["of_row"]) == (
        f"line 22 (id {near['id']})",
        f"line 4 (id {rows[3]['id']})",
    )
    assert f"first: line 21 (id {rows[5]['id']}), of line 6 (id {rows[5]['id']}))" in said
    originals = read_jsonl(outcome.folder / "selected_rows.jsonl")
    assert sorted(row["id"] for row in originals) == sorted(row["id"] for row in rows)


def test_rows_left_out_in_the_middle_leave_origins_originals_and_metadata_too(own, tmp_path):
    """A copy, a near-copy and a row with a test question stand before rows that stay."""
    asked = {"prompt": "How many " + " ".join(FILLER) + " are in the barn?", "completion": "none"}
    rows = [row | {"topic": f"topic {i}", "votes": i} for i, row in enumerate(rows_of(12))]
    near = rows[1] | {"prompt": rows[1]["prompt"].upper() + " !", "topic": "near", "votes": 98}
    first = [rows[0], rows[0] | {"votes": 99}, rows[1], near, rows[2], {"id": "leak", **asked}]
    written(tmp_path / "own" / "train.jsonl", first + rows[3:])
    written(tmp_path / "own" / "test.jsonl", [asked, {"prompt": "How many?", "completion": ""}])
    dropped = ("data.near_copies=0.8", "data.contaminated=drop", "data.limit=13")
    outcome, _ = run(own(tmp_path / "own", *dropped, "data.metadata=[votes,topic]", "until=select"))
    assert outcome.result["left_out"] == {"repeated": 1, "near_copies": 1, "contaminated": 1, "limit": 2}
    assert outcome.result["test_left_out"] == {"empty_completion": 1}
    kept = rows[:10]
    made, columns = outcome.entries["data"].folder, outcome.entries["data/metadata"].folder
    ids = [example["id"] for example in read_table(made / "pool.arrow")]
    origins = list(read_table(made / "origins.arrow"))
    assert [origin["id"] for origin in origins] == ids
    assert [origin["own_id"] for origin in origins] == [row["id"] for row in kept]
    assert [origin["row"] for origin in origins] == [1, 3, 5, *range(7, 14)]
    assert [json.loads(row["row"]) for row in read_table(made / "rows.arrow")] == kept
    numbers = read_signals(columns / "metadata.parquet")
    assert (list(numbers.ids), numbers.column("votes").tolist()) == (ids, [row["votes"] for row in kept])
    assert read_jsonl(columns / "categories.jsonl") == [
        {"id": name, "topic": row["topic"]} for name, row in zip(ids, kept, strict=True)
    ]


def test_training_reads_of_a_conversation_what_selected_jsonl_says(own, tmp_path):
    from types import SimpleNamespace

    turns = [
        {"role": role, "content": text} for role, text in zip(("user", "assistant") * 2, "abcd", strict=True)
    ]
    config = own(written(tmp_path / "a.jsonl", [{"messages": turns}]), "budget=1", "model=tiny")
    outcome, _ = run(config)
    tokenizer = SimpleNamespace(eos_token="</s>")
    prompt = config.model.prompt
    [example] = read_selected(outcome.entries)
    row = renderer(prompt, tokenizer).training_row(example)
    assert row["prompt"] == prompt.template.replace("{prompt}", "User: a\n\nAssistant: b\n\nUser: c")
    assert row["completion"] == prompt.completion_prefix + "d</s>"


def test_shards_are_one_pool_and_their_order_is_content(own, tmp_path):
    rows = rows_of(20)
    paths = [
        written(tmp_path / "s" / f"train-0000{i}-of-00002.jsonl", rows[i * 10 : i * 10 + 10]) for i in (0, 1)
    ]
    config = own(tmp_path / "s")
    outcome, said = run(config)
    assert "train-00000-of-00002.jsonl to train-00001-of-00002.jsonl: 20 rows" in said
    before = data.STAGE.settings(config, {})
    assert len(before["train"]) == 2
    paths[1].write_text(paths[1].read_text().replace("it is", "it was"))
    assert data.STAGE.settings(config, {}) != before
    assert outcome.result["n_pool"] == 20


@pytest.mark.parametrize("selector", ["dsir", "less"])
def test_selectors_that_aim_at_held_out_rows_say_that_there_are_none(own, tmp_path, selector):
    path = written(tmp_path / "a.jsonl", rows_of(6))
    with pytest.raises(
        UserError, match=f"target.n=0 holds out no rows, but selector={selector} needs target rows"
    ):
        run(own(path, f"selector={selector}", "model=tiny"))
    with pytest.raises(
        UserError, match=f"selector={selector} needs held-out target rows, but none of the 6 rows is held out"
    ):
        run(own(path, f"selector={selector}", "model=tiny", "target.n=128"))


def test_less_knows_rows_without_room_for_an_answer_before_its_warm_up_and_never_picks_them(own, tmp_path):
    rows = rows_of(30)
    rows[6]["prompt"] = "Say " + "cats " * 200
    path = written(tmp_path / "a.jsonl", rows)
    small = [
        "model.scratch.steps=2",
        "model.scratch.batch=2",
        "selector.dimensions=16",
        "train.max_length=64",
    ]
    small += [
        "selector.warmup_share=0.5",
        "selector.warmup.epochs=2",
        "train.require_loss_fall=false",
        "train=lora_tiny",
    ]
    less = ["selector=less", "model=tiny", "target.n=4", "train.batch=4", "train.micro_batch=4", *small]
    outcome, said = run(own(path, *less, "budget=26"))
    note = (
        "LESS: 1 of 30 examples are left out: their prompts fill selector.warmup.max_length=64 tokens, so no token of the "
        "answer remains (line 7 (id mine-6))"
    )
    assert said.index(note) < said.index("warmup: ")
    chosen = read_jsonl(outcome.folder / "selected.jsonl")
    assert (outcome.result["n_pool"], outcome.result["n_unscored"]) == (27, 1)
    assert len(chosen) == 26
    assert "mine-6" not in {row["own_id"] for row in chosen}
    with pytest.raises(UserError, match="budget=27 needs 27 rows, but only 26 of 27 are ranked"):
        run(own(path, *less, "budget=27"))
    with pytest.raises(
        UserError, match=r"budget=1.0 needs 27 rows, but LESS can use only 26 of 27: lower the budget"
    ):
        run(own(path, *less, "budget=1.0", "selector.warmup.epochs=1"))


def test_a_single_row_leaves_nothing_to_choose_between(own, tmp_path):
    config = own(written(tmp_path / "a.jsonl", rows_of(1)), "selector=mp_sc")
    with pytest.raises(UserError, match="the pool is a single row"):
        run(config)
    assert not list(tmp_path.rglob("*.partial"))


def test_a_pool_of_two_rows_gives_one_by_words_of_single_rows_and_that_is_said(own, tmp_path):
    path = written(tmp_path / "a.jsonl", rows_of(2))
    outcome, said = run(own(path, "selector=k_center", "budget=0.05"))
    assert outcome.result["n_selected"] == 1
    assert "embedder.min_count=2 lowered to 1" in said
    assert (outcome.folder / "selection.html").is_file()


def test_rows_that_differ_in_no_word_are_one_message(own, tmp_path):
    rows = [{"prompt": "?", "completion": "a" + " " * i + "b"} for i in range(1, 4)]
    with pytest.raises(UserError, match="gives every text the same vector"):
        run(own(written(tmp_path / "a.jsonl", rows), "selector=k_center", "budget=2"))


def test_rows_that_share_one_word_alone_are_told_apart_by_their_own(own, tmp_path):
    rows = [{"prompt": f"p{i}", "completion": f"a c{i}"} for i in range(3)]
    outcome, said = run(own(written(tmp_path / "a.jsonl", rows), "selector=k_center", "budget=2"))
    assert outcome.result["n_selected"] == 2
    assert "embedder.min_count=2 lowered to 1" in said


# The hub, at the boundary of `datasets.load_dataset`.


@pytest.fixture
def hub(monkeypatch):
    """A hub that holds `owner/name` with splits of its own; what it was asked for."""
    from datasets import Dataset

    asked = []

    def load(name, config, *, split, revision):
        asked.append((name, config, split, revision))
        if split not in ("train", "small", "test"):
            raise ValueError(f'Unknown split "{split}".\nShould be one of [train, small, test].')
        return Dataset.from_list(rows_of(5 if split == "small" else 20))

    monkeypatch.setattr("datasets.load_dataset", load)
    monkeypatch.setattr(load_module, "missing_dataset", lambda *_: [])
    monkeypatch.setattr(load_module, "other_revision", lambda *_: "")
    return asked


def test_a_data_set_on_the_hub_is_named_in_short_or_in_full(own, hub):
    outcome, said = run(own("owner/name"))
    assert "owner/name (train): 20 rows" in said
    short = outcome.entries["data"].key
    again, _ = run(own("null", "data.path=null", "data.hub.name=owner/name"))
    assert again.entries["data"].key == short
    assert again.entries["data"].cached
    small, _ = run(own("owner/name", "data.hub.split=small", "data.hub.config=main", "data.hub.revision=v1"))
    assert small.result["n_pool"] == 5
    assert hub == [("owner/name", None, "train", None), ("owner/name", "main", "small", "v1")]


def test_a_split_that_is_not_there_is_a_message_with_those_that_are(own, hub):
    with pytest.raises(
        UserError, match=r"Should be one of \[train, small, test\].*set data.hub.config=NAME or"
    ):
        run(own("owner/name", "data.hub.split=validation"))


def test_an_unreachable_hub_is_a_message_before_any_work(own, tmp_path):
    with pytest.raises(
        UserError, match=r"data.path=owner/name is not a local file or folder, and as a hub data set: "
    ):
        run(own("owner/name"))
    assert not (tmp_path / "out").exists()


def test_a_path_that_is_given_wins_over_a_configs_own_data_set():
    config = RowsData(
        kind="rows", shape="auto", drop_empty=False, max_length=1, hub=Hub(name="a/b", config="main")
    )
    assert load_module.hub_of(config) == config.hub
    assert load_module.hub_of(config.model_copy(update={"path": "/tmp"})) is None
    other = load_module.hub_of(config.model_copy(update={"path": "c/d"}))
    assert other == Hub(name="c/d", config="main")


def test_rows_in_a_script_without_spaces_have_vectors_of_their_own(own, data_dir):
    path = data_dir / "cases" / "chinese.jsonl"
    outcome, said = run(own(path, "selector=mp_sc", "budget=20"))
    features = np.load(outcome.entries["embed"].folder / "features.npy")
    assert len(np.unique(np.round(features, 5), axis=0)) == len(features) == 300
    assert "distinct texts the vector of another one" not in said
    _, said = run(own(path, "selector=dsir", "target.n=20", "budget=20"))
    assert "280 of 280 rows are in scripts without spaces, where the words of DSIR" in said


def test_different_texts_with_the_same_vector_are_said(own, tmp_path):
    rows = [{"prompt": f"say it {FILLER[i % 4]}", "completion": f"unheard{i}"} for i in range(40)]
    _, said = run(own(written(tmp_path / "a.jsonl", rows), "selector=mp_sc", "budget=3"))
    assert "embedder=tfidf gives 36 of 40 distinct texts the vector of another one" in said


def test_the_rule_judge_is_left_out_where_it_means_nothing(own, tmp_path, data_dir):
    path = data_dir / "cases" / "chinese.jsonl"
    with pytest.raises(
        UserError,
        match="judge=rules reads only Latin letters, but all 300 rows are in other scripts: for other",
    ):
        run(own(path, "selector=top_score"))
    chinese = [json.loads(line) for line in path.open()][:10]
    mixed = [{"prompt": row["instruction"], "completion": row["output"]} for row in chinese]
    mixed += [*rows_of(29), {"prompt": "Say it", "completion": "It is so. And then it was"}]
    outcome, said = run(
        own(written(tmp_path / "a.jsonl", mixed), "selector=top_score", "budget=5", "target.n=0")
    )
    assert outcome.result["n_unscored"] == 10
    assert (
        "10 of 40 rows are unscored and cannot be picked by these scores (first: line 1: judge=rules" in said
    )
    page = (outcome.folder / "selection.md").read_text()
    assert "10 rows of the pool have no score and could not be selected" in page
    (reason,) = {row["reason"] for row in read_jsonl(outcome.entries["score"].folder / "unscored.jsonl")}
    assert reason == "judge=rules reads only Latin letters"


def test_replies_in_other_languages_than_english_are_said(own, tmp_path):
    rows = [
        {
            "prompt": f"Di algo de {FILLER[i % 10]} {i}",
            "completion": f"No hay más que {i} en la casa y no son muy caros",
        }
        for i in range(20)
    ]
    rows += [
        {"prompt": "Say it", "completion": "It is"},
        {"prompt": "Say that", "completion": "that and that and that and"},
    ]
    _, said = run(own(written(tmp_path / "a.jsonl", rows), "selector=top_score", "budget=5", "target.n=0"))
    assert "judge=rules is made for English, but of 22 replies 20 (Spanish) are in other languages" in said


def test_the_default_selects_from_rows_without_a_visible_flaw_and_says_what_has_no_part(
    compose, tmp_path, capsys
):
    """All attributes of the rules are the same for every row, so that variety alone decides."""
    rows = [
        {"prompt": f"Tell me fact {i} about water.", "completion": f"Water number {i} is wet."}
        for i in range(40)
    ]
    path = written(tmp_path / "rows.jsonl", rows)
    given = ["+experiment=own_data", f"data.path={path}", f"paths.root={tmp_path}/out", "budget=5"]
    outcome = pipeline.run(parse(compose(*given, "embedder.min_count=1")), Console())
    assert outcome.result["n_selected"] == 5
    assert (
        "the signal judge is the same for every row and has no part in the mixture" in capsys.readouterr().err
    )


@pytest.mark.parametrize("column", ["topic", "votes"])
def test_a_column_of_the_rows_names_the_subtasks_of_the_target(own, tmp_path, column):
    rows = [row | {"topic": None if i < 4 else f"topic {i % 2}"} for i, row in enumerate(rows_of(200))]
    path = written(tmp_path / "rows.jsonl", rows)
    target = (
        "target.n=20",
        "target.max_share=0.2",
        f"data.metadata=[{column}]",
        f"selector.subtasks={column}",
    )
    outcome, said = run(own(path, "selector=target_similarity", *target, "until=select"))
    found = outcome.entries["rank"].facts["subtasks"]
    assert sum(found.values()) == 20
    if column == "votes":
        assert set(found) == {"0", "1", "2"}
    else:
        assert {"topic 0", "topic 1"} <= set(found)
        assert ("no value in the column 'topic'" in said) == ("" in found)


def test_an_unknown_column_of_subtasks_is_refused(own, tmp_path):
    path = written(tmp_path / "rows.jsonl", rows_of())
    with pytest.raises(UserError, match=r"selector.subtasks='topic' is no column of data.metadata=\[\]"):
        own(path, "selector=target_similarity", "target.n=4", "selector.subtasks=topic")
