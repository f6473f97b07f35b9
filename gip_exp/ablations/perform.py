"""Run one ablation, from overrides to a folder of tables and figures."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console as RichConsole

from gip_exp.ablations import compose, findings
from gip_exp.config.base import content
from gip_exp.console import Console
from gip_exp.errors import UserError
from gip_exp.quiet import quiet_libraries
from gip_exp.runs.folder import CONFIG
from gip_exp.stages import data
from gip_exp.storage.files import digest, write_text

WIDE = 140  # characters, if there is no terminal


def perform(name: str, overrides: Sequence[str]) -> Path:
    """Compose, compute, write and print; return the folder. UserError and Hydra's errors for bad settings."""
    quiet_libraries()
    console = Console()
    setup = compose.setup(name, overrides, console)
    found = compose.module_of(name).run(setup)
    folder = folder_of(setup)
    try:
        findings.write(found, folder, name)
        write_text(folder / CONFIG, _as_yaml(setup))
    except OSError as error:
        raise UserError(
            f"paths.root: cannot write {folder} ({error.strerror or error}): choose another folder"
        ) from error
    show(found, folder, name)
    return folder


def show(found: findings.Findings, folder: Path, name: str) -> None:
    """Print the tables on stdout, then the files."""
    out = RichConsole(file=sys.stdout, highlight=False, soft_wrap=True)
    if not out.is_terminal:
        out.width = WIDE
    for sheet in found.sheets:
        out.print(findings.as_rich(sheet))
        for note in sheet.notes:
            out.print(note, style="dim", markup=False)
        out.print()
    files = [f"{name}.md", *(f"{sheet.slug}.csv" for sheet in found.sheets)]
    files += [f"{findings.FIGURES}/{picture.slug}.{{svg,pdf}}" for picture in found.pictures]
    out.print(f"{folder}: {', '.join(files)}", markup=False)


def folder_of(setup: compose.Setup) -> Path:
    """Return `<root>/ablations/<name>/<experiment>_<embedder>-<8 hex of everything that can change the tables>`."""
    config = setup.config
    identity = {
        "config": content(config),
        "data": data.STAGE.settings(config, {}),
        "settings": content(setup.settings),
    }
    label = f"{config.experiment}_{config.embedder.name}-{digest(identity, 8)}"
    return config.paths.root / "ablations" / setup.name / label.replace("/", "-")


def _as_yaml(setup: compose.Setup) -> str:
    from omegaconf import OmegaConf

    values: dict[str, Any] = setup.config.model_dump(mode="json")
    return OmegaConf.to_yaml(
        OmegaConf.create(
            {**values, "ablation": {"name": setup.name, **setup.settings.model_dump(mode="json")}}
        )
    )
