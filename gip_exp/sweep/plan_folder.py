"""A plan on disk: one resolved config per run, and the run folder of each.

`DIR/plan.json` (written last: without it there is no plan) and `DIR/runs/NNN.yaml`. Once jobs run, `DIR/states/` holds
which process works on a run or how the last one ended, `DIR/logs/` the output of the jobs, `DIR/jobs.jsonl` the arrays.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gip_exp.config import STAGES
from gip_exp.errors import UserError
from gip_exp.storage.files import write_json, write_text

PLAN, RUNS, STATES, LOGS = "plan.json", "runs", "states", "logs"
FIELDS = ("number", "label", "folder", "ends", "selects_on", "gpus")


@dataclass(frozen=True)
class PlannedRun:
    """A run of a plan.

    Attributes:
        number: its number in the plan.
        label: display name: selector, budget, seed, model and other swept overrides.
        folder: its run folder, absolute.
        ends: the status it ends with: done, or stopped:<stage> if its config stops there.
        selects_on: cpu, or gpu if its selection needs the model.
        gpus: GPUs of its training and evaluation.
    """

    number: int
    label: str
    folder: str
    ends: str
    selects_on: str
    gpus: int = 1

    @property
    def name(self) -> str:
        """Its number with three digits, the name of its file."""
        return f"{self.number:03d}"

    @property
    def trains(self) -> bool:
        """Whether it goes on after its selection."""
        stage = self.ends.partition(":")[2]
        return not stage or STAGES.index(stage) > STAGES.index("select")


def write(folder: Path, command: Sequence[str], runs: Sequence[PlannedRun], configs: Sequence[str]) -> bool:
    """Write the plan; return False if the same plan exists already. UserError if the folder holds another plan."""
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
    """Return whether the folder holds a plan."""
    return (folder / PLAN).is_file()


def read(folder: Path) -> list[PlannedRun]:
    """Read the runs of a plan; UserError if `plan.json` is damaged."""
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
    """Return the plan that contains the file of a run, if any."""
    above = run.resolve().parent.parent
    return above if run.absolute().parent.name == RUNS and is_plan(above) else None


def read_config(path: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """Read a resolved config and override existing keys by `key=value`; UserError for anything else."""
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
        raise UserError(f"--planned {path} is not a config: give a file that gip_exp.plan wrote")
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
