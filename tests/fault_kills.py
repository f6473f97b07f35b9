"""SIGKILL, everywhere: at random moments of every stage, at every touch of a file, and with files torn as by a power cut."""

import random
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fault_runs import CONCURRENCY, STAGES, Sweep, Trace, durations, entries, remains, shards, trace
from fault_server import FaultServer

JUDGING = 1.3  # seconds from the first request to the last: 120 rows, 0.05 s each, 4 at a time


@dataclass
class Bench:
    """Where the campaign works: scratch space, chance, the judge's server and what an undisturbed sweep came to."""

    scratch: Path
    chance: random.Random
    server: FaultServer
    kills: int
    places: int  # 0: all
    say: object = print
    _number: int = 0
    _undisturbed: dict[tuple[str, ...], tuple[Path, Trace, int]] = field(default_factory=dict)

    def root(self) -> Path:
        """A fresh folder for a root (not made)."""
        self._number += 1
        return self.scratch / f"{self._number:03d}" / "root"

    def undisturbed(self, sweep: Sweep) -> tuple[Path, Trace, int]:
        """(root, trace, replies bought) of the sweep left alone; run once."""
        if sweep.arguments not in self._undisturbed:
            root, before = self.root(), self.bought()
            root.parent.mkdir(parents=True)
            ended = sweep.run(root)
            assert ended.status == 0, ended.said
            self._undisturbed[sweep.arguments] = (root, trace(root), self.bought() - before)
        return self._undisturbed[sweep.arguments]

    def copy(self, sweep: Sweep) -> Path:
        """A root in which the sweep is done."""
        root = self.root()
        shutil.copytree(self.undisturbed(sweep)[0], root)
        return root

    def bought(self) -> int:
        """Replies that the judge's server has given so far."""
        return sum(self.server.account()["valid"].values())


@dataclass(frozen=True)
class Row:
    """A line of the campaign's table."""

    fault: str
    tries: int
    shown: str
    problems: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems


