"""Selection from a pool that is distributed over the processes of a torch.distributed group.

Every process holds a shard of consecutive rows, in rank order, which may be a slice of a memory-mapped array:
no process reads or holds the rows of another. A pick costs one pass over each shard, two reductions of one
number, and one broadcast of the winner's row and correlations, d + k + 1 float64 numbers. Every process keeps
the small matrices (d x d, k x k); they stay equal because all processes apply the same updates.

    torchrun --nproc-per-node 4 script.py
    # script.py
    dist.init_process_group("gloo")                      # nccl with one GPU per process
    pool = np.load("embeddings.npy", mmap_mode="r")
    rows = shard_rows(len(pool), dist.get_rank(), dist.get_world_size(), pool.shape[1])
    selection = gip_select_sharded(pool[rows], 0.1, scores=scores[rows])

The picks are those of `gip_select` in one process. With float32 the pool is prepared in float32, by the blocks of rows
that one process would form; where one process decides in float64 (see `fast`), the prepared shard is then widened to
float64. So a process needs up to 12 bytes for each number of its shard.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from selection.checks import Problems, check_candidates, check_query_arguments, resolve_budget
from selection.communicate import Group
from selection.fast.choose import Lengths, decides_in_float64
from selection.objective import describe, query_gram
from selection.plain import select_plain
from selection.prepare import Pool, Preparation, block_rows, prepare
from selection.problem import Picks, Problem, Rule
from selection.select import check_options
from selection.types import Selection


def shard_rows(n: int, rank: int, size: int, d: int | None = None) -> slice:
    """Return the rows of one process when n rows are split into consecutive, nearly equal shards.

    Args:
        n: rows of the pool.
        rank: number of the process.
        size: number of processes.
        d: columns of the pool. If given, shards consist of whole blocks as `gip_select` forms them (unless there are
            fewer blocks than processes), so that the mean row and the Gram matrix in float32 are rounded alike.

    Returns:
        Slice of row numbers.

    Example:
        >>> [shard_rows(10, rank, 3) for rank in range(3)]
        [slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)]
        >>> [shard_rows(1000, rank, 3, d=8) for rank in range(3)]  # blocks of 64 rows
        [slice(0, 320, None), slice(320, 640, None), slice(640, 1000, None)]
    """
    step = 1 if d is None else block_rows(n, d)
    blocks = -(-n // step)
    if blocks < size:
        step, blocks = 1, n
    return slice(step * (blocks * rank // size), min(n, step * (blocks * (rank + 1) // size)))


def gip_select_sharded(
    features: Any,
    budget: int | float,
    *,
    scores: Any = None,
    queries: Any = None,
    candidates: Any = None,
    method: str = "mp",
    ridge: float = 1.0,
    center: bool = True,
    normalize: bool = True,
    score_scaling: str = "rms",
    signed_scores: bool = False,
    tol: float = 1e-6,
    noise: float = 1e-6,
    device: str | torch.device | None = None,
    dtype: torch.dtype = torch.float32,
    group: Any = None,
    objective: bool = True,
) -> Selection:
    """Run `gip_select` over the shards of all processes of a group. Every process must call it.

    Args:
        features: (n, d) rows of this process, at least one.
        budget: a count or a share of the rows of all processes.
        scores: (n, k) scores of this process's rows.
        queries: (d, k), the same on every process.
        candidates: boolean mask (n,) of this process's rows.
        method: as in `gip_select`.
        ridge: as in `gip_select`.
        center: as in `gip_select`.
        normalize: as in `gip_select`.
        score_scaling: as in `gip_select`.
        signed_scores: as in `gip_select`.
        tol: as in `gip_select`.
        noise: as in `gip_select`.
        device: where to compute; default CPU, for nccl the GPU of the process.
        dtype: as in `gip_select`.
        group: the torch.distributed group; default: the whole world.
        objective: whether to compute `Selection.objective`, here and not when it is looked at, because all
            processes must take part; False leaves it empty.

    Returns:
        The same Selection on every process; row numbers count over all shards in rank order.

    Raises:
        ValueError: on every process if any has a bad argument; row numbers in the message count within the
            shard of the process that it names.

    Example:
        A group of one process:

        >>> import torch.distributed as dist
        >>> dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
        >>> pool = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [-1.0, 0.2]])
        >>> gip_select_sharded(pool, 2).indices.tolist()
        [0, 3]
        >>> dist.destroy_process_group()
    """
    problems = Problems()
    check_options(problems, method=method, ridge=ridge, tol=tol, noise=noise, dtype=dtype)
    place = torch.device("cpu" if device is None else device)
    comm = Group(group, place)
    shaped = check_query_arguments(
        problems,
        features,
        scores,
        queries,
        ridge=ridge,
        score_scaling=score_scaling,
        needs_ridge=method in ("omp", "logdet"),
    )
    n = len(features) if shaped else 0
    mask = check_candidates(problems, candidates, n, some=False) if shaped else None
    admitted = n if mask is None else int(mask.sum())
    shards = comm.gather((n, admitted, (np.shape(features)[1:], _columns(scores), _columns(queries))))
    if len({shard[2] for shard in shards}) > 1:
        found = [shard[2] for shard in shards]
        problems.add("features, scores, queries", f"differ in their columns between processes: {found}")
    sizes = [shard[0] for shard in shards]
    count = _resolve_count(problems, budget, sum(sizes), sum(shard[1] for shard in shards))
    comm.agree(problems)
    how = Preparation(center, normalize, score_scaling, float(ridge), dtype, place, signed_scores)
    pool = prepare(problems, features, how, scores=scores, queries=queries, mask=mask, comm=comm)
    total = query_gram(pool, comm) if objective or method == "logdet" else None
    problem = Problem(pool, Rule(method, float(tol), float(noise)), total)
    picks = select_plain(_as_decided_alone(problem, count, comm), count, comm)
    here, rows = _own_and_all(pool, picks, comm, sizes)
    values = describe(pool, here, noise, total, comm) if objective else {}
    return Selection(rows, np.array(picks.gains), tuple(picks.rounds), values)


def _as_decided_alone(problem: Problem, count: int, comm: Group) -> Problem:
    """Widen a float32 pool to float64 where `gip_select` in one process would decide in float64."""
    square = problem.pool.square
    total = comm.sum(torch.stack([square.new_tensor(float(len(square))), square.sum()]))
    largest = float(square.max()) if len(square) else 0.0
    smallest = float(square.min()) if len(square) else float("inf")
    lengths = Lengths(-comm.largest(-smallest), float(total[1] / total[0]), comm.largest(largest))
    if not decides_in_float64(problem, int(total[0]), count, lengths):
        return problem
    return replace(problem, pool=replace(problem.pool, rows=problem.pool.rows.to(torch.float64)))


def _resolve_count(problems: Problems, budget: Any, n: int, admitted: int) -> int:
    """Return the number of picks among the rows of all processes; 0 if a problem was noted."""
    try:
        count = resolve_budget(budget, max(1, n))
    except ValueError as error:
        problems.messages.append(str(error))
        return 0
    if count > admitted:
        problems.add("budget", f"asks for {count} picks, but only {admitted} rows are candidates; lower it")
    return count


def _columns(values: Any) -> int:
    return 0 if values is None else int(np.shape(values)[-1])


def _own_and_all(pool: Pool, picks: Picks, comm: Group, sizes: list[int]) -> tuple[torch.Tensor, np.ndarray]:
    """The picks of this shard, as positions in it, and all picks, as row numbers of the whole pool.

    sizes: rows of every shard.
    """
    starts = np.cumsum([0, *comm.gather(len(pool.index))])
    order = np.array(picks.order, dtype=np.int64)
    mine = (order >= starts[comm.rank]) & (order < starts[comm.rank + 1])
    local = order[mine] - starts[comm.rank]
    rows = torch.zeros(len(order), dtype=torch.int64)
    rows[torch.from_numpy(mine)] = torch.from_numpy(pool.index[local]) + sum(sizes[: comm.rank])
    return torch.from_numpy(local).to(pool.rows.device), comm.sum(rows).numpy()
