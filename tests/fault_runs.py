"""What the fault campaign drives and compares: sweeps of the shrunken quickstart as people run them, and their traces.

A sweep is a command line; every run of it is a process of its own in a process group of its own. What a sweep left in
its root is reduced to a `Trace`, which two roots share exactly when they hold the same results.
"""

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from conftest import MICRO, ROOT

KILL_AT = ROOT / "tests" / "kill_at.py"
STAGES = ("data", "base", "score", "embed", "warmup", "gradients", "rank", "select", "train", "evaluate")
TIMED = (
    "seconds",
    "tokens",
    "tokens_per_second",
    "peak_memory_bytes",
    "peak_gpu_bytes",
)  # differ from run to run
CONCURRENCY = 4  # of the judge: calls in flight that a kill may lose
SMALL = [*MICRO, "data.n=120", "data.n_test=8", "embedder=hidden_state", "train.checkpoint_steps=1"]


@dataclass(frozen=True)
class Sweep:
    """A command line without its root, and the environment it runs in."""

    arguments: tuple[str, ...]
    variables: Mapping[str, str] = field(default_factory=dict)

    def command(self, root: Path, *, kill_at: str | None = None) -> list[str]:
        start = ["-m", "gip_exp"] if kill_at is None else [str(KILL_AT), str(root), kill_at, "gip_exp"]
        return [sys.executable, *start, *self.arguments, f"paths.root={root}"]

    def start(self, root: Path, *, kill_at: str | None = None) -> "Process":
        return Process(self.command(root, kill_at=kill_at), self.variables)

    def run(self, root: Path, *, kill_at: str | None = None, timeout_s: float = 600) -> "Ended":
        with self.start(root, kill_at=kill_at) as process:
            return process.wait(timeout_s)


def judged(url: str, *more: str, selectors: str = "mp_ma", multirun: bool = True) -> Sweep:
    """A sweep over `selectors` whose scores come from a judge at `url`."""
    judge = ["judge=openai", "judge.model=judge", f"judge.base_url={url}", f"judge.concurrency={CONCURRENCY}"]
    return Sweep((*(["-m"] if multirun else []), *SMALL, *judge, f"selector={selectors}", *more))


def single(*more: str, **variables: str) -> Sweep:
    """One run, judged by rules: no server."""
    return Sweep((*SMALL, *more), variables)


@dataclass(frozen=True)
class Ended:
    """How a process ended: exit status (negative: by that signal), everything it said, and how long it took."""

    status: int
    said: str
    seconds: float

    @property
    def error(self) -> str:
        """The last error message, or the last line of a traceback."""
        lines = [line for line in self.said.splitlines() if line.strip()]
        told = [line for line in lines if line.startswith("error: ")]
        return (told or lines or [""])[-1]

    @property
    def clean(self) -> bool:
        """Ended as an error that a user can mend does: status 2, a message, no traceback."""
        return self.status == 2 and "error: " in self.said and "Traceback" not in self.said


class Process:
    """A run at work. Its lines can be waited for; leaving the `with` block ends its whole process group."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str]) -> None:
        kept = {
            name: text
            for name, text in os.environ.items()
            if not name.startswith(("WANDB", "OPENAI", "HF_E"))
        }
        self.started = time.monotonic()
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**kept, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), **variables},
            text=True,
            start_new_session=True,
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._said: list[str] = []
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._process.wait()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.append(line)
            self._lines.put(line)
        self._lines.put(None)

    def until(self, pattern: str) -> bool:
        """Wait for a line that matches; False when the process ended without one."""
        while (line := self._lines.get(timeout=300)) is not None:
            if re.search(pattern, line):
                return True
        return False

    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self, sign: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the process and its children."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, sign)

    def wait(self, timeout_s: float = 600) -> Ended:
        """Its end; a process that outlives `timeout_s` is killed."""
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            status = self._process.wait()
        seconds = time.monotonic() - self.started
        while self._lines.get(timeout=30) is not None:
            pass
        return Ended(status, "".join(self._said), seconds)


@dataclass(frozen=True)
class Trace:
    """What a root holds, without times and paths: results by run, and the bytes of selections and predictions."""

    results: Mapping[str, object]
    files: Mapping[str, bytes]

    def difference(self, other: "Trace") -> str:
        """The first thing in which two roots differ, or ''."""
        for kind in ("results", "files"):
            mine, theirs = getattr(self, kind), getattr(other, kind)
            for name in sorted({*mine, *theirs}):
                if mine.get(name) != theirs.get(name):
                    return f"{name} differs: {str(mine.get(name))[:300]} / {str(theirs.get(name))[:300]}"
        return ""


def trace(root: Path) -> Trace:
    """What the runs below `root` came to."""
    runs = sorted((root / "runs").glob("*/*"))
    results = {run.name: _result(run / "result.json") for run in runs}
    files = {
        str(path.relative_to(root)): path.read_bytes()
        for run in runs
        for path in [run / "selected.jsonl", *sorted(run.glob("predictions/**/*.jsonl"))]
        if path.is_file()
    }
    return Trace(results, files)


def _result(path: Path) -> object:
    if not path.is_file():
        return None
    kept = json.loads(path.read_text(encoding="utf-8"))
    kept["training"] = {name: value for name, value in kept["training"].items() if name not in TIMED}
    stages = kept.pop("stages")
    kept["keys"] = {name: stage["key"] for name, stage in stages.items()}
    return kept


def remains(root: Path) -> list[str]:
    """What a finished root must not hold: partial and damaged outputs, temporary files, words of killed processes."""
    unwanted = (r"\.partial$", r"\.damaged-\d+$", r"\.tmp$", r"run_lock\.json$", r"^\.scores")
    return [
        str(path.relative_to(root))
        for path in sorted(root.rglob("*"))
        if any(re.search(pattern, path.name) for pattern in unwanted)
    ]


def entries(root: Path) -> dict[str, tuple[int, int]]:
    """Every finished stage output with the inode and change time of its manifest: the same as long as it is not remade."""
    found = {}
    for path in root.glob("store/*/*/manifest.json"):
        if re.fullmatch(r"[0-9a-f]{16}", path.parent.name):
            facts = path.stat()
            found[f"{path.parent.parent.name}/{path.parent.name}"] = (facts.st_ino, facts.st_mtime_ns)
    return found


def shards(root: Path) -> dict[str, tuple[int, int]]:
    """Finished shards and sealed checkpoints in outputs that are not finished."""
    found = {}
    for pattern in (
        "embed/*.partial/shards/*.npy",
        "gradients/*.partial/*/*/shard_*.npy",
        "*/*.partial/*/*/complete",
    ):
        for path in root.glob(f"store/{pattern}"):
            facts = path.stat()
            found[str(path.relative_to(root))] = (facts.st_ino, facts.st_mtime_ns)
    return found


def durations(root: Path) -> dict[str, float]:
    """Seconds that a stage took there, the median over its outputs."""
    seconds: dict[str, list[float]] = {}
    for path in root.glob("store/*/*/manifest.json"):
        seconds.setdefault(path.parent.parent.name, []).append(json.loads(path.read_text())["seconds"])
    return {stage: median(values) for stage, values in seconds.items()}


@contextmanager
def tmpfs(folder: Path, size: str) -> Iterator[Callable[[str], None]]:
    """A small disk at `folder`; the function given changes its mount options (`size=64m`, `ro`). Needs root."""
    folder.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "gip-faults", folder], check=True)
    try:
        yield (
            lambda options: subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True) and None
        )
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def may_mount() -> bool:
    """Whether this process may mount a file system."""
    return subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0
