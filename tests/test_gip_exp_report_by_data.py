"""A folder with runs on several data sets: what belongs together is compared, and the rest stands beside it."""

import json

import pytest

from gip_exp.cli.run import run_composed
from gip_exp.report.by_data import apart
from gip_exp.report.run import Run
from gip_exp.report.write import write_report


def a_run(tmp_path, name, data_key, *, seed=0, experiment="own_data", **settings):
    result = {
        "experiment": experiment, "model": "m", "selector": name, "budget": 5, "seed": seed, "metrics": {},
        "stages": {"data": {"key": data_key, "seconds": 1.0, "cached": False}}, "status": "done",
    }  # fmt: skip
    return Run(tmp_path / name, result, {f"data.{key}": value for key, value in settings.items()})


def names(runs):
    return [run.experiment for run in apart(runs)]


def test_runs_on_one_data_set_keep_their_name(tmp_path):
    assert (
        names([a_run(tmp_path, "a", "k1", path="x/a.json"), a_run(tmp_path, "b", "k1", path="a.json")])
        == ["own_data"] * 2
    )


def test_seeds_of_a_generated_pool_stay_together(tmp_path):
    assert (
        names([a_run(tmp_path, "a", "k0", n=9), a_run(tmp_path, "a", "k1", n=9, seed=1)]) == ["own_data"] * 2
    )


def test_files_are_told_apart_by_name_by_path_or_by_content(tmp_path):
    runs = [a_run(tmp_path, "a", "k1", path="x/a.json"), a_run(tmp_path, "b", "k2", path="x/b.json")]
    assert names(runs) == ["own_data [path=a.json]", "own_data [path=b.json]"]
    runs = [a_run(tmp_path, "a", "k1", path="x/a.json"), a_run(tmp_path, "b", "k2", path="y/a.json")]
    assert names(runs) == ["own_data [path=x/a.json]", "own_data [path=y/a.json]"]
    runs = [
        a_run(tmp_path, "a", "k1abcdefgh", path="a.json"),
        a_run(tmp_path, "b", "k2abcdefgh", path="a.json"),
    ]
    assert names(runs) == ["own_data [data=k1abcdef]", "own_data [data=k2abcdef]"]


def test_settings_of_the_data_tell_apart_and_other_experiments_keep_their_names(tmp_path):
    runs = [
        a_run(tmp_path, "a", "k1", path="a.json", limit=10),
        a_run(tmp_path, "b", "k2", path="a.json", limit=20),
        a_run(tmp_path, "c", "k3", experiment="other", path="c.json"),
    ]
    assert names(runs) == ["own_data [limit=10]", "own_data [limit=20]", "other"]


@pytest.fixture(scope="module")
def outputs(compose, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mixed")
    for name in ("a", "b"):
        rows = [
            {"prompt": f"{name} fact {i}?", "completion": f"Water {i} {name} is wet.", "kind": "k"}
            for i in range(40)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for path, more in (("a", ["selector=random"]), ("a", ["data.metadata=[kind]"]), ("b", [])):
        given = [
            "+experiment=own_data",
            f"data.path={folder}/{path}.jsonl",
            "budget=4",
            f"paths.root={folder}/out",
        ]
        run_composed(compose(*given, "embedder.min_count=1", *more))
    return folder / "out"


def test_selections_from_two_files_are_reported_side_by_side(outputs, capsys):
    report = write_report(outputs, outputs / "report")
    titles = [
        part.title for section in report.document.sections for part in section.parts if hasattr(part, "title")
    ]
    assert "own_data [path=a.jsonl]: the subsets beside random ones" in titles
    assert "own_data [path=b.jsonl]: the subsets beside random ones" in titles
    page = (outputs / "report" / "report.html").read_text()
    assert "Qwen" not in page  # no model took part
    assert "claims" not in page.lower()
    (table,) = [
        p
        for s in report.document.sections
        for p in s.parts
        if getattr(p, "title", "").endswith("a.jsonl]: the subsets beside random ones")
    ]
    assert [row[0] for row in table.rows] == ["MP+MA+SC", "Random"]
    assert "3 runs reported" in capsys.readouterr().out
