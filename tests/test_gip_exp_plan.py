"""`gip_exp.plan`: the runs of a sweep, each once; what is cached; what the rest costs; runs that run as planned."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import MICRO, ROOT
from tiny_qwen3 import make_model

from gip_exp import pipeline, plan
from gip_exp.config import parse
from gip_exp.console import Console
from gip_exp.evaluation import mt_bench
from gip_exp.sweep import cost_model, expand, plan_folder
from gip_exp.sweep import state as progress
from gip_exp.sweep.cost_model import Cost, Measured, Rows, Speed
from gip_exp.sweep.estimate import Estimate, Step, Wanted, estimate

CONF = ROOT / "conf"
SWEEPS = sorted(path.stem for path in (CONF / "sweep").glob("*.yaml"))
EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))


def run_plan(tmp_path, capsys, *overrides):
    code = plan.main([*MICRO, f"paths.root={tmp_path / 'outputs'}", *overrides])
    shown = capsys.readouterr()
    return code, shown.out, shown.err


def planned_command(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "gip_exp", "--planned", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("name", SWEEPS)
def test_every_sweep_composes_with_its_own_experiments(name):
    own = [] if "+experiment" in (CONF / "sweep" / f"{name}.yaml").read_text() else ["+experiment=gsm8k_qwen"]
    runs = expand.expand([*own, f"+sweep={name}"])
    ends = [
        runs[0],
        runs[len(runs) // 2],
        runs[-1],
    ]  # composing all of them takes as long as planning them
    for run, values in zip(ends, expand.compose(ends), strict=True):
        config = parse(values)
        assert f"selector={config.selector.name}" in run
        assert name in config.tracking.group


@pytest.mark.parametrize("name", SWEEPS)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_sweep_composes_with_every_experiment(name, experiment):
    runs = expand.expand(
        [f"+experiment={experiment}", f"+sweep={name}", "model=tiny", "selector=random,full"]
    )
    assert {run[0] for run in runs if run[0].startswith("+experiment")} <= {f"+experiment={experiment}"}
    (values,) = expand.compose(runs[:1])
    assert parse(values).experiment == experiment


def test_figure_1_is_two_models_six_selectors_four_budgets_and_full_once(tmp_path):
    runs = expand.expand(["+experiment=gsm8k_qwen", "+sweep=figure1"])
    found = {
        tuple(text for text in run if text.startswith(("model", "selector", "budget", "seed")))
        for run in runs
    }
    assert len(found) == len(runs) == 2 * 7 * 4 * 3
    assert len({run for run in found if "selector=full" not in run}) == 2 * 6 * 4 * 3


def test_lists_are_expanded_as_the_command_line_does_and_give_way_to_it():
    assert len(expand.expand(["+experiment=quickstart", "selector=random,full", "seed=range(0,3)"])) == 6
    assert len(expand.expand(["+experiment=quickstart"])) == 1
    assert len(expand.expand(["+experiment=quickstart", "evaluation=[gsm8k,answer_nll]"])) == 1
    folder = "evaluation.mt_bench.data_dir=/questions"  # a key of experiments that the sweep brings itself
    assert len(expand.expand(["+sweep=figure2", folder])) == 2 * 3 * 3
    narrowed = expand.expand(
        ["+experiment=gsm8k_qwen", "+sweep=figure1", "model=qwen3_4b", "seed=0", "budget=0.1"]
    )
    assert [run[:2] for run in narrowed[:2]] == [
        ["model=qwen3_4b", f"selector={s}"] for s in ("mp_ma", "mp_sc")
    ]
    assert len(narrowed) == 7


def test_planning_imports_no_heavy_library():
    code = (
        "import sys; from gip_exp import pipeline, plan, status; from gip_exp.cli import run\n"
        "from gip_exp.sweep import estimate, expand\n"
        "print({'torch', 'transformers', 'scipy', 'sklearn', 'wandb', 'pandas', 'lm_eval', 'matplotlib'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr


def test_runs_are_counted_once_and_shared_outputs_too(tmp_path, capsys):
    axes = ["selector=mp_ma,random,full", "budget=0.08,0.1", "seed=0,1"]
    code, out, err = run_plan(tmp_path, capsys, *axes, "--write", str(tmp_path / "plan"))
    assert (code, "error" in err) == (0, False)
    assert "10 runs (2 duplicates dropped)" in out
    runs = plan_folder.read(tmp_path / "plan")
    assert [run.label.split()[0] for run in runs[:2]] == ["mp_ma_b0.08_s0", "mp_ma_b0.08_s1"]
    assert {path.name for path in (tmp_path / "plan" / "runs").iterdir()} == {
        f"{i:03d}.yaml" for i in range(10)
    }
    counts = {
        row.split()[1]: row.split()[3]
        for row in out.splitlines()
        if row.startswith("│ ") and row.split()[1] != "│"
    }
    # 2 seeds; rankings of 3 selectors; 4 + 4 + 2 selections, each trained on and evaluated in two ways; the untuned model
    # of either seed is ranked, selected (one row that nothing uses) and evaluated in two ways
    assert "2 models are also evaluated before fine-tuning" in out
    assert counts == {
        **{"data": "2", "base": "2", "score": "2", "embed": "2"},
        **{"rank": "8", "select": "12", "train": "10", "evaluate": "24"},
    }
    assert not (tmp_path / "outputs" / "runs").exists()
    assert [path.name for path in (tmp_path / "outputs" / "store").iterdir()] == ["data"]


def test_seeds_share_the_untuned_model_that_has_no_seed(tmp_path, capsys):
    folder = make_model(tmp_path / "model")
    given = ["+experiment=gsm8k_cpu", f"data.path={tmp_path}", "model.scratch=null", f"model.path={folder}"]
    rows = "".join(json.dumps({"question": f"{n}?", "answer": f"#### {n}"}) + "\n" for n in range(40))
    for split in ("train", "test"):
        (tmp_path / f"{split}.jsonl").write_text(rows)
    code = plan.main([*given, f"paths.root={tmp_path / 'outputs'}", "selector=random", "seed=0,1"])
    out = capsys.readouterr().out
    assert code == 0
    assert "1 model is also evaluated before fine-tuning" in out


def test_the_table_of_costs_is_whole_in_80_columns(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    cost, output = Cost(90.0, 163e6, "rule"), io.StringIO()
    step = Step("contamination", "", "", False, cost, gpu=True, calls=11, usd=0.032)
    steps = {("contamination", str(number)): step for number in range(705)}
    plan.show(Estimate(steps=steps), Console(output))
    assert "│ contamination │ 705 │      0 │  705 │" in output.getvalue()


def test_the_price_in_batches_names_the_keys_for_it(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "unused")
    _, out, _ = run_plan(tmp_path, capsys, "evaluation=[gsm8k,answer_nll,mt_bench]", "selector=random")
    (line,) = [line for line in out.splitlines() if line.startswith("in batches")]
    assert line.startswith("in batches (evaluation.mt_bench.judge.batch=true): ")


def test_what_is_in_the_store_counts_as_cached_and_its_key_is_the_pipelines(tmp_path, micro, capsys):
    config = micro(tmp_path / "outputs", "until=select")
    outcome = pipeline.run(config, Console(io.StringIO()))
    whole = estimate([Wanted(config, "one")], Console(io.StringIO()), Speed())
    assert whole.done == 1
    assert {step.key for step in whole.steps.values()} == {
        stage["key"] for stage in outcome.result["stages"].values()
    }
    assert whole.runs[0].folder == str(outcome.folder.resolve())
    assert whole.runs[0].ends == "stopped:select"
    again = estimate(
        [Wanted(micro(tmp_path / "outputs", "budget=0.08"), "two")], Console(io.StringIO()), Speed()
    )
    assert {step.name for step in again.steps.values() if step.cached} == {"data", "score", "embed", "rank"}


def test_selection_that_needs_the_model_is_planned_for_gpu_nodes(tmp_path, capsys, data_dir):
    axes = ["+experiment=gsm8k_qwen", "selector=mp_ma,less", "budget=0.1", f"data.path={data_dir}/gsm8k"]
    arguments = [
        *axes,
        f"paths.root={tmp_path / 'outputs'}",
        "data.limit=500",
        "--write",
        str(tmp_path / "plan"),
    ]
    assert plan.main(arguments) == 0
    runs = plan_folder.read(tmp_path / "plan")
    assert [(run.label.split("_b")[0], run.selects_on) for run in runs] == [
        ("mp_ma", "cpu"),
        ("less", "gpu"),
    ]
    lines = {
        line.split()[1]: line.split("│")
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("│ ")
    }
    assert lines["score"][7].strip() == "500"  # judge calls
    assert float(lines["score"][8]) > 0  # dollars
    assert float(lines["train"][6]) > 0  # GPU-hours
    assert lines["score"][6].strip() == "0"


def test_measured_siblings_give_the_hours_in_proportion_to_the_examples(tmp_path):
    entry = tmp_path / "store" / "train" / "a" / "manifest.json"
    entry.parent.mkdir(parents=True)
    settings = {"train": {"epochs": 2, "steps": None, "batch": 4, "seed": 0}, "selected": "x"}
    manifest = {
        "stage": "train",
        "key": "a",
        "name": "train",
        "settings": settings,
        "inputs": {},
        "seconds": 10.0,
    }
    entry.write_text(json.dumps({**manifest, "facts": {"examples": 50}, "files": {"adapter": {"bytes": 7}}}))
    broken = tmp_path / "store" / "train" / "b" / "manifest.json"
    broken.parent.mkdir()
    broken.write_text("{")
    other = {"train": {**settings["train"], "seed": 5}, "selected": "y"}
    measured = Measured(tmp_path)
    assert measured.of({"name": "train", "settings": other, "inputs": {}}, 1, 150) == Cost(
        30.0, 7.0, "measured"
    )
    changed = {"train": {**settings["train"], "epochs": 3}, "selected": "y"}
    assert measured.of({"name": "train", "settings": changed, "inputs": {}}, 1, 150) is None


@pytest.mark.parametrize(
    ("measured", "work", "seconds"),
    [
        ([(50, 10.0)], 150, 30.0),  # one amount of work: in proportion
        ([(50, 10.0), (50, 12.0), (50, 90.0)], 100, 24.0),
        ([(100, 7.0), (200, 9.0), (400, 13.0)], 300, 11.0),  # 5 s to start, 0.02 s an example
        (
            [(100, 7.0), (200, 9.0), (400, 13.0), (300, 99.0)],
            1000,
            25.0,
        ),  # a run that had to wait moves nothing
        ([(100, 1.0), (200, 3.0)], 300, 4.0),  # a line that would start below 0
    ],
)
def test_seconds_follow_a_line_through_the_measurements(measured, work, seconds):
    assert cost_model.at_work(work, measured) == pytest.approx(seconds, rel=0.1)


def test_the_folders_of_runs_count_as_measured(tmp_path, capsys):
    root = tmp_path / "outputs"
    run = root / "runs" / "toy" / "done"
    (run / "predictions").mkdir(parents=True)
    (run / "result.json").write_text("x" * 400)
    (run / "predictions" / "gsm8k.jsonl").write_text("x" * 600)
    _, shown, _ = run_plan(tmp_path, capsys, "selector=random", "seed=0,1", "until=data")
    (row,) = [line for line in shown.splitlines() if line.startswith("│ runs")]
    assert [cell.strip() for cell in row.split("│")[1:-1]] == [
        *("runs", "2", "0", "2", "", "", "", "", "2 kB")
    ]


def test_the_rules_of_thumb_are_the_formulas_they_state(compose):
    config = parse(compose("+experiment=gsm8k_qwen", "train.gradient_checkpointing=true", "train.batch=32"))
    rows = Rows(pool=1000, test=100, prompt_tokens=60, completion_tokens=100)
    cost = cost_model.by_rule("train", config, rows, 320, Speed(tflops=100, bandwidth=2))
    steps = 3 * 320 / 32
    assert cost.seconds == pytest.approx(cost_model.START + 8.2e9 * 6 * steps * 32 * 160 / 100e12)
    evaluated = cost_model.by_rule("evaluate/gsm8k", config, rows, 320, Speed(tflops=100, bandwidth=2))
    batches, answer = 2, 200  # 100 questions in batches of 64; twice the mean completion
    assert evaluated.seconds == pytest.approx(
        cost_model.START + 2 * 8.2e9 * 100 * (60 + answer) / 100e12 + batches * answer * cost_model.STEP
    )
    assert cost_model.by_rule("rank", config, rows, 320, Speed()).known == ""


def test_benchmarks_with_questions_of_their_own_cost_hours_whatever_the_test_rows_are(compose):
    config = parse(compose("+experiment=alpaca_mistral", "engine=vllm"))
    rows, speed = Rows(pool=1000, test=0, prompt_tokens=60, completion_tokens=100), Speed(tflops=100)
    turns, longest = 80 * 2, 1024
    served = cost_model.by_rule("evaluate/mt_bench", config, rows, 10, speed)
    assert served.known == "rule"
    assert served.seconds == pytest.approx(
        cost_model.START
        + 2 * config.model.parameters * turns * (mt_bench.MT_READ + longest) / 100e12
        + 2 * longest * cost_model.STEP  # all 80 in one batch, one turn after the other
    )
    assert cost_model.by_rule("evaluate/bbh", config, rows, 10, speed).seconds > served.seconds


def test_answers_sampled_for_self_consistency_cost_hours_or_dollars(compose, tmp_path):
    name, asked = "score/self_consistency", ["+experiment=gsm8k_qwen", "selector=mp_self_consistency"]
    rows, speed = Rows(pool=1000, test=0, prompt_tokens=60, completion_tokens=100), Speed(tflops=100)
    config = parse(compose(*asked, "engine=vllm", "sampler.samples=4"))
    batches, answer = 16, 200  # 4,000 samples in batches of 256; twice the mean completion
    assert cost_model.by_rule(name, config, rows, 10, speed).seconds == pytest.approx(
        cost_model.START + 2 * 8.2e9 * 4000 * (60 + answer) / 100e12 + batches * answer * cost_model.STEP
    )
    (tmp_path / "train.jsonl").write_text('{"question": "1+1?", "answer": "#### 2"}\n' * 20)
    paid = ["sampler=openai", "sampler.model=m", "+sampler.prices.m={input: 1e6, output: 0}"]
    data = [f"data.path={tmp_path}", f"paths.root={tmp_path / 'outputs'}", "budget=1", "until=score"]
    config = parse(compose(*asked, *paid, *data))
    (step,) = [
        s for s in estimate([Wanted(config, "")], Console(io.StringIO()), Speed()).steps.values() if s.calls
    ]
    assert (step.name, step.calls, step.usd) == (
        name,
        20 * 8,
        20 * 8 * 1,
    )  # a prompt of one token, a dollar each


@pytest.mark.parametrize(
    ("overrides", "part"),
    [
        (["selector=magic"], "Could not find 'selector/magic'"),
        (["budget=0.1,2.5"], "budget=2.5 is not a share"),
        (["budget=9999"], "budget=9999 exceeds the pool"),
        (["--wirte", "x"], "--wirte: no such option"),
        (["+sweep=figure9"], "Could not find 'sweep/figure9'"),
    ],
)
def test_what_a_user_can_mend_is_one_message_and_exit_code_2(tmp_path, capsys, overrides, part):
    code, _, err = run_plan(tmp_path, capsys, *overrides)
    assert code == 2
    assert part in err
    assert not (tmp_path / "outputs" / "runs").exists()


def test_a_place_that_cannot_be_written_is_a_message(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    code, _, err = run_plan(tmp_path, capsys, "selector=random", "--write", str(tmp_path / "file" / "plan"))
    assert code == 2
    assert "cannot be written" in err


def test_the_same_plan_again_is_left_alone_and_another_is_refused(tmp_path, capsys):
    folder = tmp_path / "plan"
    assert run_plan(tmp_path, capsys, "selector=random", "--write", str(folder))[0] == 0
    code, out, _ = run_plan(tmp_path, capsys, "selector=random", "--write", str(folder))
    assert (code, "unchanged" in out) == (0, True)
    code, _, err = run_plan(tmp_path, capsys, "selector=full", "--write", str(folder))
    assert code == 2
    assert "holds another plan" in err


def test_a_config_survives_being_written_and_read(compose):
    for experiment in EXPERIMENTS:
        config = parse(compose(f"+experiment={experiment}", "budget=1.0"))
        assert parse(yaml.safe_load(pipeline.as_yaml(config))) == config


@pytest.fixture
def two_runs(tmp_path, capsys) -> Path:
    assert (
        run_plan(tmp_path, capsys, "selector=random", "seed=0,1", "--write", str(tmp_path / "plan"))[0] == 0
    )
    return tmp_path / "plan"


def test_planned_runs_run_from_their_files_and_stop_where_told(two_runs):
    done = planned_command(two_runs / "runs" / "000.yaml", two_runs / "runs" / "001.yaml", "until=select")
    assert done.returncode == 0, done.stderr
    assert [state.state for state in progress.of_plan(two_runs)] == ["selected", "selected"]


def test_a_run_that_is_no_longer_what_was_planned_fails_and_ends_no_other(two_runs):
    first = two_runs / "runs" / "000.yaml"
    first.write_text(first.read_text().replace("budget: 0.1", "budget: 0.2"))
    done = planned_command(first, two_runs / "runs" / "001.yaml", "until=select")
    assert done.returncode == 2
    assert "is no longer what was planned" in done.stderr
    assert "Traceback" not in done.stderr
    states = progress.of_plan(two_runs)
    assert [state.state for state in states] == ["failed", "selected"]
    assert "plan again into a new folder" in states[0].reason


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["budget=0.2"], "would change the result"),
        (["untl=select"], "untl"),
        (["until=lunch"], "until='lunch'"),
    ],
)
def test_only_what_cannot_change_the_result_may_be_set_beside_a_run(two_runs, arguments, part):
    done = planned_command(two_runs / "runs" / "000.yaml", *arguments)
    assert done.returncode == 2
    assert part in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("text", "part"), [(None, "cannot be read"), ("- 1\n", "is not a config"), ("a: [", "cannot be read")]
)
def test_a_file_that_is_no_config_is_a_message(tmp_path, text, part):
    if text is not None:
        (tmp_path / "run.yaml").write_text(text)
    done = planned_command(tmp_path / "run.yaml")
    assert done.returncode == 2
    assert part in done.stderr
    assert "Traceback" not in done.stderr


def test_a_runs_own_config_runs_again_as_the_same_run(tmp_path, micro):
    outcome = pipeline.run(micro(tmp_path, "selector=random", "until=select"), Console(io.StringIO()))
    done = planned_command(outcome.folder / "config.yaml")
    assert done.returncode == 0, done.stderr
    assert "all stages were reused" in done.stderr


def test_a_plan_is_found_from_inside_its_folder(tmp_path, monkeypatch):
    assert plan_folder.write(tmp_path, [], [], [])
    (tmp_path / "runs" / "000.yaml").touch()
    monkeypatch.chdir(tmp_path / "runs")
    assert plan_folder.folder_of(Path("000.yaml")) == tmp_path
