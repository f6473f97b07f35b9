"""Writes the exports of a run into `export/<format>/` of its folder."""

import shutil
from pathlib import Path

from gip_exp.config import Config
from gip_exp.handover.card import card
from gip_exp.handover.formats import FORMATS
from gip_exp.runs.folder import EXPORT, SELECTED
from gip_exp.runs.records import RunResult
from gip_exp.storage.files import read_jsonl, write_text


def export(config: Config, folder: Path, result: RunResult) -> list[str]:
    """Write the selected rows in the formats of `export`, each folder anew.

    Returns:
        Notes on what a format cannot hold.
    """
    notes = []
    examples = read_jsonl(folder / SELECTED)
    for name in dict.fromkeys(config.export):
        place, draft = folder / EXPORT / name, folder / EXPORT / f"{name}.tmp"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        notes += FORMATS[name](examples, draft)
        if name == "hf":
            write_text(draft / "README.md", card(config, result))
        shutil.rmtree(place, ignore_errors=True)
        draft.rename(place)
    return notes
