"""`python -m gip_exp.status DIR [--watch]`: the state of all runs of a plan, or of all runs below a folder."""

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
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
    progress.WAITING: "yellow",
}
EVERY = 5.0  # seconds between two refreshes; each queries SLURM's controller
WIDE = 200  # columns of the output without a terminal
SHOWN = 5  # offline W&B runs listed by name
ENDED = {
    progress.DONE,
    progress.FAILED,
    progress.KILLED,
    progress.STOPPED,
    progress.WAITING,
    progress.SELECTED,
    progress.MISSING,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the states; return the exit code: 2, with a message on stderr, for an error the user can fix."""
    options = _parser().parse_args(arguments)
    try:
        if options.json:
            print(json.dumps([asdict(state) for state in look(options.folder)], indent=1))
        elif options.watch:
            _watch(options.folder)
        else:
            console().print(table(look(options.folder)))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gip-exp status",
        description="Show the state of all runs of a plan (gip-exp plan --write DIR), or of all runs below a folder.",
    )
    parser.add_argument(
        "folder", metavar="DIR", type=Path, help="folder of a plan, or a folder above runs, e.g. outputs"
    )
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--watch", action="store_true", help="refresh until no run is queued or running")
    output.add_argument("--json", action="store_true", help="print the states as JSON")
    return parser


def look(folder: Path) -> list[State]:
    """Return the states of all runs of a plan, or of all runs below a folder."""
    return progress.of_plan(folder) if plan_folder.is_plan(folder) else progress.of_runs(folder)


def console() -> Console:
    """Return the console of the listing: as wide as the terminal or COLUMNS, else wide enough for most reasons."""
    return Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDE, highlight=False)


def table(states: Sequence[State]) -> Group:
    """Format the states as a list, with the count of each state and the offline W&B runs."""
    counted = Counter(state.state for state in states)
    parts = ", ".join(f"{counted[name]} {name}" for name in progress.ORDER if counted[name])
    counts = f"{len(states)} runs: {parts}  ({_clock(time.time())})"
    return Group(_Listing(states), Text(counts, style="bold"), *_offline(states))


class _Listing:
    """The runs, one a line: name and state; below it why, then stage, time and place, if there is something to say.

    A reason is cut at the width of the terminal; `--json` has all of it.
    """

    def __init__(self, states: Sequence[State]) -> None:
        self.states = states

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        width, cut = options.max_width, False
        names = [printable(f"{state.name} {state.label}".strip()) for state in self.states]
        states = max((len(state.state) for state in self.states), default=0)
        room = min(max(map(cell_len, names), default=0), width - states - 2)
        for name, state in zip(names, self.states, strict=True):
            fits = cell_len(name) <= room
            if not fits:
                yield Text(name, overflow="fold")
            yield Text.assemble(set_cell_size(name if fits else "", room), "  ", (state.state, _color(state)))
            for detail, style in ((" ".join(printable(state.reason).split()), ""), (_details(state), "dim")):
                if detail:
                    yield Text(f"    {detail}", style=style, no_wrap=True, overflow="ellipsis")
                    cut = cut or 4 + cell_len(detail) > width
        if cut:
            yield Text("--json shows what is cut", style="dim")


def _color(state: State) -> str:
    return COLORS.get(state.state, "")


def _details(state: State) -> str:
    """Return stage, time and place, as far as they are known."""
    return " · ".join(
        part for part in (printable(state.stage), _since(state), printable(state.where)) if part
    )


def _since(state: State) -> str:
    """Return the start of a running process and how long ago that was, or the end of the last one."""
    if state.since is None:
        return ""
    ago = f", {_duration(time.time() - state.since)}" if state.state == progress.RUNNING else ""
    return f"{_clock(state.since)}{ago}"


def _clock(seconds: float) -> str:
    """Format a time in the reader's zone: `Nov 26 19:05:01 CET`."""
    return datetime.fromtimestamp(seconds).astimezone().strftime("%b %d %H:%M:%S %Z")


def _offline(states: Sequence[State]) -> list[Text]:
    unsynced = progress.offline_wandb(state.folder for state in states)
    if not unsynced:
        return []
    lines = [f"  wandb sync {run}" for run in unsynced[:SHOWN]]
    if len(unsynced) > SHOWN:
        above = sorted({run.parent.parent.parent for run in unsynced})
        lines += [f"  and {len(unsynced) - SHOWN} more; upload all with"]
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


if __name__ == "__main__":
    from gip_exp.stdout import run_and_exit

    run_and_exit(main)
