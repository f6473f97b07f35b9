"""A pool sharded over processes (gloo on this machine) gives the picks of one process."""

from __future__ import annotations

import os
import socket
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

from selection import gip_select
from selection.distributed import gip_select_sharded, shard_rows
from selection.fast.choose import SMALL

N, D, BUDGET = 301, 9, 40
CASES = {
    "scores-mp": {"method": "mp"},
    "scores-mp-no-ridge": {"method": "mp", "ridge": 0.0},
    "scores-omp-minmax": {"method": "omp", "score_scaling": "minmax"},
    "scores-logdet-rounds": {"method": "logdet", "tol": 3.0},
    "scores-mp-masked": {"method": "mp"},
    "scores-mp-first-shard-masked": {"method": "mp"},
    "queries-mp": {"method": "mp"},
    "queries-omp-no-ridge": {"method": "omp", "ridge": 0.0},
    "compression-mp": {"method": "mp"},
    "compression-omp-masked": {"method": "omp", "ridge": 0.1},
    "compression-logdet": {"method": "logdet"},
}

LARGE = 7001
FLOAT32 = ["float32-scores-mp", "float32-scores-omp", "compression-float32-mp"]


def arrays(name: str, folder: str) -> dict:
    """Memory-mapped pool and whole query of a case."""
    rng = np.random.default_rng(3)
    given = {"features": np.load(Path(folder) / "pool.npy", mmap_mode="r")}
    if name.startswith("scores"):
        given["scores"] = rng.integers(1, 6, size=(N, 3)).astype(float)
    if name.startswith("queries"):
        given["queries"] = rng.normal(size=(D, 2))
    if "masked" in name:
        given["candidates"] = rng.random(N) < 0.5
        if "first-shard" in name:
            given["candidates"][:110] = False  # the first of three shards has no candidate at all
    return given


def large(name: str) -> dict:
    """A float32 pool with copies of rows, large enough for the kernels of `selection.fast` in one process."""
    rng = np.random.default_rng(5)
    features = (rng.normal(size=(LARGE, 48)) + 0.3).astype(np.float32)
    features[4000:4400] = features[:400]
    scores = rng.integers(1, 6, size=(LARGE, 2)).astype(float)
    return {"features": features, "method": name.rpartition("-")[2]} | (
        {} if name.startswith("compression") else {"scores": scores}
    )


def sharded(given: dict, rank: int, size: int) -> dict:
    rows = shard_rows(N, rank, size)
    return {name: value if name == "queries" else value[rows] for name, value in given.items()}


def worker(rank: int, size: int, port: int, folder: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", rank=rank, world_size=size)
    try:
        found = {}
        for name, options in CASES.items():
            mine = sharded(arrays(name, folder), rank, size)
            got = gip_select_sharded(mine.pop("features"), BUDGET, dtype=torch.float64, **mine, **options)
            found[name] = (got.indices, got.gains, got.rounds, got.objective)
        found["share"] = gip_select_sharded(
            sharded(arrays("compression", folder), rank, size)["features"], 0.1
        ).indices
        found["errors"] = errors(rank, size, folder)
        for name in FLOAT32:
            mine = large(name)
            rows = shard_rows(LARGE, rank, size, mine["features"].shape[1])
            mine = {key: value if key == "method" else value[rows] for key, value in mine.items()}
            found[name] = gip_select_sharded(mine.pop("features"), 900, objective=False, **mine).indices
        torch.save(found, Path(folder) / f"{rank}.pt")
    except BaseException:
        (Path(folder) / f"{rank}.error").write_text(traceback.format_exc())
        raise
    finally:
        torch.distributed.destroy_process_group()


def errors(rank: int, size: int, folder: str) -> list[str]:
    """Messages every process gets when only the last one has a bad argument."""
    mine = sharded(arrays("scores", folder), rank, size)
    last = rank == size - 1
    bad_row = np.array(mine["features"])
    bad_row[5 * last] = np.nan if last else bad_row[0]
    mean_row = np.array(mine["features"])
    changes = [
        {"features": bad_row},
        {"ridge": -1.0 if last else 1.0},
        {"budget": 302},
        {"scores": mine["scores"] * [1, 0, 1]},
        {"scores": mine["scores"][:, : 2 if last else 3]},
        {"features": mean_row * 0 + 1.5},
    ]
    messages = []
    for change in changes:
        arguments = mine | {"budget": 5} | change
        try:
            gip_select_sharded(arguments.pop("features"), arguments.pop("budget"), **arguments)
            messages.append("no error")
        except ValueError as error:
            messages.append(str(error))
    return messages


@pytest.fixture(scope="module", params=[2, 3])
def run(request, tmp_path_factory):
    """Results of every process for every case, by number of processes."""
    folder = tmp_path_factory.mktemp(f"world{request.param}")
    pool = np.random.default_rng(0).normal(size=(N, D)) + 0.5
    pool[200] = pool[7]
    np.save(folder / "pool.npy", pool)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = mp.spawn(worker, (request.param, port, str(folder)), nprocs=request.param, join=False)
    context.join(timeout=120)
    told = "".join(path.read_text() for path in folder.glob("*.error"))
    assert not told, told
    results = [torch.load(folder / f"{rank}.pt", weights_only=False) for rank in range(request.param)]
    return str(folder), results


@pytest.mark.parametrize("name", CASES)
def test_every_process_returns_the_picks_of_a_single_process(run, name):
    folder, results = run
    given = arrays(name, folder)
    expected = gip_select(given.pop("features"), BUDGET, dtype=torch.float64, **given, **CASES[name])
    for result in results:
        indices, gains, rounds, objective = result[name]
        assert indices.tolist() == expected.indices.tolist()
        assert rounds == expected.rounds
        np.testing.assert_allclose(gains, expected.gains, rtol=1e-7, atol=1e-12)
        assert objective == pytest.approx(expected.objective, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", FLOAT32)
def test_a_float32_pool_gets_the_picks_of_the_fast_kernels_of_one_process(run, name):
    given = large(name)
    assert LARGE * given["features"].shape[1] * 900 > SMALL
    expected = gip_select(given.pop("features"), 900, **given).indices.tolist()
    for result in run[1]:
        assert result[name].tolist() == expected


def test_a_share_is_a_share_of_all_shards(run):
    assert [len(result["share"]) for result in run[1]] == [30] * len(run[1])


def test_a_bad_argument_on_one_process_is_an_error_on_all(run):
    results = run[1]
    last = len(results) - 1
    expected = [
        f"(process {last}) features: row 5 holds NaN or inf",
        "ridge: got -1.0; give a finite number >= 0",
        "budget: got 302; a count must be from 1 to 301",
        "scores: column 1 is all zero",
        "features, scores, queries: differ in their columns between processes",
        "features: row 0 equals the pool's mean row",
    ]
    for result in results:
        for message, part in zip(result["errors"], expected, strict=True):
            assert part in message


@pytest.mark.parametrize(("n", "d", "lengths"), [(11, None, {3, 4}), (11, 4, {3, 4}), (1000, 8, {320, 360})])
def test_shards_are_consecutive_and_cover_the_pool(n, d, lengths):
    rows = np.arange(n)
    parts = [rows[shard_rows(n, rank, 3, d)] for rank in range(3)]
    assert np.concatenate(parts).tolist() == rows.tolist()
    assert {len(part) for part in parts} <= lengths
