"""Every fault we could think of, on real runs of the shrunken quickstart: `python tests/fault_campaign.py --kills 60`.

Each fault ends in the result of an undisturbed run, or in a message that says what to do (exit status 2, no traceback),
after which the same command goes on to that result. Prints a table; the exit status is 1 when anything failed.
`--only NAME,...` picks faults (`--list` names them). A full campaign takes about three quarters of an hour.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import fault_disks
import fault_kills
import fault_peers
from fault_kills import Bench, Row
from fault_runs import Sweep, judged
from fault_server import FaultServer


def _whole(bench: Bench) -> Sweep:
    """A sweep through every stage: three selectors, two budgets, two seeds."""
    return judged(bench.server.url, "budget=0.05,0.1", "seed=0,1", selectors="mp_ma,random,less")


def _few(bench: Bench) -> Sweep:
    """Four runs for several processes to share."""
    return judged(bench.server.url, "seed=0,1", selectors="mp_ma,random")


def _pair(bench: Bench) -> Sweep:
    """Two runs through every stage; every output is used again when the command is repeated."""
    return judged(bench.server.url, "untuned=false", selectors="mp_ma,less")


def _cell(bench: Bench) -> Sweep:
    """One run with a judge."""
    return judged(bench.server.url, "untuned=false", multirun=False)


def _power_cuts(bench: Bench, sweep: Sweep) -> list[Row]:
    less = judged(bench.server.url, selectors="less", multirun=False)
    return [
        *fault_kills.power_cut(bench, sweep, ("data", "base", "score", "embed", "train", "evaluate")),
        *fault_kills.power_cut(bench, less, ("warmup", "gradients")),
    ]


FAULTS: dict[str, tuple[Callable[[Bench, Sweep], list[Row]], Callable[[Bench], Sweep]]] = {
    "kills": (fault_kills.random_moments, _whole),
    "judging": (lambda bench, sweep: fault_kills.random_moments(bench, sweep, ("score",)), _cell),
    "writes": (fault_kills.every_write, _pair),
    "power_cut": (_power_cuts, _cell),
    "disk_full": (fault_disks.disk_full, _cell),
    "read_only": (fault_disks.read_only, _cell),
    "damaged": (fault_disks.damaged, _pair),
    "damaged_replies": (fault_disks.damaged_replies, _cell),
    "shared": (fault_peers.shared, _few),
    "clocks": (fault_disks.clocks, _cell),
    "no_locks": (fault_disks.no_locks, _cell),
    "hub_down": (fault_peers.hub_down, _cell),
    "judge_down": (fault_peers.judge_down, _cell),
    "throttled": (fault_peers.throttled, _cell),
}


def main() -> int:
    """Run the faults asked for and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=60, help="kills at random moments")
    parser.add_argument("--places", type=int, default=0, help="touches of files to kill at, drawn (0: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="comma-separated faults")
    parser.add_argument("--list", action="store_true", help="name the faults and stop")
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(FAULTS))
        return 0
    wanted = arguments.only.split(",") if arguments.only else list(FAULTS)
    if unknown := sorted(set(wanted) - set(FAULTS)):
        parser.error(f"--only {','.join(unknown)}: the faults are {', '.join(FAULTS)}")
    os.nice(5)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # small disks are unmounted however this ends
    start, failed = time.monotonic(), 0
    scratch = Path(tempfile.mkdtemp(prefix="gip-faults-"))
    with FaultServer(delay_s=0.05) as server:
        bench = Bench(scratch, random.Random(arguments.seed), server, arguments.kills, arguments.places)
        for name in wanted:
            begun = time.monotonic()
            do, sweep = FAULTS[name]
            for row in do(bench, sweep(bench)):
                failed += not row.ok
                print(
                    f"| {row.fault} | {row.tries} | {row.shown} | {'ok' if row.ok else 'FAIL'} |", flush=True
                )
                for problem in row.problems:
                    print(f"    {problem}", flush=True)
            print(f"  ({name}: {time.monotonic() - begun:.0f} s)", flush=True)
    shutil.rmtree(scratch)
    print(f"{'all held' if not failed else f'{failed} FAILED'} in {time.monotonic() - start:.0f} s")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
