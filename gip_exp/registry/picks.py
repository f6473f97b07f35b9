"""Calls a selector's function and checks what it returns, since anybody can write one."""

from collections.abc import Mapping
from linecache import getline
from traceback import walk_tb
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from gip_exp.errors import UserError

if TYPE_CHECKING:
    from gip_exp.registry.selectors import Selector
    from selection import Selection  # and torch with it


def pick(
    selector: "Selector",
    name: str,
    arguments: Mapping[str, Any],
    *,
    n: int,
    budget: int,
    needed: int,
    candidates: np.ndarray | None,
) -> "Selection":
    """Return what the function of a selector picks.

    Args:
        selector: The selector.
        name: Its name in the run (`selector.name`), for messages.
        arguments: All arguments except the budget.
        n: Rows of the pool.
        budget: Rows to rank.
        needed: Rows that the run selects, at most `budget`; a selector may leave out rows beyond them.
        candidates: (n,) bool, the rows that may be picked; None for all.

    Raises:
        UserError: the function raised ValueError (any exception, if it comes from an installed package: a sweep goes on
            with the other methods), or did not return such a selection.
    """
    function = selector.load()
    try:
        found = function(**arguments, budget=budget)
    except Exception as error:
        expected = isinstance(error, ValueError)
        if not expected and not selector.package:
            raise
        kind = "" if expected else f"{selector.package} raised {type(error).__name__}: "
        raise UserError(f"selector={name}: {kind}{error}{_place(error.__traceback__, function)}") from error
    if problem := _problem(found, n=n, budget=budget, needed=needed, candidates=candidates):
        raise UserError(f"selector={name}: its function {selector.function} {problem}")
    return found


def _problem(found: Any, *, n: int, budget: int, needed: int, candidates: np.ndarray | None) -> str:
    """Return what is wrong with the result of a selector's function, or ''."""
    from selection.types import Selection

    if not isinstance(found, Selection):
        return f"returned {type(found).__name__}; return selection.Selection(indices, gains)"
    rows = found.indices
    if not needed <= len(rows) <= budget:
        return (
            f"returned {len(rows)} rows, but budget={budget} asks for as many, best first"
            f"{f', and the run needs {needed}' if needed < budget else ''}"
        )
    if rows.max() >= n:
        return f"returned row {rows.max()}; the pool has the rows 0 to {n - 1}"
    if candidates is not None and not candidates[rows].all():
        first = rows[~candidates[rows]]
        return (
            f"picked {len(first)} rows that `candidates` forbids (first: row {first[0]}), for instance because they have no "
            "score: pick only rows i with candidates[i]"
        )
    if not np.isfinite(found.gains).all():
        at = int((~np.isfinite(found.gains)).argmax())
        return f"returned the gain {found.gains[at]} for pick {at + 1} (row {rows[at]}); gains are finite numbers"
    return ""


def _place(traceback: TracebackType | None, function: Any) -> str:
    """Return where an error arose, ` (file, line ...)`; '' if the method raised it itself to say what is wrong."""
    frames = [
        (frame.f_globals.get("__name__", ""), frame.f_code.co_filename, at)
        for frame, at in walk_tb(traceback)
    ]
    module, file, at = frames[-1]
    methods = {"selection", "baselines", function.__module__.partition(".")[0]}
    if module.partition(".")[0] in methods and getline(file, at).strip().startswith("raise"):
        return ""
    module, file, at = next(
        (frame for frame in reversed(frames) if frame[0] == function.__module__), frames[-1]
    )
    return f" ({module}, line {at}: {getline(file, at).strip()})"
