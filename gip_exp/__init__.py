"""The experiment harness: configuration, stages, store, tracking and reports; and `select_rows`, a selection as one call."""

from typing import TYPE_CHECKING, Any

from gip_exp.import_path import prefer_own_packages

if TYPE_CHECKING:
    from gip_exp.library.call import select_rows
    from gip_exp.library.subset import Subset

__all__ = ["Subset", "select_rows"]

prefer_own_packages()


def __getattr__(name: str) -> Any:
    """Import the library call on first use: commands do not need it."""
    if name == "select_rows":
        from gip_exp.library.call import select_rows

        return select_rows
    if name == "Subset":
        from gip_exp.library.subset import Subset

        return Subset
    raise AttributeError(f"module 'gip_exp' has no attribute {name!r}")
