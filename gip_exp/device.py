"""One model at a time on the accelerator, in this process or in a server it started.

    with device.reserved_for("fine-tuning"):
        ...

A model that stays loaded for later use (the tuned model between two evaluations, a vLLM server between two runs) is
released when another user reserves the device. The same holds for a CPU, whose memory is limited too.
"""

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_kept: dict[
    str, Callable[[], None]
] = {}  # user whose model is still loaded -> its release function; at most one


@contextmanager
def reserved_for(name: str, release: Callable[[], None] | None = None) -> Iterator[None]:
    """Reserve the device for the block, after releasing what other users kept on it.

    Args:
        name: The user. What it kept itself is not released.
        release: Frees what stays loaded after the block; called when another user reserves the device.
    """
    if name not in _kept:
        free()
    if release is not None:
        _kept[name] = release
    yield


def free() -> None:
    """Release what is kept, and the memory of unreferenced models."""
    while _kept:
        _kept.popitem()[1]()
    torch = sys.modules.get("torch")
    if torch is not None:
        gc.collect()
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()
