"""Selectors from outside: a ranking in a file, an installed package; and what a signature says."""

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gip_exp import pipeline
from gip_exp.config import parse
from gip_exp.config.selector import section_of
from gip_exp.console import Console
from gip_exp.data import ranking_file
from gip_exp.errors import UserError
from gip_exp.registry import selectors
from gip_exp.registry.signature import split_parameters
from gip_exp.stages import score
from gip_exp.storage.files import read_jsonl

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def rows(tmp_path):
    """A file of ten rows."""
    path = tmp_path / "rows.jsonl"
    lines = [{"prompt": f"question {i}", "completion": "answer " * (10 - i)} for i in range(10)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def ranked(compose, rows, tmp_path):
    """ranked(file, ...): ids selected from ten rows by a ranking file."""

    def run(file: Path, *overrides: str) -> tuple[pipeline.Outcome, list[str]]:
        common = ["+experiment=own_data", f"data.path={rows}", "selector=ranking", f"selector.path={file}"]
        config = parse(compose(*common, f"paths.root={tmp_path / 'outputs'}", "budget=3", *overrides))
        outcome = pipeline.run(config, Console(io.StringIO()))
        return outcome, [row["id"] for row in read_jsonl(outcome.folder / "selected.jsonl")]

    return run


def test_a_ranking_is_taken_from_parquet_jsonl_and_npy_by_id_or_row_number(ranked, tmp_path):
    wanted = ["train-000007", "train-000002", "train-000009"]
    numbers = [7, 2, 9, 0]
    pq.write_table(pa.table({"row": numbers, "score": [4.0, 3, 2, 1]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"anything": wanted}), tmp_path / "b.parquet")
    (tmp_path / "c.jsonl").write_text("".join(json.dumps({"id": name}) + "\n" for name in wanted))
    (tmp_path / "d.jsonl").write_text("7\n2\n9\n")
    np.save(tmp_path / "e.npy", np.array(numbers))
    np.save(tmp_path / "f.npy", np.array(wanted))
    for name in ("a.parquet", "b.parquet", "c.jsonl", "d.jsonl", "e.npy", "f.npy"):
        assert ranked(tmp_path / name)[1] == wanted, name


def test_a_ranking_counts_by_its_content_not_by_its_place(ranked, tmp_path):
    (tmp_path / "a.jsonl").write_text("1\n2\n3\n")
    (tmp_path / "b.jsonl").write_text("1\n2\n3\n")
    first, _ = ranked(tmp_path / "a.jsonl")
    same, _ = ranked(tmp_path / "b.jsonl")
    assert same.result["stages"]["rank"]["cached"]
    (tmp_path / "a.jsonl").write_text("3\n2\n1\n")
    other, ids = ranked(tmp_path / "a.jsonl")
    assert not other.result["stages"]["rank"]["cached"]
    assert ids == ["train-000003", "train-000002", "train-000001"]
    assert other.folder != first.folder


def test_a_unicode_line_break_within_an_id_is_no_end_of_a_line(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"id": "a\u2028b"}\n\n"c"\n')
    assert ranking_file.read(tmp_path / "a.jsonl", ["c", "a\u2028b"]) == [1, 0]


def test_held_out_rows_of_a_ranking_are_left_out_and_counted(ranked, tmp_path):
    np.save(tmp_path / "all.npy", np.arange(10))
    outcome, ids = ranked(tmp_path / "all.npy", "target.n=2", "target.max_share=0.5")
    assert len(ids) == 3
    assert any("2 of its 10 rows are held out" in note for note in outcome.entries["rank"].notes)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("a.jsonl", "1\n2\n", "ranks 2 rows of the pool, but budget=3 needs 3"),
        ("a.jsonl", "1\n2\n11\n", "entry 3: 11 is not a row number of the pool \\(10 rows\\)"),
        ("a.jsonl", '1\n2\n"x"\n', "entry 3: 'x' is not a known id of the pool"),
        ("a.jsonl", "1\n2\n1\n", "entry 3: 1 is repeated"),
        ("a.jsonl", "1\n2\n2.5\n", "2.5 is neither an id nor a row number"),
        ("a.jsonl", "1\n{\n", "cannot be read as a ranking"),
        ("a.csv", "1\n", "the ending '.csv' is unknown: give .parquet, .jsonl or .npy"),
    ],
)
def test_a_ranking_that_does_not_fit_is_an_error_that_names_the_entry(
    ranked, tmp_path, name, content, problem
):
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=problem):
        ranked(tmp_path / name)


def test_a_ranking_that_is_not_there_is_said_before_the_start(ranked, tmp_path):
    with pytest.raises(UserError, match="is not a file: give a ranking"):
        ranked(tmp_path / "none.npy")


def test_a_signature_is_sorted_into_what_is_filled_and_options():
    def select(features, budget, *, seed: int, gate: float = 0.5, candidates=None): ...

    reads, options = split_parameters(select, selectors.READS)
    assert reads == {"features", "budget", "candidates"}
    assert options == {"seed": (int, ...), "gate": (float, 0.5)}

    def starred(*rows): ...

    with pytest.raises(TypeError, match="rows"):
        split_parameters(starred, selectors.READS)


