"""Embedders that are one function: `embed` in `gip_exp/models/embedders/<kind>.py`.

    def embed(texts, *, dimensions: Count = 256) -> np.ndarray: ...    # (n, d)

The harness fills the parameters listed in `READS`; the others become the keys `embedder.<option>`, checked by their
types. `conf/embedder/<kind>.yaml` gives their values.
"""

import pkgutil
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import Any

from gip_exp.registry.signature import Options, sort

PACKAGE = "gip_exp.models.embedders"
READS = {
    "texts": "n texts of the pool, prompt and completion",
    "facts": "a dict: what is put there is recorded with the output",
    "note": "note(text): a warning about the vectors, shown now and whenever they are reused",
}


@cache
def kinds() -> tuple[str, ...]:
    """The kinds there are."""
    return tuple(module.name for module in pkgutil.iter_modules(import_module(PACKAGE).__path__))


def function(kind: str) -> Callable[..., Any]:
    """The function `embed` of a kind."""
    return import_module(f"{PACKAGE}.{kind}").embed


@cache
def signature(kind: str) -> tuple[frozenset[str], Options]:
    """(what it reads, its options with types and defaults)."""
    return sort(function(kind), READS)
