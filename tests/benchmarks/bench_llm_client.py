"""Speed and soak of the LLM client: `python -m tests.benchmarks.bench_llm_client [speed|soak|kill] [N]`.

speed: judge N examples (default 5,000) against a local server that answers at once; replies per second, CPU
time per reply and memory at each fifth, beside the bare `openai` client on the same requests.
soak: N calls (default 10,000) at 64 in flight with 20 % faults; the books of both sides.
kill: N examples (default 1,000) with SIGKILL at ten random moments; tables and repeated calls compared.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import openai
import yaml

from gip_exp.llm.judge import judge_pool
from gip_exp.llm.judge_table import JudgeSettings
from gip_exp.llm.request import Stats
from gip_exp.llm.rubric import Rubric
from gip_exp.llm.settings import EndpointSettings, Sampling
from tests.fault_server import UNREADABLE, FaultServer

CONF = Path(__file__).parents[2] / "conf" / "rubric" / "math.yaml"
STORM = {"fault_share": 0.2, "unreadable_share": 0.02, "unreadable_bodies": 0.002, "hang_s": 16.0}


def load_rubric() -> Rubric:
    return Rubric.from_mapping(yaml.safe_load(CONF.read_text()))


def pool(n: int) -> list[dict[str, str]]:
    answer = "12 + 5 * 12 = 72. ####"
    text = "A farm has 12 cows and buys 5 more every month. How many after a year? " * 3
    return [{"id": str(i), "prompt": f"{text}{i}", "completion": f"{answer} {i}"} for i in range(n)]


def settings(url: str, concurrency: int = 64) -> JudgeSettings:
    endpoint = EndpointSettings(
        "judge", base_url=url, concurrency=concurrency, timeout_s=8.0, backoff_s=0.05, backoff_max_s=0.5
    )
    return JudgeSettings(endpoint, Sampling(seed=0), max_unscored=0.05)


def resident_mb() -> float:
    """Resident memory of this process now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


class Watch:
    """Notes memory at each fifth of the job."""

    def __init__(self) -> None:
        self.marks: dict[int, float] = {}

    def __call__(self, done: int, total: int, stats: Stats) -> None:
        del stats
        self.marks.setdefault(5 * done // total, resident_mb())


async def bare_openai(url: str, messages: list[Any], concurrency: int) -> float:
    """Return the seconds that the `openai` client alone takes, nothing kept, parsed or retried."""
    client = openai.AsyncOpenAI(api_key="x", base_url=url, max_retries=0)
    queue = iter(messages)

    async def worker() -> None:
        for message in queue:
            await client.chat.completions.create(
                model="judge", messages=message, max_tokens=512, temperature=0
            )

    start = time.perf_counter()
    async with client:
        await asyncio.gather(*(worker() for _ in range(concurrency)))
    return time.perf_counter() - start


def speed(n: int) -> None:
    rubric, examples = load_rubric(), pool(n)
    with FaultServer() as server, tempfile.TemporaryDirectory() as folder:
        judge_pool(pool(50), rubric, settings(server.url), cache_dir=Path(folder) / "warm")
        messages = [list(rubric.messages(e["prompt"], e["completion"])) for e in examples]
        for repeat in range(3):
            watch, cpu, start = Watch(), time.process_time(), time.perf_counter()
            where = Path(folder) / f"cache{repeat}"
            judge_pool(examples, rubric, settings(server.url), cache_dir=where, progress=watch)
            wall, cpu = time.perf_counter() - start, time.process_time() - cpu
            bare = asyncio.run(bare_openai(server.url, messages, 64))
            start = time.perf_counter()
            judge_pool(examples, rubric, settings(server.url), cache_dir=where)
            cached = time.perf_counter() - start
            memory = ", ".join(f"{mb:.0f}" for _, mb in sorted(watch.marks.items()))
            print(
                f"judge_pool {n / wall:.0f} replies/s ({1e3 * cpu / n:.2f} ms CPU each), bare openai "
                f"{n / bare:.0f}/s, from the cache {n / cached:.0f}/s; MB at each fifth: {memory}"
            )


def soak(n: int) -> None:
    with FaultServer(**STORM) as server, tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        table_settings = settings(server.url)
        table = judge_pool(pool(n), load_rubric(), table_settings, cache_dir=Path(folder))
        seconds, account, stats = time.perf_counter() - start, server.account(), table.stats
        unreadable = sum(account["outcomes"][kind] for kind in UNREADABLE)
        print(f"{n} examples in {seconds:.0f} s, peak in flight {stats.peak_in_flight}")
        print(f"scored {n - table.n_unscored}, unscored {table.n_unscored}")
        print(f"requests: client {stats.requests}, server {account['requests']}")
        total = stats.kept + stats.n_faults + stats.unreadable
        print(f"kept {stats.kept} (server sent {account['outcomes']['ok']} readable)")
        print(f"faults {stats.n_faults}, unreadable {stats.unreadable} (server {unreadable}), sum {total}")
        print(f"received replies asked for again: {sum(c > 1 for c in account['valid'].values())}")
        again = judge_pool(pool(n), load_rubric(), table_settings, cache_dir=Path(folder)).stats
        print(f"second run: {again.requests} requests, {again.cached} from the cache")


def _job(url: str, folder: Path, n: int) -> None:
    table = judge_pool(pool(n), load_rubric(), settings(url, 16), cache_dir=folder / "cache")
    np.save(folder / "table.npy", table.scores)


def kill(n: int) -> None:
    moment, context = random.Random(0), multiprocessing.get_context("spawn")
    storm = STORM | {"in_a_row": 4, "delay_s": 0.01}
    with FaultServer(**storm) as server, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("whole", "killed"):
            (folder / part).mkdir()
        _job(server.url, folder / "whole", n)
        server.restart(**storm)
        kills = 0
        while kills < 10:
            job = context.Process(target=_job, args=(server.url, folder / "killed", n))
            target = server.account()["requests"] + moment.randint(1, n // 9)
            job.start()
            while server.account()["requests"] < target and job.is_alive():
                time.sleep(0.002)
            if not job.is_alive():
                break
            os.kill(job.pid or 0, 9)
            job.join()
            kills += 1
        _job(server.url, folder / "killed", n)
        tables = [np.load(folder / part / "table.npy") for part in ("whole", "killed")]
        repeated = sum(c - 1 for c in server.account()["valid"].values() if c > 1)
        same = np.array_equal(*tables, equal_nan=True)
        print(f"{kills} kills; same table: {same}; repeated replies {repeated}, allowed {kills * 16}")


if __name__ == "__main__":
    jobs = {"speed": (speed, 5000), "soak": (soak, 10_000), "kill": (kill, 1000)}
    for chosen in sys.argv[1:2] or jobs:
        job, size = jobs[chosen]
        job(int(sys.argv[2]) if len(sys.argv) > 2 else size)
