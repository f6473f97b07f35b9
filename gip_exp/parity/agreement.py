"""What a comparison gets and what it returns: the pool, the two timings, and how far two results are the same."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np

Result = TypeVar("Result")


@dataclass(frozen=True)
class Pool:
    """A small generated pool: clustered embeddings, scores, texts.

    Attributes:
        seed: Determines everything.
        n: Rows.
        width: Columns of the embeddings.
        budget: Picks of each method.
    """

    seed: int = 0
    n: int = 1000
    width: int = 48
    budget: int = 100

    @cached_property
    def features(self) -> np.ndarray:
        """Unit rows (n, width) float64 around 20 centres."""
        rng = self.random("features")
        centres = rng.normal(size=(20, self.width))
        rows = centres[rng.integers(20, size=self.n)] + rng.normal(size=(self.n, self.width))
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    @cached_property
    def scores(self) -> np.ndarray:
        """Scores (n, 4) from 1 to 5."""
        return self.random("scores").uniform(1, 5, size=(self.n, 4))

    def texts(self, count: int, name: str) -> list[str]:
        """Return word problems of 1 to 6 sentences."""
        rng = self.random(name)
        return [" ".join(_sentence(rng) for _ in range(rng.integers(1, 7))) for _ in range(count)]

    def random(self, name: str) -> np.random.Generator:
        """Return the generator of one part, so that no part depends on another."""
        return np.random.default_rng([self.seed, *name.encode()])


@dataclass(frozen=True)
class Outcome:
    """One comparison.

    Attributes:
        agrees: Whether the two results are the same, up to rounding.
        found: How far they are, in words.
        ours_s: Seconds of our code.
        theirs_s: Seconds of the other code.
    """

    agrees: bool
    found: str
    ours_s: float
    theirs_s: float


def timed(call: Callable[[], Result]) -> tuple[Result, float]:
    """Return a result and the seconds of the faster of two calls: the first may compile or read an index."""
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        result = call()
        seconds.append(time.perf_counter() - start)
    return result, min(seconds)


def same_picks(ours: Sequence[int], theirs: Sequence[int]) -> tuple[bool, str]:
    """Return whether two rankings are equal, and a sentence that says where they are not."""
    equal = sum(a == b for a, b in zip(ours, theirs, strict=False))
    whole = equal == len(ours) == len(theirs)
    return whole, f"{equal} of {len(ours)} picks equal" + (
        "" if whole else f", {len({*ours} & {*theirs})} in common"
    )


def same_numbers(ours: Any, theirs: Any, tolerance: float) -> tuple[bool, str]:
    """Return whether the largest difference, divided by the largest number of theirs, is within a tolerance.

    Args:
        ours: Our numbers.
        theirs: Theirs, in the same shape.
        tolerance: Largest relative difference that rounding explains.
    """
    a, b = (np.asarray(values, dtype=np.float64) for values in (ours, theirs))
    if a.shape != b.shape:
        return False, f"shapes {a.shape} and {b.shape}"
    difference = float(np.abs(a - b).max() / np.abs(b).max())
    return difference <= tolerance, f"largest relative difference {difference:.1e}"


def both(*findings: tuple[bool, str]) -> tuple[bool, str]:
    """Return the findings on several results of one comparison as one."""
    return all(agrees for agrees, _ in findings), "; ".join(words for _, words in findings)


def _sentence(rng: np.random.Generator) -> str:
    name, thing = rng.choice(["Tom", "Ana", "Wei", "Mia"]), rng.choice(["apples", "books", "coins", "stamps"])
    verb = rng.choice(["has", "buys", "loses", "counts"])
    return f"{name} {verb} {rng.integers(1, 100)} {thing}, doesn't {rng.choice(['he', 'she'])}?"
