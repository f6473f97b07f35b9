"""Tracking by Weights & Biases, or none. Each run is one W&B run, resumed under the same id."""

import netrc
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from gip_exp.config import Config
from gip_exp.config.tracking import Tracking
from gip_exp.console import Console
from gip_exp.errors import UserError
from gip_exp.runs.records import RunResult

MODES = ("online", "offline", "disabled", "shared")
REFUSED, LONGEST = "/\\#?%:", 128  # characters that W&B refuses in a name, and the maximum length of one
MOST_OF_TAG, MOST_OF_TEXT = 64, 1_000  # characters
MOST_LISTED = 5_000  # selected rows in the W&B table; the artifact has all of them


class Tracker(Protocol):
    """Interface of trackers."""

    def log(self, figures: Mapping[str, float]) -> None:
        """Log live metrics."""

    def finish(self, result: RunResult, selected: Path | None) -> None:
        """Log the content of `result.json` and the selected rows, and finish."""

    def fail(self) -> None:
        """Finish as failed."""


class NoTracker:
    """The tracker of `tracking=none`."""

    def log(self, figures: Mapping[str, float]) -> None:
        """Do nothing."""

    def finish(self, result: RunResult, selected: Path | None) -> None:
        """Do nothing."""

    def fail(self) -> None:
        """Do nothing."""


class WandbTracker:
    """A W&B run with its files in the run folder; without an API key it is offline and can be uploaded later."""

    def __init__(self, config: Config, folder: Path, console: Console) -> None:
        import wandb

        tracking = config.tracking
        mode = mode_of(tracking)
        if mode == "offline":
            why = "" if tracking.mode == mode or os.environ.get("WANDB_MODE") else " (no WANDB_API_KEY)"
            console.say(f"  W&B: offline{why}; upload later with: wandb sync {folder}/wandb/offline-run-*")
        os.environ.setdefault("WANDB_SILENT", "true")
        self._console = console
        self._run = wandb.init(
            project=tracking.project,
            entity=tracking.entity,
            group=tracking.group or config.experiment,
            tags=[f"{key}={value}"[:MOST_OF_TAG] for key, value in _told_by_tags(config).items()],
            name=folder.name,
            id=folder.name.rsplit("-", 1)[-1],
            resume="allow",
            reinit="create_new",  # do not reuse a run that other code in this process has open
            dir=folder,
            mode=mode,  # type: ignore[arg-type]
            config=config.model_dump(mode="json"),
            settings=wandb.Settings(silent=True, console="off", init_timeout=60),
        )

    def log(self, figures: Mapping[str, float]) -> None:
        """Log live metrics."""
        self._run.log(dict(figures))

    def finish(self, result: RunResult, selected: Path | None) -> None:
        """Upload the result. Errors of W&B become warnings, because the run itself is finished."""
        with self._errors_as_warnings("log the result"):
            self._upload(result, selected)
        self._end()

    def fail(self) -> None:
        """Finish as failed. Errors of W&B do not replace the error that is being raised."""
        self._end(exit_code=1)

    def _end(self, exit_code: int = 0) -> None:
        with self._errors_as_warnings("finish its run"):
            self._run.finish(exit_code=exit_code)

    @contextmanager
    def _errors_as_warnings(self, action: str) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._console.warn(
                f"W&B could not {action} ({type(error).__name__}); the run folder has everything"
            )

    def _upload(self, result: RunResult, selected: Path | None) -> None:
        import wandb

        for name, metric in result["metrics"].items():
            for part in ("value", "low", "high"):
                if metric[part] is not None:
                    self._run.summary[name if part == "value" else f"{name}/{part}"] = metric[part]
        for name, stage in result["stages"].items():
            self._run.summary[f"seconds/{name}"] = stage["seconds"]
            self._run.summary[f"cached/{name}"] = stage["cached"]
        for name, measure in result.get("measures", {}).items():
            for part, value in measure.items():
                if value is not None:
                    self._run.summary[f"subset/{name}/{part}"] = value
        for name, share in result.get("subset", {}).items():
            self._run.summary[f"subset/{name}"] = share
        self._run.summary["status"] = result["status"]
        if selected is not None:
            self._run.log({"selected": _table(selected)})
            artifact = wandb.Artifact(f"selected-{self._run.id}", type="selection")
            artifact.add_file(str(selected))
            self._run.log_artifact(artifact)


def _table(selected: Path) -> Any:
    import json

    import wandb

    with selected.open(encoding="utf-8") as stream:
        rows = [json.loads(line) for _, line in zip(range(MOST_LISTED), stream, strict=False)]
    texts = ("prompt", "completion")
    return wandb.Table(
        columns=["rank", "id", "gain", *texts],
        data=[
            [row["rank"], row["id"], row["gain"], *(row[name][:MOST_OF_TEXT] for name in texts)]
            for row in rows
        ],
    )


def _told_by_tags(config: Config) -> dict[str, Any]:
    """Return what distinguishes the runs of a sweep, to filter by."""
    return {
        "selector": config.selector.name,
        "budget": config.budget,
        "seed": config.seed,
        "model": config.model.name,
    }


def mode_of(tracking: Tracking) -> str:
    """Return the mode; `auto` is WANDB_MODE if set, else online if there is a key, else offline.

    Raises:
        UserError: WANDB_MODE is not a mode.
    """
    if tracking.mode != "auto":
        return tracking.mode
    mode = os.environ.get("WANDB_MODE") or ("online" if _has_key() else "offline")
    if mode not in MODES:
        raise UserError(f"WANDB_MODE={mode!r}: allowed are {', '.join(MODES)}; or use tracking=none")
    return mode


def problems(tracking: Tracking) -> list[str]:
    """Return the settings that W&B would refuse, each with its remedy."""
    if tracking.kind == "none":
        return []
    found = []
    try:
        mode_of(tracking)
    except UserError as error:
        found.append(str(error))
    for name in ("project", "entity"):
        value = getattr(tracking, name)
        if value is not None and (not value.strip() or len(value) > LONGEST or set(value) & set(REFUSED)):
            found.append(
                f"tracking.{name}={value[:LONGEST]!r}: give a name of at most {LONGEST} characters without {' '.join(REFUSED)}"
            )
    return found


def _has_key() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        return netrc.netrc().authenticators("api.wandb.ai") is not None
    except (OSError, netrc.NetrcParseError):
        return False


def start(config: Config, folder: Path, console: Console, *, repeated: bool = False) -> Tracker:
    """Return the tracker of the config; UserError if W&B refuses the key, the mode or the project.

    A `repeated` run, which computes nothing, is not logged again if W&B has it.
    """
    if config.tracking.kind == "none":
        return NoTracker()
    if repeated and (folder / "wandb").is_dir():
        console.say("  W&B: nothing is new since the run was logged, so nothing is logged again", style="dim")
        return NoTracker()
    mode_of(config.tracking)
    import wandb

    try:
        return WandbTracker(config, folder, console)
    except wandb.Error as error:
        raise UserError(
            f"W&B did not start ({type(error).__name__}): check WANDB_API_KEY and tracking.project, or use "
            "tracking.mode=offline or tracking=none"
        ) from None