def test_every_selector_of_the_project_has_a_config_and_a_yaml_file():
    named = {path.stem for path in (ROOT / "conf" / "selector").glob("*.yaml")}
    for kind in selectors.own():
        assert section_of(kind).model_fields["kind"].annotation is not None
        assert kind == "gip" or kind in named


def test_the_page_adds_a_selector_a_judge_and_an_embedder(rows, tmp_path):
    """The blocks of gip_exp/README.md, written to the files they name in a copy of the project, and run."""
    for folder in ("gip_exp", "selection", "baselines", "eval", "conf"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    page = (ROOT / "gip_exp" / "README.md").read_text(encoding="utf-8")
    written = re.findall(r"^```(?:python|yaml)\n# (\S+)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    for name, text in written:
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert {"baselines/shortest.py", "gip_exp/signals/judges/brief.py", "conf/embedder/lengths.yaml"} < {
        name for name, _ in written
    }
    command = [sys.executable, "-m", "gip_exp", "-m", "+experiment=own_data", f"data.path={rows}", "budget=2"]
    command += ["selector=shortest,top_score,mp_sc", "judge=brief", "judge.enough=30", "embedder=lengths"]
    command += [f"paths.root={tmp_path / 'outputs'}", "selector.name=added"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    chosen = [
        [row["id"] for row in read_jsonl(path)]
        for path in (tmp_path / "outputs" / "runs" / "own_data").glob("*/selected.jsonl")
    ]
    shortest = ["train-000009", "train-000008"]  # completions of 7, 14, ... characters: four score 1
    assert sorted(map(len, chosen)) == [2, 2, 2]
    assert shortest in chosen
    assert any(set(ids) <= {f"train-00000{i}" for i in (6, 7, 8, 9)} and ids != shortest for ids in chosen)


def judged(columns: dict[str, np.ndarray]) -> None:
    score._check("mine", columns, 3)


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({}, "judge=mine returned no attribute"),
        ({"a": np.ones(2)}, r"attribute 'a' must have 3 numbers, .* has the shape \(2,\)"),
        ({"a": np.ones(3), "b": np.array([1, np.inf, 0])}, "attribute 'b' .* 1 infinite values"),
        ({"a": np.full(3, np.nan)}, "scored none of the 3 rows"),
    ],
)
def test_columns_of_a_judge_that_do_not_fit_are_an_error(columns, problem):
    judged({"a": np.array([1.0, np.nan, 0.0])})
    with pytest.raises(UserError, match=problem):
        judged(columns)


PACKAGE = {
    "pyproject.toml": """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "shortest-rows"
version = "1.2"
[project.entry-points."gip_exp.selectors"]
shortest = "shortest_rows.method:select"
""",
    "shortest_rows/__init__.py": "",
    "shortest_rows/method.py": '''
import numpy as np
from selection import Selection
from selection.types import Count

def select(texts, budget, *, at_least: Count = 1):
    """The shortest texts of at least so many characters."""
    lengths = np.array([len(text) for text in texts])
    order = [i for i in np.argsort(lengths, kind="stable") if lengths[i] >= at_least][:budget]
    return Selection(np.array(order), -lengths[order].astype(float))
''',
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A three-file package that adds a selector, installed by pip into a folder of its own."""
    source, target = tmp_path_factory.mktemp("package"), tmp_path_factory.mktemp("installed")
    for name, text in PACKAGE.items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).write_text(text)
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run([*pip, "--target", target, source], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return target


def gip_exp(installed: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gip_exp", *map(str, arguments)]
    environment = {"PYTHONPATH": str(installed), "PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def test_an_installed_package_adds_a_selector_with_its_options(installed, rows, tmp_path):
    common = ["+experiment=own_data", f"data.path={rows}", f"paths.root={tmp_path / 'outputs'}", "budget=2"]
    done = gip_exp(installed, *common, "selector=shortest", "selector.at_least=40")
    assert done.returncode == 0, done.stderr
    (folder,) = (tmp_path / "outputs" / "runs" / "own_data").iterdir()
    assert [row["id"] for row in read_jsonl(folder / "selected.jsonl")] == ["train-000005", "train-000004"]
    (manifest,) = (tmp_path / "outputs" / "store" / "rank").glob("*/manifest.json")
    kept = json.loads(manifest.read_text())
    assert kept["settings"]["package"] == "shortest-rows==1.2"
    assert "shortest_rows/method.py" in kept["code"]

    refused = gip_exp(installed, *common, "selector=shortest", "selector.at_least=0")
    assert refused.returncode == 2
    assert "selector.at_least=0: input should be greater than or equal to 1" in refused.stderr
    unknown = gip_exp(installed, *common, "selector=shortes")
    assert unknown.returncode == 2
    assert "Could not find 'selector/shortes'" in unknown.stderr
