"""What a sweep costs beside training and evaluation: `python -m tests.benchmarks.bench_sweep [key=value ...]`.

A 24-cell sweep of the quickstart (6 selectors x 2 budgets x 2 seeds) runs as one command, after its shared stages and
selections were made by the same command with `until=base` and `until=select`. Printed: wall time, the seconds that training and
evaluation report, and the share of the rest (start of Python and of the libraries, preflight, store, tables, tracking).
Further arguments override the config, e.g. `train.steps=60` for a shorter and therefore harsher measurement.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

AXES = ["selector=mp_ma,mp_sc,random,top_score,gate_random,dsir", "budget=0.05,0.1", "seed=0,1"]
SPENT = ("train", "evaluate")


def sweep(root: Path, *overrides: str) -> float:
    """Wall seconds of one `-m` command."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "gip_exp", "-m", "+experiment=quickstart", *AXES, *overrides]
    done = subprocess.run([*command, f"paths.root={root}"], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return time.perf_counter() - start


def spent(root: Path) -> tuple[int, float]:
    """(cells, seconds of training and evaluation that were not reused)."""
    results = [json.loads(path.read_text()) for path in root.glob("runs/*/*/result.json")]
    stages = [
        result["stages"][name] for result in results for name in SPENT if not result["stages"][name]["cached"]
    ]
    return len(results), sum(stage["seconds"] for stage in stages)


def main() -> None:
    overrides = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        shared = sum(sweep(root, *overrides, f"until={stage}") for stage in ("base", "select"))
        wall = sweep(root, *overrides)
        cells, seconds = spent(root)
    print(f"shared stages and selections beforehand: {shared:.0f} s")
    print(f"{cells} cells: {wall:.0f} s, of which training and evaluation {seconds:.0f} s")
    print(f"outside of them {wall - seconds:.0f} s: {1 - seconds / wall:.1%} of the wall time")


if __name__ == "__main__":
    main()
