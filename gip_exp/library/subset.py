"""The result of `select_rows`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from gip_exp.errors import UserError
from gip_exp.runs.folder import SCORED_ROWS, SELECTION_PAGE

if TYPE_CHECKING:
    import datasets
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class Subset(Sequence[dict[str, Any]]):
    """Selected rows, best first. As a sequence it holds the rows as they were given.

    Attributes:
        indices: (b,) int64 positions of the picks in the given rows, from 0.
        rows: The given rows at these positions.
        n: Number of given rows.
        measures: Lengths, mean scores, coverage and topics of the subset, the pool and random subsets; empty for a
            prefix.
        notes: What the run remarked: rows left out, unscored rows, ...
        folder: The run folder, with `selected.jsonl`, `scored.parquet` and `selection.html`.
    """

    indices: np.ndarray
    rows: list[dict[str, Any]]
    n: int
    measures: Mapping[str, Mapping[str, float | None]]
    notes: tuple[str, ...]
    folder: Path
    source: Any = None  # the given rows
    kept: TemporaryDirectory[str] | None = None  # deleted with the last subset that refers to it

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: Any) -> Any:
        return self.rows[at]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __repr__(self) -> str:
        first = ", ".join(map(str, self.indices[:5]))
        return f"<Subset: {len(self):,} of {self.n:,} rows: {first}{', ...' if len(self) > 5 else ''}>"

    def prefix(self, budget: int | float) -> "Subset":
        """Return the first picks: a number of rows, or a share of the given rows.

        Raises:
            UserError: the budget is larger than the subset.
        """
        count = int(budget) if isinstance(budget, Integral) else max(1, round(budget * self.n))
        if not 1 <= count <= len(self):
            raise UserError(
                f"budget={budget} is {count:,} rows: give 1 to {len(self):,}, the rows of this subset, or select again"
            )
        first = self.indices[:count], self.rows[:count]
        return Subset(*first, self.n, {}, self.notes, self.folder, self.source, self.kept)

    def dataset(self) -> "datasets.Dataset":
        """Return the rows as a `datasets.Dataset`; of a given one, the selected part with its features."""
        import datasets

        if isinstance(self.source, datasets.Dataset):
            return self.source.select(self.indices)
        return _as_dataset(self.rows)

    def report(self) -> Path:
        """Return the page that compares the subset with the pool and with random subsets."""
        return self.folder / SELECTION_PAGE

    @property
    def scored(self) -> "pd.DataFrame":
        """Every given row with its scores, rank, gain, nearest pick, topic and place on the map (`scored.parquet`)."""
        import pandas as pd

        return pd.read_parquet(self.folder / SCORED_ROWS)


def _as_dataset(rows: Sequence[Mapping[str, Any]]) -> "datasets.Dataset":
    """Return rows as a data set, unchanged but for None where a row lacks a column.

    `Dataset.from_list` takes the columns of the first row only, and gives every dict in a column the keys of all others:
    a tool call would get the arguments of other calls. Columns that would be changed are stored as JSON.
    """
    import datasets

    names = dict.fromkeys(name for row in rows for name in row)
    columns = {name: [row.get(name) for row in rows] for name in names}
    table = datasets.Dataset.from_dict(columns, on_mixed_types="use_json")
    nested = [name for name in names if any(isinstance(value, list | dict) for value in columns[name])]
    changed = {name: datasets.Json() for name in nested if list(table[name]) != columns[name]}
    if not changed:
        return table
    return datasets.Dataset.from_dict(columns, features=datasets.Features({**table.features, **changed}))
