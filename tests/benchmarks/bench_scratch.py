"""Selection from an array four times as large as the memory that the process may use: `gip_select(..., scratch=FOLDER)`.

    python -m tests.benchmarks.bench_scratch [--n 1000000] [--d 1024] [--picks 200] [--share 0.25] [--folder DIR]

Writes a random (n, d) float32 array, selects from it once in memory and once, in a control group whose memory limit is
that share of the array, from the file with `scratch=`, for scores (k = 5) and for self-compression. Prints seconds, the
peak memory of the control group (page cache included), the peak anonymous memory of the process and whether the picks
are equal. Needs root and a writable memory control group (version 1 or 2), and twice the array on disk and in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

GROUPS = Path("/sys/fs/cgroup")
LIMIT = {"memory.limit_in_bytes": "memory.max_usage_in_bytes", "memory.max": "memory.peak"}


def write_array(path: Path, n: int, d: int) -> None:
    """Write random rows around 256 centres, so that the greedy rules have near-ties and clusters to choose from."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((256, d), dtype=np.float32)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(n, d))
    for start in range(0, n, 8192):
        rows = array[start : start + 8192]
        rng.standard_normal(out=rows, dtype=np.float32)
        rows += centres[rng.integers(256, size=len(rows))]
    array.flush()


def select(path: Path, kind: str, picks: int, scratch: str | None) -> dict[str, Any]:
    from selection import gip_select

    features = np.load(path, mmap_mode="r" if scratch else None)
    scores = np.random.default_rng(1).uniform(1, 10, (len(features), 5)) if kind == "scores" else None
    start = time.perf_counter()
    chosen = gip_select(features, picks, scores=scores, scratch=scratch).indices.tolist()
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text().split()
    return {
        "indices": chosen,
        "seconds": seconds,
        "anonymous": int(status[status.index("RssAnon:") + 1]) * 1024,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def limited_group(limit: int) -> tuple[Path, str]:
    """Make a control group with that memory limit; return it and the name of its file of peak memory."""
    for parent in (GROUPS / "memory", GROUPS):
        group = parent / f"bench_scratch_{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        for name, peak in LIMIT.items():
            if (group / name).exists():
                (group / name).write_text(str(limit))
                return group, peak
        group.rmdir()
    raise SystemExit(
        f"no writable memory control group below {GROUPS}: run as root on a machine that has one"
    )


def in_child(options: argparse.Namespace, path: Path, kind: str, limit: int | None) -> dict[str, Any]:
    """Select in a process of its own, with at most `limit` bytes of memory."""
    command = [sys.executable, "-m", "tests.benchmarks.bench_scratch", "--child", str(path), "--kind", kind]
    command += ["--picks", str(options.picks)]
    if limit is None:
        return dict(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    group, peak = limited_group(limit)
    try:
        command += ["--scratch", str(path.parent), "--group", str(group / "cgroup.procs")]
        found = dict(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
        return found | {"group": int((group / peak).read_text())}
    finally:
        group.rmdir()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--n", type=int, default=1_000_000)
    parser.add_argument("--d", type=int, default=1024)
    parser.add_argument("--picks", type=int, default=200)
    parser.add_argument("--share", type=float, default=0.25)
    parser.add_argument("--folder")
    for name in ("--child", "--kind", "--scratch", "--group"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        if options.group:
            Path(options.group).write_text(str(os.getpid()))
        print(json.dumps(select(Path(options.child), options.kind, options.picks, options.scratch)))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "features.npy"
        write_array(path, options.n, options.d)
        size = path.stat().st_size
        print(f"array {size / 1e9:.2f} GB, limit {options.share * size / 1e9:.2f} GB", flush=True)
        for kind in ("scores", "self-compression"):
            within = in_child(options, path, kind, int(options.share * size))
            free = in_child(options, path, kind, None)
            print(
                f"{kind}: {within['seconds']:.1f} s within {within['group'] / 1e9:.2f} GB (anonymous at the end "
                f"{within['anonymous'] / 1e9:.2f} GB); in memory {free['seconds']:.1f} s with {free['peak'] / 1e9:.2f} GB; "
                f"same picks: {within['indices'] == free['indices']}",
                flush=True,
            )


if __name__ == "__main__":
    main()
