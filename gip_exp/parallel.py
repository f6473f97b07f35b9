"""Work on many rows in blocks, by several processes where that pays."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

Result = TypeVar("Result")
BLOCK = 4096  # rows
FEWEST = 4  # blocks for which processes are started: each takes about a second to start


def in_blocks(
    function: Callable[[list[Any]], Result],
    rows: Sequence[Any],
    *,
    advance: Callable[[int], None] | None = None,
) -> Iterator[Result]:
    """Yield the result of `function` for each block of rows, in their order.

    Args:
        function: Takes a list of rows. It must not depend on the blocks, and it must be importable by other processes
            (`functools.partial` of a function is).
        rows: The rows; only a few blocks at a time are copied to lists.
        advance: Called with the number of rows of each block that is done.

    Example:
        >>> list(in_blocks(len, range(10_000)))
        [4096, 4096, 1808]
    """
    blocks = (list(rows[start : start + BLOCK]) for start in range(0, len(rows), BLOCK))
    sizes = (min(BLOCK, len(rows) - start) for start in range(0, len(rows), BLOCK))
    results = map(function, blocks) if len(rows) < FEWEST * BLOCK else _by_processes(function, blocks)
    for size, result in zip(sizes, results, strict=True):
        yield result
        if advance is not None:
            advance(size)


def _by_processes(function: Callable[[Any], Result], blocks: Iterator[Any]) -> Iterator[Result]:
    """Call the function in one process per processor, which end afterwards and release their memory."""
    from joblib import Parallel, delayed, effective_n_jobs
    from joblib.externals.loky import get_reusable_executor

    processes = effective_n_jobs(-1)
    if processes == 1:
        yield from map(function, blocks)
        return
    try:
        yield from Parallel(n_jobs=processes, return_as="generator")(map(delayed(function), blocks))
    finally:
        get_reusable_executor().shutdown(wait=True)
