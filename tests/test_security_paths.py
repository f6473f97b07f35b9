"""What stands in rows, plans and shared folders names no file outside the run's own folders and calls no function."""

import json
import os

import pytest

from gip_exp import pipeline
from gip_exp.config import parse
from gip_exp.console import Console
from gip_exp.training.torchrun import resolve

NAMES = [
    "../../escaped",
    "/tmp/escaped-absolute",
    "a\x00b",
    "x" * 300,
    "CON",
    "..",
    "~root",
    "$(touch escaped)",
    "`touch escaped`",
]


def test_rows_with_names_like_paths_write_nothing_outside_the_root(tmp_path, compose, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    rows = [
        {"id": f"{name}{i}", "prompt": f"{name} question number {i}", "completion": f"answer {name} {i}",
         "../../column": i % 7, "path": name, "file_name": name}
        for i, name in enumerate(NAMES * 8)
    ]  # fmt: skip
    (tmp_path / "in" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    root = tmp_path / "deep" / "er" / "out"
    overrides = ["+experiment=own_data", "selector=mp_metadata", "data.metadata=['../../column']", "budget=5"]
    config = parse(compose(*overrides, f"data.path={tmp_path}/in", f"paths.root={root}", "until=select"))
    with open(os.devnull, "w") as quiet:
        done = pipeline.run(config, Console(quiet))
    assert done.result["n_selected"] == 5
    outside = {path for path in tmp_path.rglob("*") if not path.is_relative_to(root)}
    assert outside == {root.parent, root.parent.parent, tmp_path / "in", tmp_path / "in" / "train.jsonl"}
    assert all(len(path.name) < 100 for path in root.rglob("*"))
    assert not any("escaped" in path.name for path in root.rglob("*"))


def test_a_task_of_several_processes_calls_functions_of_this_project_alone():
    with pytest.raises(ValueError, match=r"os:system is not a function of gip_exp"):
        resolve("os:system")
    assert resolve("gip_exp.training.torchrun:main").__module__ == "gip_exp.training.torchrun"
