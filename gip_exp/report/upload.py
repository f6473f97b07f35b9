"""The report in W&B: one run next to those of the sweep, with all tables and figures; a new report resumes it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from gip_exp.config.tracking import Tracking
from gip_exp.errors import UserError
from gip_exp.report.document import Document, Figure, Table
from gip_exp.report.run import Run
from gip_exp.report.write import FIGURES, Report
from gip_exp.runs import tracking
from gip_exp.storage.files import digest

PROJECT = "gip"  # if the runs name none
FILES = ("report.md", "report.tex", "report.csv", "report.html")


def upload(report: Report, project: str | None, console: Console) -> None:
    """Log tables, figures, page and files, offline without an account; UserError if W&B refuses."""
    import wandb

    mode = tracking.mode_of(Tracking(kind="wandb"))
    runs = report.found.runs
    project = project or _common(runs, "tracking.project") or PROJECT
    group = _common(runs, "tracking.group") or _experiment(runs)
    try:
        run = wandb.init(
            project=project,
            entity=_common(runs, "tracking.entity"),
            group=group,
            job_type="report",
            name=f"report-{group}",
            id=digest({"report of": str(report.found.root.resolve())}, 8),
            resume="allow",
            reinit="create_new",  # this process may have another run open
            dir=report.folder,
            mode=mode,  # type: ignore[arg-type]
            settings=wandb.Settings(silent=True, console="off", init_timeout=60),
        )
        run.log(_shown(report.document, report.folder))
        run.log_artifact(_files(report.folder, str(run.id)))
        run.finish()
    except wandb.Error as error:
        raise UserError(
            f"W&B did not take the report ({type(error).__name__}): check WANDB_API_KEY and --wandb PROJECT, or set "
            f"WANDB_MODE=offline; the report itself is in {report.folder}"
        ) from None
    if mode == "offline":
        console.print(
            f"W&B: offline; upload later with: wandb sync {report.folder}/wandb/offline-run-*", markup=False
        )
    else:
        console.print(f"W&B: report-{group} in project {project}", markup=False)


def _common(runs: Sequence[Run], key: str) -> str | None:
    """Return a setting that all runs share, else None."""
    values = {run.settings.get(key) for run in runs}
    return values.pop() if len(values) == 1 else None


def _experiment(runs: Sequence[Run]) -> str:
    names = sorted({run.experiment for run in runs})
    return names[0] if len(names) == 1 else "reports"


def _shown(document: Document, folder: Path) -> dict[str, Any]:
    """Return what is logged, under its slug: tables as tables, vector figures and the page as HTML."""
    import wandb

    found: dict[str, Any] = {"report": wandb.Html((folder / "report.html").read_text(encoding="utf-8"))}
    for part in (part for section in document.sections for part in section.parts):
        if isinstance(part, Table):
            columns: list[str | int] = [f"{c.group} {c.name}".strip() for c in part.columns]
            found[f"tables/{part.slug}"] = wandb.Table(columns=columns, data=[list(row) for row in part.rows])
        elif isinstance(part, Figure):
            found[f"figures/{part.slug}"] = wandb.Html(
                (folder / FIGURES / f"{part.slug}.svg").read_text(encoding="utf-8")
            )
    return found


def _files(folder: Path, run_id: str) -> Any:
    import wandb

    artifact = wandb.Artifact(f"report-{run_id}", type="report")
    for name in FILES:
        artifact.add_file(str(folder / name))
    artifact.add_dir(str(folder / FIGURES), name=FIGURES)
    return artifact
