"""Evaluations that are one function: `evaluate` in `eval/<name>.py`, with the options in `conf/evaluation/<name>.yaml`.

    def evaluate(test, generate, *, limit: Count | None = None) -> EvalResult: ...

The harness fills the parameters listed in `READS`; the others become the keys `evaluation.<name>.<option>`, validated by
their types.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from gip_exp.registry.signature import Options, split_parameters

if TYPE_CHECKING:
    from eval.results import EvalResult

READS = {
    "test": "the test rows: a list of {id, prompt, completion}",
    "generate": "generate(prompts, max_new_tokens=..., temperature=0.0) -> replies, through the run's engine",
    "lm": "the tuned model as lm-eval takes it, through the run's engine",
    "model": "the tuned model in this process",
    "tokenizer": "its tokenizer",
}


def exists(name: str) -> bool:
    """Return whether `eval/<name>.py` exists and has a function `evaluate`."""
    return find_spec(f"eval.{name}") is not None and hasattr(import_module(f"eval.{name}"), "evaluate")


def function(name: str) -> Callable[..., "EvalResult"]:
    """Import the function `evaluate` of `eval/<name>.py`."""
    return import_module(f"eval.{name}").evaluate


@cache
def signature(name: str) -> tuple[frozenset[str], Options]:
    """Return (parameters that the harness fills, options with types and defaults)."""
    return split_parameters(function(name), READS)
