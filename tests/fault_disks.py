"""Disks that fill up, that are read-only, that give back other bytes; clocks that are wrong; locks that are left or missing."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from fault_kills import Bench, Row
from fault_runs import STAGES, Ended, Sweep, entries, may_mount, remains, tmpfs, trace

NOT_ROOT = "skipped: only root may mount a small disk"


SHARES = (0.001, 0.02, 0.1, 0.3, 0.5, 0.7, 0.97)  # of the space that an undisturbed run takes


def disk_full(bench: Bench, sweep: Sweep, shares: Sequence[float] = SHARES) -> list[Row]:
    """A small disk below `paths.root` that fills up further and further into the run; then room, and the same command."""
    if not may_mount():
        return [Row("disk full", 0, NOT_ROOT)]
    whole = sum(path.stat().st_size for path in bench.undisturbed(sweep)[0].rglob("*") if path.is_file())
    problems, reached, slowest = [], set(), 0.0
    for share in shares:
        root = bench.root()
        with tmpfs(root, f"{max(16, int(whole * share / 1024))}k") as remount:
            ended = sweep.run(root)
            slowest = max(slowest, ended.seconds)
            reached.add(_stage(ended))
            problems += _says(ended, f"{share:.1%} of the space", "no space left", "free some space")
            made = entries(root)
            remount("size=1g")
            problems += _goes_on(bench, sweep, root, made, f"{share:.1%} of the space")
    stages = ", ".join(stage for stage in (*STAGES, "the run folder") if stage in reached)
    return [
        Row(
            "disk full, then room",
            len(shares),
            f"full in {stages}; a message each, exit status 2",
            tuple(problems),
        )
    ]


def _stage(ended: Ended) -> str:
    at_work = [line.split()[0].split("/")[0] for line in ended.said.splitlines() if line.endswith(" ...")]
    done = (
        any(line.startswith(f"  {at_work[-1]}") and " s" in line for line in ended.said.splitlines())
        if at_work
        else True
    )
    return at_work[-1] if at_work and not done else "the run folder"


def _says(ended: Ended, when: str, *parts: str) -> list[str]:
    if ended.clean and all(part in ended.said for part in parts):
        return []
    return [f"{when}: exit status {ended.status}, it said: {ended.said[-600:]}"]


def _goes_on(
    bench: Bench, sweep: Sweep, root: Path, made: dict[str, tuple[int, int]], when: str
) -> list[str]:
    """The same command again gives the undisturbed result, leaves nothing over and makes nothing again."""
    ended = sweep.run(root)
    problems = [] if ended.status == 0 else [f"{when}, again: exit status {ended.status}: {ended.error}"]
    if difference := trace(root).difference(bench.undisturbed(sweep)[1]):
        problems.append(f"{when}: {difference}")
    if left := remains(root):
        problems.append(f"{when}: left behind: {', '.join(left[:3])} ({len(left)})")
    now = entries(root)
    problems += [
        f"{when}: {name} was finished and was made again" for name in made if now.get(name) != made[name]
    ]
    return problems


def read_only(bench: Bench, sweep: Sweep) -> list[Row]:
    """A store that cannot be written: with everything there, with one output missing, with nothing."""
    if not may_mount():
        return [Row("read-only store", 0, NOT_ROOT)]
    problems = []
    root = bench.root()
    with tmpfs(root, "1g") as remount:
        shutil.copytree(bench.undisturbed(sweep)[0], root, dirs_exist_ok=True)
        remount("ro")
        ended = sweep.run(root)
        if (
            ended.status
            or "is read-only: existing outputs are shown" not in ended.said
            or "all stages were reused" not in ended.said
        ):
            problems.append(f"all there: exit status {ended.status}: {ended.said[-600:]}")
        other = Sweep((*sweep.arguments, "budget=0.2"))
        problems += _says(
            other.run(root), "something to make", f"paths.root={root} cannot be written", "another folder"
        )
        remount("rw")
        shutil.rmtree(root / "store")
        shutil.rmtree(root / "runs")
        remount("ro")
        problems += _says(sweep.run(root), "empty", f"paths.root={root} cannot be written", "another folder")
        remount("rw")
        problems += _goes_on(bench, sweep, root, {}, "writable again")
    shown = "a finished run is shown as it stands; else a message, exit status 2"
    return [Row("read-only store", 3, shown, tuple(problems))]


def _largest(folder: Path) -> Path:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "manifest.json"]
    return max(files, key=lambda path: path.stat().st_size)


def _cut(folder: Path) -> None:
    path = _largest(folder)
    os.truncate(path, path.stat().st_size // 2)


def _flip(folder: Path) -> None:
    path = _largest(folder)
    facts = path.stat()
    with path.open("r+b") as stream:
        stream.seek(facts.st_size // 2)
        byte = stream.read(1)[0]
        stream.seek(facts.st_size // 2)
        stream.write(bytes([byte ^ 1]))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))  # as a disk does it, not as an editor


def _in_the_way(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("a file")


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


HARMS: dict[str, Callable[[Path], object]] = {
    "a file cut in half": _cut,
    "a flipped bit": _flip,
    "a file gone": lambda folder: _largest(folder).unlink(),
    "a manifest that is garbage": lambda folder: (folder / "manifest.json").write_bytes(b"\x00\xff{"),
    "a manifest of another shape": lambda folder: (folder / "manifest.json").write_text(
        json.dumps({"files": [1]})
    ),
    "an empty folder": _emptied,
    "a file where the folder should be": _in_the_way,
}


def damaged(bench: Bench, sweep: Sweep) -> list[Row]:
    """Every harm to finished outputs of changing stages: moved aside with a word, made again, the undisturbed result."""
    problems = []
    stages = [stage for stage in STAGES if (bench.undisturbed(sweep)[0] / "store" / stage).is_dir()]
    for number, (harm, do) in enumerate(HARMS.items()):
        root = bench.copy(sweep)
        hurt = []
        for stage in {stages[number % len(stages)], stages[(number + 4) % len(stages)]}:
            folder = next(path for path in sorted((root / "store" / stage).iterdir()) if path.name.isalnum())
            do(folder)
            hurt.append(folder)
        ended = sweep.run(root)
        if ended.status or ended.said.count("it will be made again") != len(hurt):
            problems.append(f"{harm} in {hurt}: exit status {ended.status}: {ended.said[-600:]}")
        if difference := trace(root).difference(bench.undisturbed(sweep)[1]):
            problems.append(f"{harm} in {hurt}: {difference}")
        aside = list(root.rglob("*.damaged-1"))
        if len(aside) != len(hurt) or set(remains(root)) != {str(path.relative_to(root)) for path in aside}:
            problems.append(f"{harm}: moved aside: {aside}")
        shutil.rmtree(root.parent)
    shown = f"{', '.join(HARMS)}: moved aside with a word, made again"
    return [Row("damaged output in the store", 2 * len(HARMS), shown, tuple(problems))]


def damaged_replies(bench: Bench, sweep: Sweep) -> list[Row]:
    """Garbage in the reply cache, the judge's table gone: only the replies that cannot be read are bought again."""
    root = bench.copy(sweep)
    shutil.rmtree(root / "store" / "score")
    (path,) = (root / "llm_cache").glob("*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    for place, garbage in enumerate(
        (b"\n", b"\x00" * 40 + b"\n", b'{"key": 7}\n', lines[3][: len(lines[3]) // 2] + b"\n", b"[]\n")
    ):
        lines[place * 5] = garbage
    lines[-1] = lines[-1][:-9]
    path.write_bytes(b"".join(lines))
    before = bench.bought()
    ended = sweep.run(root)
    again = bench.bought() - before
    problems = (
        []
        if again == 6 and ended.status == 0
        else [f"{again} replies bought again, exit status {ended.status}: {ended.error}"]
    )
    if difference := trace(root).difference(bench.undisturbed(sweep)[1]):
        problems.append(difference)
    return [Row("damaged lines in the reply cache", 6, f"{again} replies bought again", tuple(problems))]


def clocks(bench: Bench, sweep: Sweep) -> list[Row]:
    """Times of files in 1970 and in the next century; locks and words of processes that are dead or of other hosts."""
    problems = []
    for when, stamp in (("1970", 0.0), ("2100", 4_102_444_800.0)):
        root = bench.copy(sweep)
        shutil.rmtree(root / "store" / "train")
        run = next((root / "runs").glob("*/*"))
        (run / "run_lock.json").write_text(
            json.dumps({"host": "elsewhere", "pid": 1, "started": stamp, "stage": "train"})
        )
        (root / "store" / "train").mkdir()
        made = entries(root)
        key = json.loads((run / "result.json").read_text())["stages"]["train"]["key"]
        for lock in (root / "store" / "train" / f"{key}.lock", run / "run_lock.lock"):
            lock.write_text(
                "12345\nelsewhere\n"
            )  # as another kind of lock, or another host, may have left it
        for path in [root, *root.rglob("*")]:
            os.utime(path, (stamp, stamp))
        started = time.monotonic()
        ended = sweep.run(root)
        if ended.status or "waiting" in ended.said:
            problems.append(
                f"{when}: exit status {ended.status} after {time.monotonic() - started:.0f} s: {ended.error}"
            )
        if difference := trace(root).difference(bench.undisturbed(sweep)[1]):
            problems.append(f"{when}: {difference}")
        if len(entries(root)) != len(made) + 1 or remains(root):
            problems.append(f"{when}: {set(entries(root)) ^ set(made)}, left behind: {remains(root)}")
        shutil.rmtree(root.parent)
    return [
        Row(
            "clock skew, locks of the dead and of other hosts",
            2,
            "no clock is asked, nobody waits",
            tuple(problems),
        )
    ]


NO_FLOCK = """
import fcntl, errno, os, runpy, sys
code = getattr(errno, sys.argv.pop(1))
def flock(*_):
    raise OSError(code, os.strerror(code))
fcntl.flock = flock
runpy.run_module("gip_exp", run_name="__main__", alter_sys=True)
"""


def no_locks(bench: Bench, sweep: Sweep) -> list[Row]:
    """A file system without flock: refused before anything is computed."""
    problems = []
    for code in ("ENOSYS", "ENOLCK", "EOPNOTSUPP"):
        root = bench.root()
        command = [sys.executable, "-c", NO_FLOCK, code, *sweep.arguments, f"paths.root={root}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        ended = Ended(done.returncode, done.stdout + done.stderr, 0.0)
        problems += _says(ended, code, "has no file locks (flock)", "choose another folder for paths.root")
    return [Row("a file system without locks", 3, "refused with a message, exit status 2", tuple(problems))]
