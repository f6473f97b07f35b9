"""GIP: greedy information projection. Arrays in, Selection out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from selection.types import Selection

if TYPE_CHECKING:
    from selection.objective import mutual_information, projection_energy
    from selection.select import gip_select

__all__ = ["Selection", "gip_select", "mutual_information", "projection_energy"]

# Imported on first use: they import torch, which is not needed to read a Selection or a table of signals.
_HOME = {
    "gip_select": "selection.select",
    "mutual_information": "selection.objective",
    "projection_energy": "selection.objective",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'selection' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
