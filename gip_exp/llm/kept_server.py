"""One vLLM server for several evaluations: the base model is loaded once, adapters are served by name.

A process has at most one. It runs until another task needs the device (`gip_exp.device`), another base model or other
settings are requested, or the process ends (`VLLMServer` ensures this after a crash as well).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from gip_exp import device
from gip_exp.llm.adapters import rank_to_serve
from gip_exp.llm.errors import ServerError
from gip_exp.llm.server import ServerSettings, VLLMServer

_kept: list[VLLMServer] = []  # none or one


@contextmanager
def serving(settings: ServerSettings, log_path: Path, *, say: Callable[[str], None]) -> Iterator[VLLMServer]:
    """Provide a running server for `settings`: the existing one if it fits, else a new one. Raises ServerError, LLMError.

    Adapters are loaded immediately. `say` is called when a server is started, which takes half a minute or more.
    If the server has died, errors of the block are replaced by the end of its log.
    """
    settings.check()
    rank = rank_to_serve(settings.adapters) if settings.adapters else 0
    with device.reserved_for("a vLLM server", _stop):
        if _kept and not _fits(_kept[0], settings, rank):
            _stop()
        if not _kept:
            say(f"  starting vLLM (log: {log_path})")
            server = VLLMServer(replace(settings, adapters={}, max_lora_rank=rank or None), log_path)
            server.start()
            _kept.append(server)
        for name, path in settings.adapters.items():
            _kept[0].load_adapter(name, path)
        with _kept[0].explaining():
            yield _kept[0]


def _stop() -> None:
    while _kept:
        _kept.pop().stop()


def _fits(server: VLLMServer, settings: ServerSettings, rank: int) -> bool:
    try:
        server.check_alive()
    except ServerError:
        return False
    same = _without_adapters(server.settings) == _without_adapters(settings)
    return same and rank <= (server.settings.max_lora_rank or 0)


def _without_adapters(settings: ServerSettings) -> ServerSettings:
    return replace(settings, adapters={}, max_lora_rank=None)
