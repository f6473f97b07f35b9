"""Checks before a run: the folder of the outputs, and the requirements of all stages that are not cached."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from gip_exp.config import Config
from gip_exp.errors import UserError, listed
from gip_exp.stage import Stage
from gip_exp.storage.store import Entry, Store, key_of


def preflight(
    config: Config, plan: Mapping[str, Stage], store: Store, also: Sequence[str] = ()
) -> dict[str, Entry]:
    """Check the requirements of all stages whose output is not in the store.

    Args:
        config: The config.
        plan: The stages of the run.
        store: The store.
        also: Further problems to report.

    Returns:
        The stage outputs that exist, by stage.

    Raises:
        UserError: lists all problems.
    """
    _check_root(config.paths.root)
    entries: dict[str, Entry] = {}
    problems = list(also)
    for stage in plan.values():
        try:
            if all(name in entries for name in stage.inputs(config)):
                found = store.find(stage.group, key_of(stage.group, stage.identity(config, entries)))
                if found is not None:
                    entries[stage.name] = found
                    continue
            problems += stage.missing(config)
        except UserError as error:
            problems.append(str(error))
    if problems:
        raise listed("cannot start:", list(dict.fromkeys(problems)))
    return entries


def _check_root(root: Path) -> None:
    """Raise UserError if `paths.root` cannot be a folder. It may be read-only: all outputs may exist."""
    place = root.absolute()
    try:
        while not place.exists() and place != place.parent:
            place = place.parent
        why = "" if place.is_dir() else f"{place} is a file"
    except OSError as error:  # an invalid file name
        why = error.strerror or str(error)
    if why:
        raise UserError(
            f"paths.root={_short(root)} cannot be written ({why}): choose a folder you can write, e.g. paths.root=/tmp/gip"
        )


def _short(root: Path) -> str:
    text = str(root)
    return text if len(text) < 200 else f"{text[:80]}...{text[-20:]}"
