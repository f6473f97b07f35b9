"""A symmetric d x d matrix that every pick changes by two vectors: exact products with it, written back in blocks.

Writing each pick into the matrix would move d^2 numbers. The last picks are kept aside instead, and products
with the matrix as it was before them (the base) are remembered for every row that was looked at since.
"""

from __future__ import annotations

from copy import copy

import torch

# Of more rows at a time the products are not remembered.
_MANY = 256


class Downdated:
    """X (d, d) = base - sum over the last picks of (a b^T + b a^T)."""

    def __init__(self, base: torch.Tensor, dtype: torch.dtype = torch.float64) -> None:
        self.base = base.to(dtype, copy=True)
        self.a = self.b = self.base.new_empty((0, len(base)))
        self.remembered: dict[int, torch.Tensor] = {}

    def fork(self) -> Downdated:
        """X as it is now, to be changed apart; of use until this one is written back."""
        return copy(self)

    def follow(self, fork: Downdated, count: int) -> None:
        """Be what a fork of the base was after its first `count` changes."""
        self.a, self.b = fork.a[:count], fork.b[:count]

    def products(self, ids: list[int], rows: torch.Tensor) -> torch.Tensor:
        """X f for every row f of rows (m, d) float64, whose numbers in the pool are ids."""
        return self._reduced(self._base_products(ids, rows), rows)

    def product(self, row: torch.Tensor) -> torch.Tensor:
        """X f (d,) for any vector f."""
        return self._reduced((self.base @ row)[None], row[None])[0]

    def _reduced(self, found: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        if not len(self.a):
            return found
        return found - (rows @ self.b.T) @ self.a - (rows @ self.a.T) @ self.b

    def _base_products(self, ids: list[int], rows: torch.Tensor) -> torch.Tensor:
        if len(ids) > _MANY:
            return rows @ self.base
        new = [at for at, row in enumerate(ids) if row not in self.remembered]
        if new:
            for at, product in zip(new, rows[new] @ self.base, strict=True):
                self.remembered[ids[at]] = product
        return torch.stack([self.remembered[row] for row in ids])

    def subtract(self, a: torch.Tensor, b: torch.Tensor) -> None:
        """X -= a b^T + b a^T."""
        self.a, self.b = torch.cat([self.a, a[None]]), torch.cat([self.b, b[None]])

    def write_back(self) -> None:
        """Bring the base up to date, and forget the products with what it was."""
        self.base.addmm_(self.a.T, self.b, alpha=-1.0).addmm_(self.b.T, self.a, alpha=-1.0)
        self.a, self.b = self.a[:0], self.b[:0]
        self.remembered.clear()
