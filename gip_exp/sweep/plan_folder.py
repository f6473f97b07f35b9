"""A plan on disk: one resolved config per run, and which run folder each of them has.

`DIR/plan.json` (written last: without it there is no plan), `DIR/runs/NNN.yaml`; once jobs run, `DIR/states/` holds
who is at work on a run or how its last process ended, `DIR/logs/` what the jobs printed, `DIR/jobs.txt` their ids.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gip_exp.errors import UserError
from gip_exp.storage.files import write_json, write_text

PLAN, RUNS, STATES, LOGS, JOBS = "plan.json", "runs", "states", "logs", "jobs.txt"
FIELDS = ("number", "label", "folder", "ends", "selects_on")


@dataclass(frozen=True)
class PlannedRun:
    """A run: its number in the plan, its run folder, the status it ends with, and the nodes its selection needs."""

    number: int
    label: str  # selector, budget, seed and model, for people
    folder: str  # the run folder, absolute
    ends: str  # done, or stopped:<stage> where the config itself stops there
    selects_on: str  # cpu, or gpu where the selection needs the model

    @property
    def name(self) -> str:
        return f"{self.number:03d}"


def write(folder: Path, command: Sequence[str], runs: Sequence[PlannedRun], configs: Sequence[str]) -> bool:
    """Write the plan; False if exactly this one is there already. Raises UserError rather than change another."""
    content = {"command": list(command), "runs": [asdict(run) for run in runs]}
    if (folder / PLAN).is_file():
        if _same(folder, runs, configs):
            return False
        raise UserError(
            f"--write {folder} holds another plan, and jobs may be running from it: choose a new folder, or delete "
            "that one"
        )
    try:
        for part in (RUNS, STATES, LOGS):
            (folder / part).mkdir(parents=True, exist_ok=True)
        for run, config in zip(runs, configs, strict=True):
            write_text(folder / RUNS / f"{run.name}.yaml", config)
        write_json(folder / PLAN, content)
    except OSError as error:
        raise UserError(
            f"--write {folder} cannot be written ({error.strerror or error}): choose another folder"
        ) from error
    return True


def _same(folder: Path, runs: Sequence[PlannedRun], configs: Sequence[str]) -> bool:
    texts = [_text(folder / RUNS / f"{run.name}.yaml") for run in runs]
    return list(runs) == read(folder) and texts == list(configs)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def is_plan(folder: Path) -> bool:
    return (folder / PLAN).is_file()


def read(folder: Path) -> list[PlannedRun]:
    """The runs of a plan. Raises UserError when `plan.json` is damaged."""
    path = folder / PLAN
    try:
        return [
            PlannedRun(**{name: row[name] for name in FIELDS})
            for row in json.loads(path.read_text("utf-8"))["runs"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is damaged or not a plan ({error!r}): write it again with python -m gip_exp.plan ... --write DIR"
        ) from error


def folder_of(run: Path) -> Path | None:
    """The plan that a run's file stands in, if it does."""
    above = run.resolve().parent.parent
    return above if run.parent.name == RUNS and is_plan(above) else None


def read_config(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """A resolved config with `key=value` overrides of keys that it has. Raises UserError for anything else."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    try:
        config = OmegaConf.load(path)
    except (OSError, YAMLError, UnicodeDecodeError) as error:
        raise UserError(
            f"--planned {path} cannot be read ({error}): give a resolved config (YAML)"
        ) from error
    if not OmegaConf.is_dict(config):
        raise UserError(f"--planned {path} holds no config: give a file that gip_exp.plan wrote")
    OmegaConf.set_struct(config, True)
    try:
        config = OmegaConf.merge(config, OmegaConf.from_dotlist(list(overrides)))
    except OmegaConfBaseException as error:
        from gip_exp.config.keys import unknown_key

        key = getattr(error, "full_key", None)
        why = unknown_key(key) if key and "not in struct" in str(error) else str(error).splitlines()[0]
        raise UserError(f"{' '.join(overrides)}: {why}") from error
    values = OmegaConf.to_container(config)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def jobs(folder: Path) -> list[str]:
    """Ids of the job arrays that were submitted for the plan (`slurm/submit.sh` notes them), newest last."""
    path = folder / JOBS
    return path.read_text(encoding="utf-8").split() if path.is_file() else []
