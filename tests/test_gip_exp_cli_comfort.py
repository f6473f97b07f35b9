"""What commands say beside their results: sweeps, dry runs, paths for scripts, adapters to take along."""

import io
import json
import sys

import huggingface_hub
import pytest
from conftest import MICRO
from test_gip_exp_main import run
from tiny_qwen3 import make_model

from gip_exp import pipeline
from gip_exp.cli import hydra_app
from gip_exp.cli import run as cli_run
from gip_exp.cli.export_adapter import main as export_adapter
from gip_exp.console import Console
from gip_exp.errors import UserError


@pytest.fixture
def rows(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        "".join(json.dumps({"prompt": f"Fact {i}?", "completion": f"Water {i}."}) + "\n" for i in range(40))
    )
    return path


def test_a_sweep_counts_its_runs_and_puts_them_side_by_side(tmp_path):
    done = run("-m", *MICRO, "until=select", "selector=random,mp_ma", root=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "run 1 of 2: selector=random" in done.stderr
    assert "run 2 of 2: selector=mp_ma" in done.stderr
    assert "gip-exp report" in done.stderr.splitlines()[-1]
    folders = done.stdout.splitlines()
    assert [folder.rpartition("/")[2].split("_b")[0] for folder in folders] == ["random", "mp_ma"]


def test_the_table_after_a_sweep_names_every_run_in_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    metrics = ("gsm8k/exact_match", "gsm8k/flexible_match", "answer_nll/completion", "answer_nll/numbers")
    result = {"metrics": {name: {"value": 0.1} for name in metrics}, "n_selected": 94}
    output = io.StringIO()
    Console(output).table(cli_run._side_by_side({"budget=0.05 selector=mp_ma": result}))
    lines = output.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert (
        "".join(line.split("│")[1].strip() for line in lines if line[0] == "│") == "budget=0.05selector=mp_ma"
    )
    assert {"exact_match", "completion", "numbers"} <= set(output.getvalue().split())


def test_a_reason_that_several_runs_of_a_sweep_share_is_said_last(capsys):
    def refused(_):
        raise UserError("no GPU")

    assert cli_run._run_all([(name, refused) for name in ("a", "b")]) == 2
    assert capsys.readouterr().err.splitlines()[-1] == "2 of 2 runs failed, first a: no GPU"


def test_a_small_count_that_may_be_meant_as_a_percentage_is_noted(tmp_path):
    notes = {
        budget: "for 10 % write budget=0.1" in run(*MICRO, "until=select", budget, root=tmp_path).stderr
        for budget in ("budget=10", "budget=0.1")
    }
    assert notes == {"budget=10": True, "budget=0.1": False}


@pytest.mark.parametrize("at", range(3))
def test_options_may_stand_between_overrides(monkeypatch, at):
    """As in Hydra 1.4; argparse alone refuses what stands behind them."""
    swept, composed = [], []
    monkeypatch.setattr(
        "gip_exp.cli.run.run_sweep", lambda overrides, folder: swept.append((overrides, folder))
    )
    monkeypatch.setattr(hydra_app, "_with_hydra", lambda: composed.append(sys.argv[1:]))
    monkeypatch.setattr(sys, "argv", ["gip-exp"])
    overrides = ["+experiment=quickstart", "seed=1,2"]
    hydra_app.run([*overrides[:at], "-m", "--config-dir", "own", *overrides[at:]])
    assert swept == [(overrides, "own")]
    hydra_app.run([*overrides[:at], "--config-dir", "own", *overrides[at:]])
    assert composed == [["--config-dir", "own", *overrides]]


def test_a_dry_run_is_an_answer_that_names_the_model(rows, tmp_path):
    given = ["+experiment=own_data", f"data.path={rows}", "judge=openai", "judge.dry_run=true"]
    done = run(*given, root=tmp_path / "out", OPENAI_API_KEY="none")
    assert done.returncode == 0, done.stderr
    assert "no requests were sent to gpt-4o-2024-08-06" in done.stderr
    assert "error" not in done.stderr
    assert done.stdout == ""


def test_a_judge_that_the_selector_ignores_is_said_to_be_ignored(rows, tmp_path):
    given = ["+experiment=own_data", f"data.path={rows}", "judge=openai", "selector=random", "budget=4"]
    done = run(*given, root=tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "selector=random reads no scores, so the judge gpt-4o-2024-08-06 is not asked" in done.stderr


def test_a_bare_file_name_is_met_with_the_key_for_it(tmp_path):
    done = run("+experiment=own_data", "mine.jsonl")
    assert done.returncode == 2
    assert "e.g. data.path=mine.jsonl" in done.stderr


@pytest.fixture(scope="module")
def trained(micro, shared_root):
    return pipeline.run(micro(shared_root, "until=train"), Console())


def test_an_exported_adapter_names_its_base_and_loads(trained, tmp_path, capsys):
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = tmp_path / "adapter"
    assert export_adapter([str(trained.folder), str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(folder)
    described = json.loads((folder / "adapter_config.json").read_text())
    base = described["base_model_name_or_path"]
    assert base == str(trained.entries["base"].folder)
    PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), str(folder))


@pytest.fixture(scope="module")
def hub_model(tmp_path_factory):
    """A tiny model in a hub cache of its own, as `acme/tiny` with one revision."""
    cache, revision = tmp_path_factory.mktemp("hub"), "0123456789abcdef0123456789abcdef01234567"
    make_model(cache / "models--acme--tiny" / "snapshots" / revision)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(cache))
        yield "acme/tiny", revision


def test_the_adapter_of_a_hub_model_names_it_and_not_its_place_in_the_cache(
    hub_model, micro, tmp_path, capsys
):
    name, revision = hub_model
    model = [f"model.path={name}", f"model.revision={revision}", "model.scratch=null", "model.dtype=float32"]
    evaluation = ["evaluation=[gsm8k_short]", "evaluation.gsm8k.limit=2", "engine.check_adapter=false"]
    done = pipeline.run(micro(tmp_path / "out", *model, *evaluation, "selector=random"), Console())
    assert done.result["metrics"]["gsm8k/exact_match"]["n"] == 2  # our own evaluation loads it
    adapter = done.entries["train"].folder / "adapter"
    before = (adapter / "adapter_config.json").read_bytes()
    described = json.loads(before)
    assert (described["base_model_name_or_path"], described["revision"]) == hub_model
    card = (adapter / "README.md").read_text()
    assert f"base_model: {name}" in card
    assert not any("models--acme--tiny" in text for text in (card, before.decode()))
    assert export_adapter([str(done.folder), str(tmp_path / "exported")]) == 0
    assert (tmp_path / "exported" / "adapter_config.json").read_bytes() == before
    assert (tmp_path / "exported" / "README.md").read_text() == card
    assert export_adapter([str(done.folder), str(tmp_path / "merged"), "--merge"]) == 0
    assert (tmp_path / "merged" / "model.safetensors").is_file()


def test_a_merged_model_answers_like_the_base_with_the_adapter(trained, tmp_path):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    assert export_adapter([str(trained.folder), str(tmp_path / "merged"), "--merge"]) == 0
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    base = AutoModelForCausalLM.from_pretrained(trained.entries["base"].folder)
    ids = torch.arange(12)[None]
    plain = base(ids).logits
    tuned = PeftModel.from_pretrained(base, str(trained.entries["train"].folder / "adapter"))(ids).logits
    assert torch.allclose(merged(ids).logits, tuned, atol=1e-4)
    assert not torch.allclose(plain, tuned, atol=1e-4)


def test_what_cannot_be_exported_says_why(trained, micro, shared_root, tmp_path, capsys):
    assert export_adapter([str(tmp_path), str(tmp_path / "x")]) == 2
    assert "is not the folder of a finished run" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert export_adapter([str(trained.folder), str(tmp_path / "full")]) == 2
    assert "exists and is not empty" in capsys.readouterr().err
    # A seed of its own: in the shared folder another test may have trained the same run to the end.
    selected = pipeline.run(micro(shared_root, "until=select", "selector=random", "seed=991"), Console())
    assert export_adapter([str(selected.folder), str(tmp_path / "x")]) == 2
    assert "has no adapter" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()
