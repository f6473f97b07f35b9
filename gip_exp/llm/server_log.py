"""Why a server died, from its exit status and its log: the cause first, then a likely remedy, then the last lines."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

from gip_exp.llm.errors import redact, secrets_in_environment, shorten

_LOG_READ = 200_000  # bytes from the end of a log
_TAIL_LINES, _TAIL_WIDTH = 20, 300
_CAUSE = re.compile(r"\b(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:Error|Exception|Interrupt)\b: \S.*")
_HARMLESS = re.compile(r"\b(?:DEBUG|INFO|WARNING)\b")  # the level of a line that may mention an error
# What an error further up led to.
_CONSEQUENCE = re.compile(r"EngineDeadError|engine core|root cause", re.IGNORECASE)
_SHARE = """server_args=["--gpu-memory-utilization=0.5"]"""  # quoted: Hydra ends a word at "="
_MEMORY = (
    f"the model and its key-value cache do not fit: lower max_model_len, or the share of memory: {_SHARE}"
)
_CPU_SHARE = f"without a GPU, vLLM wants 92 % of the memory, and other processes use some: {_SHARE}"
_HINTS = (
    ("address already in use", "another program took the port; start again, or set another port"),
    ("out of memory", _MEMORY),
    ("desired CPU memory utilization", _CPU_SHARE),
    ("max seq len", "lower max_model_len (of an embedder: embedder.max_length)"),
    ("No module named 'vllm'", "vLLM is not installed for this Python: pip install 'gip-exp[vllm]'"),
    ("No module named vllm", "vLLM is not installed for this Python: pip install 'gip-exp[vllm]'"),
    ("unrecognized arguments", "this vLLM does not know an option in server_args"),
)


def explained(what: str, path: Path, start: int = 0) -> str:
    """Return what happened to a server, with the cause and the end of its log.

    Args:
        what: what happened, as "ended with status 1".
        path: its log.
        start: where the log of this server begins; an earlier one may have written to the same file.
    """
    with open(path, "rb") as log:
        log.seek(max(start, log.seek(0, os.SEEK_END) - _LOG_READ))
        text = redact(log.read().decode("utf-8", "replace"), secrets_in_environment())
    lines = [line if len(line) <= _TAIL_WIDTH else line[:_TAIL_WIDTH] + " ..." for line in text.splitlines()]
    tail = "\n".join(lines[-_TAIL_LINES:])
    cause = cause_in(text)
    why = f": {cause}." if cause else "."
    hints = list(dict.fromkeys(hint for sign, hint in _HINTS if sign.lower() in text.lower()))
    advice = f" Likely: {'; '.join(hints)}." if hints else ""
    return f"the vLLM server {what}{why}{advice} The last lines of its log ({path}):\n{tail}"


def cause_in(log: str) -> str:
    """Return the error in a log that best explains a death: the last that is not the consequence of another; "" if none."""
    lines = [line for line in log.splitlines() if not _HARMLESS.search(line)]
    found = [match[0] for line in lines if (match := _CAUSE.search(line))]
    causes = [line for line in found if not _CONSEQUENCE.search(line)]
    return shorten((causes or found or [""])[-1])


def ended(status: int) -> str:
    """Describe an exit status; one above 128 is a signal, as in a shell."""
    number = -status if status < 0 else status - 128
    try:
        name = signal.Signals(number).name
    except ValueError:
        return f"ended with status {status}"
    by = " (for lack of memory, or by hand)" if name == "SIGKILL" else ""
    return f"was killed by {name}{by}"
