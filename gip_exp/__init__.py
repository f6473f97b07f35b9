"""The experiment harness: configuration, stages, store, tracking and reports; and `select_rows`, a selection as one call."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gip_exp.import_path import prefer_own_packages

if TYPE_CHECKING:
    from gip_exp.library.call import select_rows
    from gip_exp.library.subset import Subset

__all__ = ["Subset", "select_rows"]

prefer_own_packages()

# Imported on first use: commands do not need them.
_HOME = {"select_rows": "gip_exp.library.call", "Subset": "gip_exp.library.subset"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'gip_exp' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)
