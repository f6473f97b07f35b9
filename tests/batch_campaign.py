"""Batches under faults and kills, counted: `python -m tests.batch_campaign [calls] [kills]`.

Every batch ends in another way; a fifth of the provider's control calls fail, half of them after they were done, so that
their response is lost. Processes are killed one after the other at a random moment until none is left to kill.
Prints what was asked, delivered, bought twice and lost.
"""

from __future__ import annotations

import multiprocessing
import random
import sys
import tempfile
import time
from pathlib import Path

from gip_exp.llm.batch import BatchSettings, WaitingForBatchError, complete
from gip_exp.llm.cache import Cache
from gip_exp.llm.errors import LLMError
from gip_exp.llm.request import Request, cache_key
from gip_exp.llm.settings import EndpointSettings
from tests.batch_server import BatchServer

ENDINGS = ["completed", "partial", "torn", "expired", "cancelled", "failed", "completed"]


def asked(n: int) -> list[Request]:
    """Return the requests of the campaign."""
    return [Request(messages=({"role": "user", "content": f"question {i}"},)) for i in range(n)]


def work(url: str, folder: Path, n: int) -> None:
    """Go on until all requests are answered, starting again after each fault."""
    from gip_exp.llm import batch

    batch._FIND_S = 0.5
    settings, requests = EndpointSettings("judge", base_url=url), asked(n)
    keys = {cache_key(request, settings): request for request in requests}
    how = BatchSettings(rest="batch", wait_s=60.0, poll_s=0.05, most_requests=max(1, n // 20))

    def wanted(cache: Cache) -> list[Request]:
        return [request for key, request in keys.items() if cache.get(key) is None]

    while True:
        try:
            left = complete(wanted, settings, how, cache_dir=folder).left
        except WaitingForBatchError:
            raise
        except LLMError:
            continue
        print(f"left without a reply after three batches: {left:,}")
        return


def main(n: int, kills: int) -> None:
    """Run the campaign and print its counts."""
    context, moment, killed = multiprocessing.get_context("fork"), random.Random(0), 0
    start = time.monotonic()
    with (
        BatchServer(ENDINGS * 3 + ["completed"], fault_share=0.2) as server,
        tempfile.TemporaryDirectory() as folder,
    ):
        for _ in range(kills):
            job = context.Process(target=work, args=(server.url, Path(folder), n))
            job.start()
            job.join(moment.uniform(0.2, 1.5))
            killed += job.is_alive()
            job.kill()
            job.join()
        work(server.url, Path(folder), n)
        settings = EndpointSettings("judge", base_url=server.url)
        with Cache(Path(folder)) as cache:
            lost = sum(cache.get(cache_key(request, settings)) is None for request in asked(n))
        twice = sum(count - 1 for count in server.bought.values())
        print(
            f"{n:,} calls, {len(server.batches)} batches, {server.calls:,} control calls with 20 % faults, {killed} kills: "
            f"{sum(server.bought.values()):,} replies bought, {twice} bought twice, {lost} lost "
            f"({time.monotonic() - start:.0f} s)"
        )


if __name__ == "__main__":
    main(*[int(text) for text in (sys.argv[1:] or ["10000", "50"])])