@dataclass
class Watch:
    """One root under kills: finished outputs and shards stay as they are, and what is bought twice was in flight."""

    bench: Bench
    sweep: Sweep
    root: Path
    problems: list[str] = field(default_factory=list)
    kills: Counter[str] = field(default_factory=Counter)
    finished: dict[str, tuple[int, int]] = field(default_factory=dict)
    started: dict[str, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bench.undisturbed(self.sweep)  # before the count of replies starts
        self.root.parent.mkdir(parents=True, exist_ok=True)
        self._before = self.bench.bought()

    def look(self) -> None:
        """After a kill: nothing that was finished before it was made again."""
        now = entries(self.root)
        for name, facts in self.finished.items():
            if now.get(name) != facts:
                self.problems.append(f"{name} was finished and was made again")
        parts = shards(self.root)
        for name, facts in self.started.items():
            output = name.removeprefix("store/").split(".partial", maxsplit=1)[0]
            if output not in now and name in parts and parts[name] != facts:
                self.problems.append(f"{name} was finished and was made again")
        self.finished, self.started = now, parts

    def finish(self) -> None:
        """The same command once more, to its end: the undisturbed result, nothing left over, nothing bought twice."""
        _, expected, price = self.bench.undisturbed(self.sweep)
        ended = self.sweep.run(self.root)
        if ended.status != 0:
            self.problems.append(f"the last run ended with {ended.status}: {ended.error}")
        self.look()
        if difference := trace(self.root).difference(expected):
            self.problems.append(difference)
        if left := remains(self.root):
            self.problems.append(f"left behind: {', '.join(left[:3])} ({len(left)})")
        if not 0 <= self.paid() - price <= CONCURRENCY * self.kills["score"]:
            self.problems.append(
                f"{self.paid()} replies bought instead of {price}, {self.kills['score']} kills while judging"
            )

    def paid(self) -> int:
        """Replies that this root has cost."""
        return self.bench.bought() - self._before


def random_moments(bench: Bench, sweep: Sweep, stages: Sequence[str] = STAGES) -> list[Row]:
    """`bench.kills` kills, spread over the stages, each at a random moment of one; a root is used until it is done."""
    seconds = durations(bench.undisturbed(sweep)[0])
    price = bench.undisturbed(sweep)[2]
    problems: list[str] = []
    kills: Counter[str] = Counter()
    roots = bought = outputs = 0
    # A moment near a stage's end may come when the next one is at work: go on until each stage was hit.
    while (
        not (kills.total() >= bench.kills and all(kills[stage] for stage in stages)) and roots < bench.kills
    ):
        watch = Watch(bench, sweep, bench.root())
        roots += 1
        for stage in _turns(bench, stages, kills):
            longest = JUDGING if stage == "score" else seconds[stage]
            if not _kill_within(watch, stage, bench.chance.uniform(0, longest)):
                break  # the sweep went to its end
        watch.finish()
        kills += watch.kills
        bought += watch.paid() - price
        outputs += len(watch.finished)
        problems += watch.problems
        shutil.rmtree(watch.root.parent)
    if missed := [stage for stage in stages if not kills[stage]]:
        problems.append(f"never killed in {', '.join(missed)}")
    shown = (
        f"{roots} sweeps, kills by stage {', '.join(f'{s} {kills[s]}' for s in stages)}; {outputs} outputs, each made once; "
        f"{bought} replies bought twice (in flight: up to {CONCURRENCY * kills['score']})"
    )
    what = "a stage" if len(stages) > 1 else f"stage {stages[0]}"
    return [Row(f"SIGKILL at a random moment of {what}", kills.total(), shown, tuple(problems))]


def _turns(bench: Bench, stages: Sequence[str], kills: Counter[str]) -> Iterator[str]:
    """Which stage is next in a root: in the pipeline's order, up to three kills each, those behind with kills only."""
    share = -(-bench.kills // len(stages))
    for stage in stages:
        for _ in range(min(3, share - kills[stage])):
            yield stage


def _kill_within(watch: Watch, stage: str, delay: float) -> bool:
    """Run until `stage` is at work and `delay` longer, then kill. False when the stage never came."""
    with watch.sweep.start(watch.root) as process:
        asked = watch.bench.bought()
        if not process.until(rf"^  {stage}\S* \.\.\."):
            return False
        while stage == "score" and watch.bench.bought() == asked and process.alive():
            time.sleep(
                0.01
            )  # most of a short judging is spent on imports: the moments that cost money come after
        time.sleep(delay)
        process.kill()
        ended = process.wait()
    if ended.status == -9:
        at_work = re.findall(r"(?m)^  (\w+)\S* \.\.\.$", ended.said)
        watch.kills[at_work[-1]] += 1  # it may have gone on to the next one
    watch.look()
    return True


def places_of(bench: Bench, sweep: Sweep) -> list[str]:
    """Every touch of a file in an undisturbed run, in order of the first time."""
    root = bench.root()
    root.parent.mkdir(parents=True)
    ended = sweep.run(root, kill_at="list")
    assert ended.status == 0, ended.said
    return (root.parent / "places").read_text(encoding="utf-8").splitlines()


def every_write(bench: Bench, sweep: Sweep) -> list[Row]:
    """A kill at every touch of a file, in the order in which a run comes by; one root goes through all of them."""
    places = places_of(bench, sweep)
    if bench.places:
        kept = sorted(bench.chance.sample(range(len(places)), min(bench.places, len(places))))
        places = [places[i] for i in kept]
    watch = Watch(bench, sweep, bench.root())
    killed = 0
    for place in places:
        ended = sweep.run(watch.root, kill_at=place)
        if ended.status not in (0, -9):
            watch.problems.append(f"{place}: ended with {ended.status}: {ended.error}")
        killed += ended.status == -9
        if ended.status == -9:
            watch.kills["score" if "llm_cache" in place or "/score/" in place else "other"] += 1
        watch.look()
        if ended.status == 0:  # passed by for good: what follows needs a fresh root
            watch.finish()
            fresh = Watch(bench, sweep, bench.root())
            fresh.problems = watch.problems
            watch = fresh
    watch.finish()
    shown = (
        f"{len(places)} places (open, write, fsync, rename, remove, mkdir below paths.root), {killed} reached"
    )
    return [Row("SIGKILL at a touch of a file", killed, shown, tuple(watch.problems))]


def power_cut(bench: Bench, sweep: Sweep, stages: Sequence[str] = STAGES) -> list[Row]:
    """Killed in a stage, then the files of unfinished outputs and the last replies are torn as a lost page cache leaves them."""
    problems: list[str] = []
    torn = tries = 0
    for stage in stages:
        watch = Watch(bench, sweep, bench.root())
        seconds = durations(bench.undisturbed(sweep)[0])[stage]
        if _kill_within(watch, stage, 0.8 * seconds):
            tries += 1
            torn += _tear(watch.root, bench.chance)
        watch.started = {}
        ended = sweep.run(watch.root)
        if ended.status != 0:
            problems.append(f"{stage}: the next run ended with {ended.status}: {ended.error}")
        if difference := trace(watch.root).difference(bench.undisturbed(sweep)[1]):
            problems.append(f"{stage}: {difference}")
        if left := remains(watch.root):
            problems.append(f"{stage}: left behind: {', '.join(left[:3])} ({len(left)})")
        shutil.rmtree(watch.root.parent)
    return [
        Row(
            "power cut: torn files in what was unfinished",
            tries,
            f"{torn} files cut or emptied",
            tuple(problems),
        )
    ]


def _tear(root: Path, chance: random.Random) -> int:
    """Cut every second file of unfinished outputs somewhere (or empty it), and the reply cache in its last line."""
    torn = 0
    for path in sorted(root.glob("store/*/*.partial/**/*")):
        size = path.stat().st_size
        if path.is_file() and size and chance.random() < 0.5:
            with path.open("r+b") as stream:
                stream.truncate(chance.choice((0, chance.randrange(size))))
            torn += 1
    for path in root.glob("llm_cache/*.jsonl"):
        with path.open("r+b") as stream:
            stream.truncate(max(0, path.stat().st_size - chance.randrange(1, 200)))
        torn += 1
    return torn
