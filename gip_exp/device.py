"""Who holds the accelerator: one model at a time, in this process or behind a server that it started.

    with device.occupied_by("fine-tuning"):
        ...

What is kept for later (the tuned model between two evaluations, a vLLM server between two runs) gives way as soon as
somebody else enters. A CPU is treated alike: two models at once need not fit there either.
"""

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_kept: dict[str, Callable[[], None]] = {}  # at most one: who stayed, and how it is made to leave


@contextmanager
def occupied_by(name: str, release: Callable[[], None] | None = None) -> Iterator[None]:
    """Give the block the device to itself; what anybody else kept there is released first.

    Args:
        name: who it is. What was kept under this name stays.
        release: where something stays after the block, frees it when another one needs the room.
    """
    if name not in _kept:
        free()
    if release is not None:
        _kept[name] = release
    yield


def free() -> None:
    """Release what is kept, and the memory of models that nobody holds any more."""
    while _kept:
        _kept.popitem()[1]()
    torch = sys.modules.get("torch")
    if torch is not None:
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
