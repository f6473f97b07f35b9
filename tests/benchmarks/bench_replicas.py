"""Calls a second with one and two servers behind `judge.base_url`, for a pool judged under the rubric `math`.

Fake servers answer one request at a time, `FAKE_S` each, so two of them should be twice as fast. Real ones are vLLM servers
on this machine (on a CPU with two processors, each gets one, so the second can win little) with a random model of 0.2 million
parameters. The number to compare with: 32 calls a second, published for Qwen3-8B FP8 on one H100.

Run: python -m tests.benchmarks.bench_replicas [--vllm]
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import yaml

from gip_exp.data.arithmetic import make_pool
from gip_exp.llm.judge import judge_pool
from gip_exp.llm.judge_table import JudgeSettings
from gip_exp.llm.rubric import Rubric
from gip_exp.llm.server import ServerSettings, VLLMServer
from gip_exp.llm.settings import EndpointSettings, Sampling
from tests.provider_server import Answer, Provider, answer
from tests.tiny_qwen3 import make_model

ROOT = Path(__file__).resolve().parents[2]
FAKE_S = 0.02
CALLS = 200
GRADES = '{"accuracy": 3, "reasoning": 3, "clarity": 3, "helpfulness": 3, "difficulty": 3}'


def one_at_a_time() -> Provider:
    """A server that answers one request at a time."""
    lock = threading.Lock()

    def reply(_: dict[str, Any]) -> Answer:
        with lock:
            time.sleep(FAKE_S)
        return answer(GRADES)

    return Provider(reply)


def measure(urls: list[str], **endpoint: Any) -> str:
    """Judge the pool once and describe the rate."""
    rubric = Rubric.from_mapping(yaml.safe_load((ROOT / "conf" / "rubric" / "math.yaml").read_text()))
    rows = enumerate(make_pool(CALLS, seed=0))
    examples = [{"id": str(i), "prompt": row.question, "completion": row.answer} for i, row in rows]
    where = EndpointSettings("base", base_url=urls[0], more_urls=tuple(urls[1:]), concurrency=32, **endpoint)
    settings = JudgeSettings(where, Sampling(temperature=0.0, max_tokens=120), max_unscored=1.0)
    with tempfile.TemporaryDirectory() as cache:
        start = time.perf_counter()
        table = judge_pool(examples, rubric, settings, cache_dir=Path(cache))
        seconds = time.perf_counter() - start
    return f"{len(urls)} server(s): {table.stats.replies / seconds:.1f} calls/s ({table.stats.replies} in {seconds:.1f} s)"


def fakes(n: int) -> str:
    """Measure n fake servers."""
    with ExitStack() as stack:
        return measure([stack.enter_context(one_at_a_time()).url for _ in range(n)])


def real(n: int, folder: Path) -> str:
    """Measure n vLLM servers with a random model."""
    model = str(make_model(folder / "model"))
    settings = ServerSettings(
        model, dtype="float32", max_model_len=8192, enforce_eager=True, extra_args=("--enable-prefix-caching",),
        environment={"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    with ExitStack() as stack:
        servers = [stack.enter_context(VLLMServer(settings, folder / f"{i}.log")) for i in range(n)]
        urls = [server.base_url for server in servers]
        return measure(urls, api_key_env=servers[0].key_variable, identity=servers[0].identity("base"))


if __name__ == "__main__":
    for count in (1, 2):
        print("fake,", fakes(count), flush=True)
    if "--vllm" in sys.argv:
        with tempfile.TemporaryDirectory() as place:
            for count in (1, 2):
                print("vLLM,", real(count, Path(place)), flush=True)
