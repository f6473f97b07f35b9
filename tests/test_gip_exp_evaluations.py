"""BBH and MT-Bench as stages: real question files, the shrunken model as player, a judge behind a real endpoint."""

import io
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from conftest import MICRO, unavailable

from gip_exp import pipeline
from gip_exp.config import parse
from gip_exp.console import Console
from gip_exp.errors import UserError
from gip_exp.files import read_jsonl

SHORT = [setting for setting in MICRO if not setting.startswith("evaluation.")]
PLAYED = [
    "evaluation=[mt_bench]",
    "evaluation.mt_bench.limit_per_category=1",
    "evaluation.mt_bench.max_new_tokens=8",
]


class Judge(BaseHTTPRequestHandler):
    """Answers every chat with a rating that depends on the length of what it was asked."""

    asked: list[dict] = []  # noqa: RUF012 - one list for the server's life

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked.append(body)
        rating = 1 + len(json.dumps(body["messages"])) % 10
        text = json.dumps(
            {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": "stop",
                        "message": {"role": "assistant", "content": f"Rating: [[{rating}]]"},
                    }
                ],
                "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


@pytest.fixture
def judge_url():
    Judge.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Judge)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()


def run(compose, root, *overrides):
    return pipeline.run(parse(compose(*SHORT, f"paths.root={root}", *overrides)), Console(io.StringIO()))


def test_mt_bench_plays_both_turns_and_every_judgement_counts(compose, data_dir, shared_root, judge_url):
    judge = f"evaluation.mt_bench.judge.base_url={judge_url}"
    outcome = run(compose, shared_root, *PLAYED, f"evaluation.mt_bench.data_dir={data_dir}/mt_bench", judge)
    metrics = outcome.result["metrics"]
    categories = {name for name in metrics if not name.endswith(("/all", "/turn_1", "/turn_2"))}
    assert len(categories) == 8
    assert len(Judge.asked) == 16
    assert all(body["model"] == "gpt-5" and "temperature" not in body for body in Judge.asked)
    rows = read_jsonl(outcome.folder / "predictions" / "mt_bench" / "all.jsonl")
    assert metrics["mt_bench/all"]["value"] == pytest.approx(sum(row["value"] for row in rows) / 8)


def test_mt_bench_without_a_key_or_an_address_stops_beforehand(compose, data_dir, tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match=r"evaluation.mt_bench.judge: gpt-5 needs OPENAI_API_KEY"):
        run(compose, tmp_path, *PLAYED)
    assert not list(tmp_path.iterdir())


def test_bbh_runs_on_local_files_and_keeps_every_question(compose, data_dir, shared_root):
    outcome = run(
        compose,
        shared_root,
        "evaluation=[bbh]",
        f"evaluation.bbh.data_dir={data_dir}/bbh",
        "evaluation.bbh.variant=zeroshot",
        "evaluation.bbh.tasks=[navigate,boolean_expressions]",
        "evaluation.bbh.limit=3",
        "evaluation.bbh.max_new_tokens=4",
    )
    metrics = outcome.result["metrics"]
    assert {name: metric["n"] for name, metric in metrics.items()} == {
        "bbh/navigate": 3,
        "bbh/boolean_expressions": 3,
        "bbh/all": 6,
    }
    assert len(read_jsonl(outcome.folder / "predictions" / "bbh" / "navigate.jsonl")) == 3


def test_alpaca_goes_from_real_rows_to_an_evaluated_adapter(compose, data_dir, tmp_path):
    overrides = [
        "+experiment=alpaca_mistral",
        "selector=mp_sc",
        "budget=0.01",
        f"data.path={data_dir}/alpaca/alpaca_9k.json",
        "data.limit=600",
        "model=tiny",
        "model.scratch.steps=5",
        "train=lora_tiny",
        "train.steps=2",
        "tracking=none",
        "evaluation=[bbh]",
        f"evaluation.bbh.data_dir={data_dir}/bbh",
        "evaluation.bbh.variant=zeroshot",
        "evaluation.bbh.tasks=[navigate]",
        "evaluation.bbh.limit=2",
        "evaluation.bbh.max_new_tokens=2",
    ]
    config = parse(compose(*overrides, f"paths.root={tmp_path}"))
    outcome = pipeline.run(config, Console(io.StringIO()))
    assert outcome.result["n_selected"] == 5
    assert outcome.result["metrics"]["bbh/navigate"]["n"] == 2


def test_vllm_and_transformers_give_the_same_greedy_answers(compose, shared_root, monkeypatch):
    """The adapter is served by name; float32 on both sides, so only rounding can differ."""
    pytest.importorskip("torch")
    try:
        import vllm  # noqa: F401
    except ImportError as error:
        unavailable("vllm", f"vLLM is not installed ({error})")
    monkeypatch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
    asked = [
        "evaluation=[gsm8k_short]",
        "evaluation.gsm8k.max_new_tokens=10",
        "train.lr=0.01",
        "train.steps=8",
    ]
    outputs = {}
    for engine in ("hf", "vllm"):
        outcome = run(
            compose,
            shared_root,
            *asked,
            f"engine={engine}",
            *(["engine.enforce_eager=true"] if engine == "vllm" else []),
        )
        rows = read_jsonl(outcome.folder / "predictions" / "gsm8k" / "exact_match.jsonl")
        outputs[engine] = {row["id"]: row["output"] for row in rows}
    same = sum(outputs["vllm"][name] == text for name, text in outputs["hf"].items())
    assert same == len(outputs["hf"])
