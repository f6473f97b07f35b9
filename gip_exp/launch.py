"""`gip-exp -m ... hydra/launcher=slurm`: plan a sweep, submit it to SLURM, wait for its end and show the states.

The plan lies in `paths.root`/sweeps under a name that depends on the arguments only, so that the same command again
follows the jobs that are queued already, or submits what is missing. It is removed when all runs are done, and when
nothing could be submitted.
"""

import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from gip_exp import plan, status
from gip_exp.cli import submit
from gip_exp.errors import UserError
from gip_exp.storage.files import digest
from gip_exp.sweep import expand, job_arrays, plan_folder
from gip_exp.sweep import state as states
from gip_exp.sweep.state import State

FOLDER = "sweeps"  # below paths.root
INTERRUPTED = 130  # exit code after Ctrl-C


def main(overrides: Sequence[str], config_dir: str | None) -> int:
    """Run a sweep on SLURM; return the exit code: 0 if every run is done.

    Raises:
        UserError: the sweep is invalid, or SLURM does not answer.
    """
    first = next(iter(expand.compose(expand.expand(overrides, config_dir)[:1], config_dir)))
    root = Path(first["paths"]["root"]).expanduser().absolute()
    folder = root / FOLDER / digest([str(Path.cwd()), sorted(overrides), config_dir])
    if not _follows(folder):
        shutil.rmtree(folder, ignore_errors=True)
        asked = [*overrides, "--write", str(folder), *(["--config-dir", config_dir] if config_dir else [])]
        if code := plan.main(asked):
            return code
    try:
        refused = _submit_all(folder)
    except KeyboardInterrupt:
        print(
            f"\nthe jobs go on: repeat the command to follow them, or gip-exp status {folder}",
            file=sys.stderr,
        )
        return INTERRUPTED
    return _conclude(folder, refused)


def _submit_all(folder: Path) -> int:
    """Submit the plan and wait, again while runs that did not fit into the limit on queued jobs become fewer.

    Returns:
        The exit code of the last submission.
    """
    left: list[str] | None = None
    while True:
        refused = submit.main([str(folder)])
        if refused == INTERRUPTED:
            raise KeyboardInterrupt
        _wait(folder)
        before, left = left, [one.name for one in states.of_plan(folder) if one.state == states.MISSING]
        if refused or not left or left == before:
            return refused


def _follows(folder: Path) -> bool:
    """Return whether jobs of this sweep are queued or running. Raises UserError if SLURM does not say."""
    if not plan_folder.is_plan(folder):
        return False
    survey = states.survey(folder)
    if survey.silent:
        raise UserError(
            f"SLURM does not say whether this sweep ({folder}) is queued already: {survey.silent}"
        )
    return any(one.state not in status.ENDED for one in survey.states)


def _wait(folder: Path) -> None:
    """Wait until no run is queued or running; print the counts whenever they change."""
    shown = ""
    while True:
        now = states.of_plan(folder)
        if all(one.state in status.ENDED for one in now):
            return
        counts = _counts(now)
        if counts != shown:
            print(f"{time.strftime('%H:%M:%S %Z')}  {counts}", file=sys.stderr)
        shown = counts
        time.sleep(status.EVERY)


def _counts(now: Sequence[State]) -> str:
    counted = Counter(one.state for one in now)
    return ", ".join(f"{counted[name]} {name}" for name in states.ORDER if counted[name])


def _conclude(folder: Path, refused: int) -> int:
    ended = states.of_plan(folder)
    done = all(one.state == states.DONE for one in ended)
    if refused and not done and not job_arrays.read(folder):
        shutil.rmtree(folder)  # nothing was submitted: the refusals are on the screen
        _remove_if_empty(folder.parent)
        return 2
    status.console().print(status.table(ended))
    if done:
        shutil.rmtree(folder)
        _remove_if_empty(folder.parent)
        return refused
    print(f"error: not every run is done; logs: {folder / plan_folder.LOGS}", file=sys.stderr)
    return 2


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()
