"""`gip-exp plan` takes what `gip-exp` takes: hub names, `~`, relative folders, own config folders, `until=`."""

import json
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from test_gip_exp_plan import run_plan

from gip_exp import graph, plan, result
from gip_exp.cli.main import with_home
from gip_exp.cli.run import run_files
from gip_exp.config import parse
from gip_exp.sweep import expand
from gip_exp.sweep import state as progress
from gip_exp.sweep.absolute_paths import with_absolute_paths
from tests.tiny_families import make_family

ROWS = "".join(json.dumps({"prompt": f"What is {n}?", "completion": f"It is {n}."}) + "\n" for n in range(30))


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A current folder with a model, a ranking and rows; `~` is the folder above it."""
    here = tmp_path / "home" / "here"
    here.mkdir(parents=True)
    make_family(here / "base", "mistral")
    (here / "best.jsonl").write_text('{"row": 0}\n')
    (here / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(here.parent))
    return here


@pytest.mark.parametrize(
    ("override", "name", "expected"),
    [
        ("data.path=rows.jsonl", "data.path", "{here}/rows.jsonl"),
        ("data.path=~/here/rows.jsonl", "data.path", "{here}/rows.jsonl"),
        ("data.path=openai/gsm8k", "data.path", "openai/gsm8k"),
        ("model.path=base", "model.path", "{here}/base"),
        ("model.path=~/here/base", "model.path", "{here}/base"),
        ("model.path=Qwen/Qwen3-8B", "model.path", "Qwen/Qwen3-8B"),
        ("embedder.model=base", "embedder.model", "{here}/base"),
        ("embedder.model=BAAI/bge-m3", "embedder.model", "BAAI/bge-m3"),
        ("selector.path=best.jsonl", "selector.path", "{here}/best.jsonl"),
    ],
)
def test_local_paths_become_absolute_and_hub_names_stay(compose, elsewhere, override, name, expected):
    base = ["+experiment=own_data", "model=qwen3_8b", "embedder=qwen3_embedding", "data.path=rows.jsonl"]
    group, key = name.split(".")
    if group == "selector":
        base.append("selector=ranking")
    config = with_absolute_paths(parse(compose(*base, with_home(override))))
    assert getattr(getattr(config, group), key) == expected.format(here=elsewhere)
    assert config.paths.root == elsewhere / "outputs"


def test_a_relative_model_is_the_same_run_planned_or_not_and_runs_from_any_folder(
    compose, elsewhere, tmp_path, capsys, monkeypatch
):
    Path("rows.jsonl").write_text(ROWS)
    overrides = ["+experiment=own_data", "data.path=rows.jsonl", "model=qwen3_8b", "model.path=base"]
    overrides += ["model.dtype=float32", "selector=random"]
    assert plan.main([*overrides, "--write", str(tmp_path / "a plan")]) == 0
    shown = capsys.readouterr().out
    assert f"gip-exp status '{tmp_path / 'a plan'}' --watch" in shown
    config = parse(compose(*overrides))
    (run,) = json.loads((tmp_path / "a plan" / "plan.json").read_text())["runs"]
    assert run["folder"] == str(elsewhere / result.run_folder(config, graph.run_key(config)))
    monkeypatch.chdir(tmp_path)
    assert run_files([str(tmp_path / "a plan" / "runs" / "000.yaml")]) == 0
    assert [state.state for state in progress.of_plan(tmp_path / "a plan")] == ["done"]


def test_a_run_planned_up_to_a_stage_is_not_taken_further_by_a_phase(tmp_path, capsys):
    folder = tmp_path / "plan"
    assert run_plan(tmp_path, capsys, "selector=random", "until=data", "--write", str(folder))[0] == 0
    assert run_files([str(folder / "runs" / "000.yaml"), "until=select"]) == 0
    assert "planned up to data (until=data) and stops there" in capsys.readouterr().err
    assert [state.state for state in progress.of_plan(folder)] == ["done"]
    assert not (tmp_path / "outputs" / "store" / "select").exists()


@pytest.mark.parametrize("how", ["--config-dir={}", "hydra.searchpath=[file://{}]"])
def test_own_config_folders_are_those_of_every_run(tmp_path, capsys, how):
    own = tmp_path / "own_conf" / "selector"
    own.mkdir(parents=True)
    random = yaml.safe_load((ROOT / "conf" / "selector" / "random.yaml").read_text())
    (own / "mine.yaml").write_text(yaml.safe_dump({**random, "name": "mine"}))
    chosen = how.format(own.parent)
    code, shown, err = run_plan(tmp_path, capsys, chosen, "selector=mine,full", "until=select")
    assert code == 0
    assert err.startswith("2 selectors = 2 runs\n")
    assert "mine_b" in shown


def test_the_first_line_says_what_varies():
    sweep = ["+experiment=quickstart", "selector=random,mp_ma", "seed=0,1,2", "train.lr=1e-3,1e-4"]
    assert expand.axes(expand.expand(sweep)) == "2 selectors x 3 seeds x 2 values of train.lr = 12 runs"
    assert expand.axes(expand.expand(["+experiment=quickstart"])) == "1 run"


def test_the_command_reads_rows_below_the_home_folder(elsewhere, capsys):
    Path("rows.jsonl").write_text(ROWS)
    assert plan.main(["+experiment=own_data", "data.path=~/here/rows.jsonl", "until=data"]) == 0
    assert capsys.readouterr().err.startswith("1 run\n")
