"""The result type of every selection method of the project."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar, overload

import numpy as np
from annotated_types import Ge, Gt, Le, Lt

# Types of options with their bounds, for signatures: whoever reads a signature can check a value before the call.
Count = Annotated[int, Ge(1)]
NonNegative = Annotated[float, Ge(0)]
Seed = Annotated[int, Ge(0), Lt(2**32)]
Share = Annotated[float, Gt(0), Le(1)]
Function = TypeVar("Function", bound=Callable[..., object])


def per_budget(select: Function) -> Function:
    """Mark a selection method whose picks for a small budget are not the first of those for a larger one.

    Args:
        select: the selection function.

    Returns:
        The same function, with the attribute `per_budget`.

    Example:
        >>> @per_budget
        ... def select(n, budget):
        ...     return Selection(np.arange(budget), np.zeros(budget))
        >>> select.per_budget
        True
    """
    select.per_budget = True  # type: ignore[attr-defined]
    return select


def _first_repeated(indices: np.ndarray) -> int | None:
    rows, counts = np.unique(indices, return_counts=True)
    return None if len(rows) == len(indices) else int(rows[counts > 1][0])


class Computed(Mapping[str, float]):
    """Named values that are computed when first asked for, and kept; whatever they need is let go then.

    Pickling or copying asks for them: a copy holds the values as a plain dict.
    """

    def __init__(self, compute: Callable[[], dict[str, float]]) -> None:
        self._compute: Callable[[], dict[str, float]] | None = compute
        self._values: dict[str, float] = {}

    def _ready(self) -> dict[str, float]:
        if self._compute is not None:
            self._values, self._compute = self._compute(), None
        return self._values

    def __getitem__(self, name: str) -> float:
        return self._ready()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._ready())

    def __len__(self) -> int:
        return len(self._ready())

    def __repr__(self) -> str:
        return "<computed when asked for>" if self._compute is not None else repr(self._values)

    def __reduce__(self) -> tuple[type[dict[str, float]], tuple[dict[str, float]]]:
        return dict, (dict(self._ready()),)


@dataclass(frozen=True, eq=False, repr=False)
class Selection:
    """Rows selected from a pool, in the order in which they were picked. Arrays cannot be changed.

    Attributes:
        indices: (b,) int64, row numbers in the caller's pool, in pick order, no row twice.
        gains: (b,) float64, what each pick added by the measure of its method; zeros for methods without one.
        rounds: positions in `indices` at which a round of the greedy rule starts; begins with 0.
        objective: named values of the objective after the last pick (see `gip_select`); may be empty.
        size: rows of the pool, of which `prefix` takes shares; None if it is not known.

    It has the length, the items and the order of `indices`.

    Raises:
        ValueError: naming everything that is wrong with the arguments.

    Example:
        >>> picked = Selection(np.array([4, 0, 7]), np.array([0.9, 0.5, 0.1]))
        >>> picked.prefix(2).indices.tolist()
        [4, 0]
        >>> list(picked), picked[0]
        ([4, 0, 7], 4)
    """

    indices: np.ndarray
    gains: np.ndarray
    rounds: tuple[int, ...] = (0,)
    objective: Mapping[str, float] = field(default_factory=dict)
    size: int | None = None

    def __post_init__(self) -> None:
        given = np.asarray(self.indices)
        if given.size and given.dtype.kind not in "iu":
            raise ValueError(
                f"indices: have the type {given.dtype}; give row numbers (integers), for a mask np.flatnonzero(mask)"
            )
        indices = np.array(given, dtype=np.int64).reshape(-1)
        gains = np.array(self.gains, dtype=np.float64).reshape(-1)
        rounds = tuple(int(start) for start in self.rounds)
        problems = []
        if len(gains) != len(indices):
            problems.append(f"gains: has {len(gains)} values for {len(indices)} indices; give one per index")
        if len(indices) and indices.min() < 0:
            problems.append(f"indices: got {indices.min()}; row numbers start at 0")
        if (repeated := _first_repeated(indices)) is not None:
            problems.append(
                f"indices: row {repeated} appears twice; a selection holds every row at most once"
            )
        if not rounds or rounds[0] != 0 or list(rounds) != sorted(set(rounds)):
            problems.append(f"rounds: got {rounds}; give increasing start positions that begin with 0")
        if problems:
            raise ValueError("; ".join(problems))
        indices.flags.writeable = False
        gains.flags.writeable = False
        object.__setattr__(self, "indices", indices)
        object.__setattr__(self, "gains", gains)
        object.__setattr__(self, "rounds", rounds)

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices.tolist())

    @overload
    def __getitem__(self, at: int) -> int: ...
    @overload
    def __getitem__(self, at: slice) -> np.ndarray: ...
    def __getitem__(self, at: int | slice) -> int | np.ndarray:
        found = self.indices[at]
        return found if isinstance(found, np.ndarray) else int(found)

    def __repr__(self) -> str:
        first = ", ".join(map(str, self.indices[:5].tolist()))
        of = "" if self.size is None else f" of {self.size:,}"
        return f"<Selection: {len(self):,}{of} row{'s' if len(self) != 1 else ''}: {first}{', ...' if len(self) > 5 else ''}>"

    def prefix(self, budget: int | float) -> Selection:
        """Return the first picks, which for a greedy rule are its selection for that smaller budget.

        Args:
            budget: number of picks to keep, or their share of the pool (a float), if its size is known.

        Returns:
            Selection; its objective is empty unless all picks are kept, because it describes the state after
            the last one.

        Raises:
            ValueError: `budget` is neither an int in 1..len(self) nor such a share.
        """
        count: Any = budget
        if isinstance(budget, float) and self.size is not None and 0 < budget <= 1:
            count = max(1, round(budget * self.size))
        whole = isinstance(count, (int, np.integer)) and not isinstance(count, bool)
        if not whole or not 1 <= count <= len(self):
            share = (
                ""
                if self.size is None
                else f", or a share of the pool of at most {len(self) / self.size:.3g}"
            )
            raise ValueError(
                f"budget: got {budget!r}; give an int from 1 to {len(self)}, the length of this selection{share}"
            )
        rounds = tuple(start for start in self.rounds if start < count)
        objective = self.objective if count == len(self) else {}
        return Selection(self.indices[:count], self.gains[:count], rounds, objective, self.size)
