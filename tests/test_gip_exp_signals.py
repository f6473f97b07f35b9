"""Every signal is a named table in the store with a summary and a figure, and selectors read the one they name."""

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from gip_exp import pipeline
from gip_exp.artifacts import read_pool
from gip_exp.config import parse
from gip_exp.console import Console
from gip_exp.errors import UserError
from gip_exp.models import hub
from gip_exp.signals.summary import markdown, summary
from gip_exp.stages.signals import column_weights
from gip_exp.storage.files import read_jsonl
from selection import gip_select
from selection.self_compression import self_compression
from selection.signals import SignalTable, read_signals
from tests.fault_server import FaultServer

SHORT = ("sampler.samples=3", "sampler.max_tokens=6", "until=select")
FILES = {"scores.parquet", "summary.json", "summary.md", "distribution.svg"}


def quiet():
    return Console(io.StringIO())


def table_of(outcome, stage):
    return read_signals(outcome.entries[stage].folder / "scores.parquet")


def selected(outcome):
    return [row["id"] for row in read_jsonl(outcome.folder / "selected.jsonl")]


@pytest.fixture(scope="module")
def consistent(micro, shared_root):
    return pipeline.run(micro(shared_root, "selector=mp_self_consistency", *SHORT), quiet())


@pytest.fixture
def rows_file(tmp_path):
    """40 rows that carry numbers; the lengths grow, the votes alternate, `same` is constant."""
    path = tmp_path / "mine.jsonl"
    rows = [
        {
            "prompt": f"say {i} {'so' * (i % 7)}",
            "completion": f"{i * i} it is",
            "length": i + 0.5,
            "votes": i % 2,
            "same": 1,
        }
        for i in range(40)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def own(compose, path, root, *overrides):
    extra = [f"data.path={path}", f"paths.root={root}", "embedder=tfidf", "judge=rules", "until=select"]
    return parse(compose("+experiment=own_data", *extra, *overrides))


def test_the_judge_leaves_a_table_with_its_summary_and_a_vector_figure(micro, shared_root):
    outcome = pipeline.run(micro(shared_root, "until=select"), quiet())
    entry = outcome.entries["score"]
    assert {path.name for path in entry.folder.iterdir()} >= FILES
    facts = json.loads((entry.folder / "summary.json").read_text())
    table = table_of(outcome, "score")
    assert (facts["n"], list(facts["columns"])) == (240, list(table.names))
    assert facts["columns"]["steps"]["mean"] == pytest.approx(table.column("steps").mean(), abs=1e-3)
    figure = (entry.folder / "distribution.svg").read_text()
    assert "<image" not in figure  # nothing rasterised


def test_self_consistency_is_the_share_of_samples_with_the_reference_answer(consistent):
    table = table_of(consistent, "score/self_consistency")
    samples = read_jsonl(consistent.entries["score/self_consistency"].folder / "samples" / "00000000.jsonl")
    pool = read_pool(consistent.entries)
    for row, example, share in zip(samples, pool, table.column("self_consistency"), strict=True):
        reference = example["completion"].rpartition("####")[2].strip()
        agreeing = sum(sample["answer"] == reference for sample in row["samples"])
        assert share == pytest.approx(agreeing / 3)
    assert any(sample["answer"] for row in samples for sample in row["samples"])
    assert len({sample["text"] for row in samples for sample in row["samples"]}) > 300
    assert list(consistent.result["stages"])[:3] == ["data", "base", "score/self_consistency"]
    assert consistent.result["judge"] is None
    assert "score" not in consistent.entries  # no judge was asked


def test_sampling_goes_on_after_a_kill_with_the_same_numbers(consistent, micro, tmp_path, monkeypatch):
    from gip_exp.stages import self_consistency

    monkeypatch.setattr(self_consistency, "BLOCK", 64)
    whole = pipeline.run(micro(tmp_path / "whole", "selector=mp_self_consistency", *SHORT), quiet())
    config = micro(tmp_path / "cut", "selector=mp_self_consistency", *SHORT)
    real, drawn = self_consistency._rows, []

    def killed(*arguments):
        drawn.append(arguments)
        if len(drawn) == 3:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(self_consistency, "_rows", killed)
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(config, quiet())
    (torn,) = tmp_path.glob("cut/store/score/*.partial/samples/00000000.jsonl")
    torn.write_text(torn.read_text()[:-40])
    again = pipeline.run(config, quiet())
    assert (
        len(drawn) == 6
    )  # two blocks before the kill, the one it cost, the torn one, and the two that were left
    np.testing.assert_array_equal(
        table_of(again, "score/self_consistency").values, table_of(whole, "score/self_consistency").values
    )


def test_an_endpoint_is_sampled_once_for_every_reply(micro, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with FaultServer(fault_share=0.1, hang_s=1) as server:
        sampler = [
            "sampler=openai",
            "sampler.model=judge",
            f"sampler.base_url={server.url}",
            "sampler.timeout_s=5",
        ]
        overrides = ["selector=mp_self_consistency", "data.n=40", "sampler.answer=text", *SHORT, *sampler]
        with pytest.raises(UserError, match="every column of the signal self_consistency is the same"):
            pipeline.run(micro(tmp_path, *overrides), quiet())  # the scripted replies never agree
        account = server.account()
        assert account["bodies"][0]["messages"] == [
            {"role": "user", "content": account["bodies"][0]["messages"][0]["content"]}
        ]
        assert account["outcomes"]["ok"] == 3 * 40
        with pytest.raises(UserError, match="self_consistency is the same"):
            pipeline.run(micro(tmp_path, *overrides), quiet())
        assert server.account()["requests"] == account["requests"]


def test_rows_whose_samples_do_not_come_are_unscored_counted_and_asked_for_again(micro, tmp_path):
    with FaultServer(status=400, message="the prompt was filtered") as server:
        sampler = ["sampler=openai", "sampler.model=judge", f"sampler.base_url={server.url}"]
        config = micro(tmp_path, "selector=mp_self_consistency", "data.n=40", *SHORT, *sampler)
        with pytest.raises(
            UserError, match=r"40 of 40 rows have no self-consistency .*filtered.*allows 1.0%"
        ):
            pipeline.run(config, quiet())
        before = server.account()["requests"]
        with pytest.raises(UserError, match="40 of 40"):
            pipeline.run(config, quiet())
        assert server.account()["requests"] == 2 * before


def test_references_without_a_number_are_said_to_be_so(compose, tmp_path, monkeypatch):
    monkeypatch.setattr(hub, "no_answer", lambda _: "")  # a sampler is there, and is not asked
    path = tmp_path / "mine.jsonl"
    path.write_text(
        "".join(json.dumps({"prompt": f"p{i}", "completion": "no idea"}) + "\n" for i in range(20))
    )
    overrides = [
        "selector=mp_self_consistency",
        "sampler=openai",
        "sampler.model=m",
        "sampler.base_url=http://127.0.0.1:1",
    ]
    with pytest.raises(UserError, match="no reference completion ends in a number"):
        pipeline.run(own(compose, path, tmp_path, *overrides), quiet())


def test_self_compression_is_where_gips_own_rule_starts(micro, shared_root):
    outcome = pipeline.run(micro(shared_root, "selector=mp_sc", "until=select"), quiet())
    column = table_of(outcome, "score/self_compression").column("self_compression")
    features = np.load(outcome.entries["embed"].folder / "features.npy")
    first = gip_select(features, 1, ridge=1.0)
    assert first.indices[0] == column.argmax()
    assert first.gains[0] == pytest.approx(len(features) * column.max() / 2, rel=1e-4)  # K_ii = 1 + ridge
    unit = features - features.mean(axis=0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    np.testing.assert_allclose(column, ((unit @ unit.T) ** 2).mean(axis=1), rtol=1e-4)


@pytest.mark.parametrize("seed", range(20))
def test_two_rows_have_the_same_self_compression_however_the_processor_rounds(seed):
    pair = np.random.default_rng(seed).normal(size=(2, 50))  # opposite directions once the mean is subtracted
    assert len(set(self_compression(pair).tolist())) == 1


def test_self_compression_refuses_what_cannot_be_prepared():
    with pytest.raises(ValueError, match="row 1 holds NaN or inf"):
        self_compression(np.array([[1.0, 2.0], [np.nan, 1.0]], dtype=np.float32))
    with pytest.raises(ValueError, match="features"):
        self_compression(np.ones(3, dtype=np.float32))


def test_metadata_columns_become_a_signal(compose, rows_file, tmp_path):
    config = own(compose, rows_file, tmp_path, "selector=mp_metadata", "data.metadata=[length,votes,same]")
    said = io.StringIO()
    outcome = pipeline.run(config, Console(said))
    table = table_of(outcome, "score/metadata")
    assert table.names == ("length", "votes", "same")
    np.testing.assert_array_equal(table.column("length"), np.arange(40) + 0.5)
    assert "every row has the same value: same 1" in said.getvalue()
    top = own(
        compose,
        rows_file,
        tmp_path,
        "selector=top_score",
        "selector.signal=metadata",
        "data.metadata=[length]",
        "budget=3",
        "target.n=0",
    )
    assert selected(pipeline.run(top, quiet())) == ["train-000039", "train-000038", "train-000037"]


def test_negative_metadata_is_shifted_once_said_and_recorded(compose, rows_file, tmp_path):
    rows = [json.loads(line) for line in rows_file.read_text().splitlines()]
    for number, row in enumerate(rows):
        row |= {"reward": number - 60.0, "loss": 40.0 - number, "votes": number + 1}
    rows_file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = ["data.metadata=[reward,loss,votes]", "target.n=0"]
    said = io.StringIO()
    config = own(
        compose, rows_file, tmp_path, "selector=mp_metadata", *columns, "data.lower_is_better=[loss]"
    )
    outcome = pipeline.run(config, Console(said))
    table = table_of(outcome, "score/metadata")
    assert table.values.min() == 0
    assert np.diff(table.values, axis=0).min() >= 0  # in all three columns the last row is the best now
    np.testing.assert_array_equal(table.column("votes"), np.arange(40) + 1)
    assert "'reward' has 40 scores below zero (lowest -60)" in said.getvalue()
    assert (
        "'loss' has 40 scores below zero (lowest -40), and selectors square scores: it is negated"
        in said.getvalue()
    )
    assert "'votes'" not in said.getvalue()
    shifted = outcome.entries["score/metadata"].facts["shifted"]
    assert shifted["reward"] == pytest.approx({"zero": -58.05, "n_negative": 40, "n_below_zero": 2})
    assert set(shifted) == {"reward", "loss"}
    assert np.mean([int(name[-6:]) for name in selected(outcome)]) > 30
    shown = pq.read_table(outcome.folder / "scored.parquet")  # the page and its table show the user's numbers
    assert shown["reward"].to_pylist() == [row["reward"] for row in rows]
    assert shown["loss"].to_pylist() == [row["loss"] for row in rows]
    as_it_is = io.StringIO()
    pipeline.run(own(compose, rows_file, tmp_path, "selector=mp_metadata", *columns), Console(as_it_is))
    assert "set data.lower_is_better=[loss]" in as_it_is.getvalue()


def test_lower_is_better_names_columns_of_metadata(compose, rows_file, tmp_path):
    with pytest.raises(
        UserError, match=r"data\.lower_is_better names 'loss', which is not in data\.metadata"
    ):
        own(compose, rows_file, tmp_path, "data.metadata=[length]", "data.lower_is_better=[loss]")


def test_lower_is_better_of_a_column_of_text_is_refused(compose, tmp_path):
    path = tmp_path / "mine.jsonl"
    rows = [{"prompt": f"ask {i}", "completion": "b", "length": i, "topic": "sums"} for i in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = own(
        compose,
        path,
        tmp_path,
        "selector=mp_metadata",
        "data.metadata=[length,topic]",
        "data.lower_is_better=[topic]",
    )
    with pytest.raises(
        UserError, match=r"names 'topic', which is a text column: give a numeric column \(length\)"
    ):
        pipeline.run(config, quiet())


def test_data_limit_cuts_the_metadata_too(compose, rows_file, tmp_path):
    config = own(
        compose, rows_file, tmp_path, "selector=mp_metadata", "data.metadata=[length]", "data.limit=25"
    )
    assert len(table_of(pipeline.run(config, quiet()), "score/metadata").ids) == 25


@pytest.mark.parametrize(
    ("cell", "odd"),
    [('"long"', ", 'long' in line 2"), ("null", ""), ("NaN", ""), ("[3]", ", '[3]' in line 2"), ('" "', "")],
)
def test_a_row_without_a_number_is_unscored_and_said(compose, tmp_path, cell, odd):
    path = tmp_path / "mine.jsonl"
    lines = [f'{{"prompt": "ask {i}", "completion": "b", "length": {i}}}\n' for i in range(20)]
    lines[1] = lines[1].replace('"length": 1', f'"length": {cell}')
    path.write_text("".join(lines))
    said = io.StringIO()
    config = own(
        compose, path, tmp_path, "selector=top_score", "selector.signal=metadata", "data.metadata=[length]"
    )
    outcome = pipeline.run(config, Console(said))
    assert f"'length': 1 of 20 rows have no number and are unscored (first: line 2{odd})" in said.getvalue()
    assert outcome.result["n_unscored"] == 1
    assert np.isnan(table_of(outcome, "score/metadata").column("length")[1])


def test_text_is_a_category_and_no_score(compose, tmp_path):
    path = tmp_path / "mine.jsonl"
    topics = ["sums", "words", None, "words"]
    path.write_text(
        "".join(
            json.dumps({"prompt": f"ask {i}", "completion": "b", "topic": topics[i % 4]}) + "\n"
            for i in range(40)
        )
    )
    said = io.StringIO()
    config = own(
        compose, path, tmp_path, "selector=random", "data.metadata=[topic]", "budget=40", "target.n=0"
    )
    outcome = pipeline.run(config, Console(said))
    assert (
        "data.metadata column 'topic' is text (first: 'sums'; numbers are written as 1234.5): its 2 values "
        "are categories for the report, not scores" in said.getvalue()
    )
    assert outcome.result["categories"] == {
        "topic": {"words": {"pool": 20, "selected": 20}, "sums": {"pool": 10, "selected": 10}}
    }
    with pytest.raises(
        UserError, match=r"selector=mp_metadata needs numbers, but no column in data\.metadata is numeric"
    ):
        pipeline.run(own(compose, path, tmp_path, "selector=mp_metadata", "data.metadata=[topic]"), quiet())


def test_another_metadata_column_makes_nothing_else_again(compose, rows_file, tmp_path):
    runs = [
        pipeline.run(own(compose, rows_file, tmp_path, "selector=mp_sc", f"data.metadata={columns}"), quiet())
        for columns in ("[]", "[length]", "[length,votes]")
    ]
    assert all(
        len({run.entries[name].key for run in runs}) == 1 for name in ("data", "embed", "rank", "select")
    )
    assert runs[1].entries["data/metadata"].key != runs[2].entries["data/metadata"].key
    assert len({run.folder for run in runs}) == 3


def test_a_missing_column_lists_the_columns_there_are_and_csv_text_counts_as_a_number(compose, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("prompt,completion,size\n" + "".join(f"ask {i},say {i},{i}.5\n" for i in range(20)))
    with pytest.raises(
        UserError,
        match=r"the column 'length', which does not exist: the rows have 'prompt', 'completion', 'size'",
    ):
        pipeline.run(own(compose, path, tmp_path, "selector=mp_metadata", "data.metadata=[length]"), quiet())
    sized = ["selector=mp_metadata", "data.metadata=[size]", "embedder.min_count=1"]
    outcome = pipeline.run(own(compose, path, tmp_path, *sized), quiet())
    np.testing.assert_array_equal(table_of(outcome, "score/metadata").column("size"), np.arange(20) + 0.5)


def test_a_selector_on_metadata_without_any_says_which_key_to_set(micro, compose, rows_file, tmp_path):
    with pytest.raises(UserError, match=r"data.metadata=\[COLUMN,...\]"):
        pipeline.run(own(compose, rows_file, tmp_path, "selector=mp_metadata"), quiet())
    with pytest.raises(UserError, match="the generated pool has no such columns"):
        pipeline.run(micro(tmp_path, "selector=mp_metadata"), quiet())


def test_a_mixture_holds_scaled_weighted_columns_and_is_what_is_selected_by(compose, rows_file, tmp_path):
    mixed = [
        "selector=mp_mixture",
        "selector.signals={judge:null,self_consistency:null}",
        "data.metadata=[length,votes]",
    ]
    weights = ["+selector.signals.metadata.length=1", "+selector.signals.self_compression=0.5"]
    outcome = pipeline.run(own(compose, rows_file, tmp_path, *mixed, *weights), quiet())
    table = table_of(outcome, "score/mixture")
    assert table.names == ("self_compression", "metadata/length")
    sizes = np.sqrt((table.values**2).mean(axis=0))
    np.testing.assert_allclose(sizes, [0.5, 1.0])
    assert "score" not in outcome.entries
    correlation = json.loads((outcome.entries["score/mixture"].folder / "summary.json").read_text())[
        "correlation"
    ]
    assert len(correlation["matrix"]) == 2
    lighter = [*mixed, weights[0], "+selector.signals.self_compression=20"]
    assert selected(pipeline.run(own(compose, rows_file, tmp_path, *lighter), quiet())) != selected(outcome)


def test_top_score_honours_the_weights_of_a_mixture(compose, rows_file, tmp_path):
    base = [
        "selector=top_score",
        "selector.signal=mixture",
        "data.metadata=[length,votes]",
        "budget=3",
        "target.n=0",
    ]
    by_length = [*base, "+selector.signals.metadata={length:1,votes:0.001}"]
    by_votes = [*base, "+selector.signals.metadata={length:0.001,votes:1}"]
    assert selected(pipeline.run(own(compose, rows_file, tmp_path, *by_length), quiet()))[0] == "train-000039"
    chosen = selected(pipeline.run(own(compose, rows_file, tmp_path, *by_votes), quiet()))
    assert all(int(name[-2:]) % 2 for name in chosen)


def test_a_column_that_the_source_lacks_is_named_with_those_it_has():
    signals = {"judge": 1.0, "judge.taste": 2.0}
    with pytest.raises(
        UserError, match=r"names judge.taste, which is not in the table .*; choose from: accuracy, clarity"
    ):
        column_weights("judge", ("accuracy", "clarity"), signals)


def test_a_column_s_own_weight_goes_before_its_sources():
    signals = {"judge": 1.0, "judge.clarity": 2.0, "judge.steps": None}
    assert column_weights("judge", ("accuracy", "clarity", "steps"), signals) == {
        "accuracy": 1.0,
        "clarity": 2.0,
    }


def test_a_summary_counts_gaps_and_correlates_what_is_known():
    values = np.array([[1, 3, 5], [2, 2, 5], [3, 1, 5], [np.nan, 9, 5]], dtype=float)
    facts = summary(SignalTable(("a", "b", "c", "d"), ("x", "y", "same"), values))
    assert facts["n_unscored"] == 1
    assert facts["columns"]["x"] | {} == {
        "n": 3, "distinct": 3, "mean": 2.0, "sd": pytest.approx(0.8165, abs=1e-4), "min": 1.0, "q25": 1.5,
        "median": 2.0, "q75": 2.5, "max": 3.0,
    }  # fmt: skip
    assert facts["correlation"]["matrix"] == [[1.0, -1.0, None], [-1.0, 1.0, None], [None, None, None]]
    assert "| x | 3 | 2 | 0.8165 |" in markdown("title", facts)


def test_selectors_without_a_signal_make_none(micro, shared_root):
    outcome = pipeline.run(micro(shared_root, "selector=random", "until=select"), quiet())
    assert not [name for name in outcome.result["stages"] if name.startswith("score")]
