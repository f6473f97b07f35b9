"""`python -m gip_exp.status DIR [--watch]`: done, running, failed and missing runs of a plan, or of the runs below DIR."""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gip_exp.errors import UserError, printable
from gip_exp.sweep import plan_folder
from gip_exp.sweep import state as progress
from gip_exp.sweep.state import State

COLORS = {
    progress.DONE: "green",
    progress.RUNNING: "cyan",
    progress.FAILED: "red",
    progress.KILLED: "red",
    progress.STOPPED: "yellow",
}
EVERY = 5.0  # seconds between two looks; SLURM's controller is asked each time
WIDE = 200  # columns where there is no terminal to ask
SHOWN = 5  # offline W&B runs named before they are only counted
ENDED = {
    progress.DONE,
    progress.FAILED,
    progress.KILLED,
    progress.STOPPED,
    progress.SELECTED,
    progress.MISSING,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Show; 0, or 2 with a message on stderr for what a user can mend."""
    options = _parser().parse_args(arguments)
    try:
        if options.todo:
            print(_array(progress.to_submit(options.folder)[options.todo]))
        elif options.json:
            print(json.dumps([asdict(state) for state in look(options.folder)], indent=1))
        elif options.watch:
            _watch(options.folder)
        else:
            Console(width=None if sys.stdout.isatty() else WIDE).print(table(look(options.folder)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gip-exp status",
        description="The runs of a plan (gip_exp.plan --write DIR), or the runs below a folder, and how far they are.",
    )
    parser.add_argument(
        "folder", metavar="DIR", type=Path, help="a plan's folder, or one above runs, e.g. outputs"
    )
    shape = parser.add_mutually_exclusive_group()
    shape.add_argument("--watch", action="store_true", help="look again every few seconds until nothing runs")
    shape.add_argument("--json", action="store_true", help="for scripts: a list of the runs")
    shape.add_argument(
        "--todo",
        choices=("cpu", "gpu", "train"),
        help="for slurm/submit.sh: runs that nobody works on and whose selection is to be made on CPU or GPU nodes, or "
        "is there, as sbatch's --array takes them",
    )
    return parser


def look(folder: Path) -> list[State]:
    """The states of all runs of a plan, or of all runs below a folder."""
    return progress.of_plan(folder) if plan_folder.is_plan(folder) else progress.of_runs(folder)


def table(states: Sequence[State]) -> Group:
    """The table, the count of every state, and what W&B still lacks."""
    shown = Table("run", "what", "state", "stage", "for", "where", "why", box=None, pad_edge=False)
    for state in states:
        since = _duration(time.time() - state.since) if state.since else ""
        color = COLORS.get(state.state, "")
        shown.add_row(
            _text(state.name),
            _text(state.label),
            Text(state.state, style=color),
            _text(state.stage),
            since,
            _text(state.where),
            _text(state.reason),
        )
    counted = Counter(state.state for state in states)
    parts = ", ".join(f"{counted[name]} {name}" for name in progress.ORDER if counted[name])
    return Group(shown, Text(f"{len(states)} runs: {parts}", style="bold"), *_offline(states))


def _text(words: str) -> Text:
    """Words out of people's files: neither markup nor control characters."""
    return Text(printable(words))


def _offline(states: Sequence[State]) -> list[Text]:
    unsynced = progress.offline_wandb(state.folder for state in states)
    if not unsynced:
        return []
    lines = [f"  wandb sync {run}" for run in unsynced[:SHOWN]]
    if len(unsynced) > SHOWN:
        above = sorted({run.parent.parent.parent for run in unsynced})
        lines += [f"  and {len(unsynced) - SHOWN} more; all of them: "]
        lines += [f"  wandb sync {folder}/*/wandb/offline-run-*" for folder in above]
    return [Text(f"{len(unsynced)} offline W&B runs are not uploaded:", style="yellow"), *map(Text, lines)]


def _watch(folder: Path) -> None:
    with Live(console=Console(), auto_refresh=False) as live:
        while True:
            states = look(folder)
            live.update(table(states), refresh=True)
            if all(state.state in ENDED for state in states):
                return
            time.sleep(EVERY)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def _array(numbers: Sequence[int]) -> str:
    """`0-3,7`; an empty line for no run."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in parts)


if __name__ == "__main__":
    from gip_exp.stdout import leave

    leave(main)
