"""Finding the files of `data.path`: a file, a folder in the layout of the hub or of `datasets`, or a pattern."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from gip_exp.config.keys import nearest
from gip_exp.data.rows.arrow_files import saved_splits
from gip_exp.data.rows.opened import SUFFIXES, TEXT, suffix_of
from gip_exp.errors import UserError

# train-00000-of-00002.parquet, train_sft-00000-of-00001-a09b74b3ef9c3b56.parquet
SHARD = re.compile(r"(?P<split>.+?)-(?P<number>\d+)-of-(?P<total>\d+)(?:-[0-9a-f]{8,})?\.")
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
MOST_NAMES = 8
ALLOW = "data.allow_missing_shards=true"

Splits = Mapping[str, Sequence[Path]]  # name of a split -> its files


@dataclass(frozen=True)
class Files:
    """Training and test files, in reading order, and a note on other splits, which are not read."""

    train: tuple[Path, ...]
    test: tuple[Path, ...] = ()
    left_out: str = ""

    @property
    def title(self) -> str:
        """Names of the training files, for messages."""
        first = self.train[0]
        return first.name if len(self.train) == 1 else f"{first.name} to {self.train[-1].name}"


def hub_name(path: str) -> str | None:
    """Return `path` if it is the name of a hub data set (`owner/name`), or None if it is or looks like a local path."""
    local = Path(path).expanduser()
    if local.exists() or local.parent.exists() or not HUB_NAME.fullmatch(path):
        return None
    return None if suffix_of(local) else path


def find_files(path: Path, *, allow_missing: bool = False, config: str | None = None) -> Files:
    """Find the files of `data.path`.

    Args:
        path: A file, a folder or a pattern.
        allow_missing: Whether to read a split with missing shards.
        config: The data set to read in a folder with several (`data.hub.config`).

    Raises:
        UserError: no file can be read, the choice of files is ambiguous, or shards are missing.
    """
    path = path.expanduser()
    try:
        if path.is_file():
            return Files((_readable(path),))
        if path.is_dir():
            return _in_folder(path, allow_missing, config)
        if has_magic(str(path)):
            return _matching(path, allow_missing)
    except OSError as error:
        raise UserError(f"data.path={path}: cannot be read ({error.strerror})") from None
    if path.is_symlink():
        raise UserError(f"data.path={path} is a link to {path.readlink()}, which does not exist")
    raise UserError(
        f"data.path={path} does not exist: give one file, a folder with train.jsonl (and test.jsonl), a pattern "
        "('data/*.parquet'), or a data set on the hub (OWNER/NAME)"
        f"{nearest(path.name, _beside(path))}"
    )


def _beside(path: Path) -> list[str]:
    """Return the names of files in the parent folder of `path`."""
    return [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []


def _readable(path: Path) -> Path:
    if not suffix_of(path):
        raise UserError(
            f"data.path={path}: cannot read {path.suffix!r} files; use one of {', '.join(SUFFIXES)} "
            f"(also as .gz, .bz2, .xz or .zst: {', '.join(TEXT)})"
        )
    return path


def _in_folder(folder: Path, allow_missing: bool, config: str | None) -> Files:
    """Find the training and test files of a folder.

    They are saved by `datasets`, in the folder, in its `data/`, or in one folder per data set; otherwise the folder must
    have a single file.
    """
    saved = saved_splits(folder)
    places: list[Splits] = [saved] if saved else [_splits(folder), _splits(folder / "data")]
    found = [splits for splits in places if _training(splits, folder)]
    if len(found) > 1:
        raise UserError(
            f"data.path={folder} has training files in it and in its data/: give one of them as data.path"
        )
    if not found and (named := _data_sets(folder, config)):
        found = [named]
    if found:
        return _chosen(found[0], folder, allow_missing)
    files = [item for item in _items(folder) if item.is_file() and suffix_of(item)]
    if len(files) == 1:
        return Files((files[0],))
    if files:
        raise UserError(
            f"data.path={folder} has no training file (train.jsonl, ...) but {_names(files)}: give one of them as "
            f"data.path=FILE, or several as a pattern (data.path='{folder}/*{files[0].suffix}')"
        )
    raise UserError(
        f"data.path={folder} has no training file (train{' or train'.join(SUFFIXES)}); it contains "
        f"{_names(_items(folder)) or 'nothing'}. Rename the file or give it as data.path=FILE"
    )


def _data_sets(folder: Path, config: str | None) -> Splits | None:
    """Return the splits of a data set in a subfolder: `config`, `default`, or the only one; None if there is none."""
    sets = {item.name: _splits(item) for item in _items(folder) if item.is_dir() and item.name != "data"}
    sets = {name: splits for name, splits in sets.items() if _training(splits, folder / name)}
    name = next((name for name in (config, "default") if name in sets), None)
    if name is None and len(sets) > 1:
        first = next(iter(sets))
        raise UserError(
            f"data.path={folder} has several data sets ({', '.join(sets)}): give one, e.g. data.path={folder}/{first}"
        )
    return sets[name or next(iter(sets))] if sets else None


def _chosen(splits: Splits, folder: Path, allow_missing: bool) -> Files:
    """Return the training and test files of the splits, with a note on the others."""
    train = _training(splits, folder)
    assert train is not None
    test = _test(splits, train)
    others = [name for name in splits if name not in (train, test)]
    return Files(
        _whole(splits[train], folder, allow_missing),
        _whole(splits[test], folder, allow_missing) if test else (),
        f"{folder.name}: training rows are from the split {train}, test rows from {test or 'none'}; not read: "
        f"{', '.join(others)}"
        if others
        else "",
    )


def _splits(folder: Path) -> dict[str, list[Path]]:
    """Return the files of a folder by split: `NAME.jsonl`, shards, or subfolders `NAME/`."""
    found: dict[str, list[Path]] = {}
    for item in _items(folder) if folder.is_dir() else []:
        shard = SHARD.match(item.name)
        if item.is_file() and suffix_of(item):
            known = shard is not None or item.name.count(".") <= 2
            name = shard["split"] if shard else item.name.split(".")[0]
            found.setdefault(name, []).extend([item] if known else [])
        elif item.is_dir() and item.name.startswith(("train", "test", "valid")):
            found.setdefault(item.name, []).extend(
                one for one in _items(item) if one.is_file() and suffix_of(one)
            )
    return {name: files for name, files in found.items() if files}


def _training(splits: Splits, folder: Path) -> str | None:
    """Return the name of the training split, or None. Raises UserError if it is ambiguous."""
    names = [name for name in splits if name.startswith("train")]
    for name in ("train", "train_sft"):
        if name in names:
            return name
    if len(names) > 1:
        raise UserError(
            f"data.path={folder} has several training splits ({', '.join(names)}): give one as a pattern, "
            f"e.g. data.path='{splits[names[0]][0].parent}/{names[0]}*'"
        )
    return names[0] if names else None


def _test(splits: Splits, train: str) -> str | None:
    """Return the name of the test split that belongs to a training split, or None."""
    names = [name for name in splits if name.startswith("test")]
    for name in (train.replace("train", "test", 1), "test"):
        if name in names:
            return name
    return names[0] if len(names) == 1 else None


def _whole(files: Sequence[Path], folder: Path, allow_missing: bool) -> tuple[Path, ...]:
    """Return the files of a split in order. Raises UserError for missing shards, and for several copies of a split."""
    shards = {path: match for path in files if (match := SHARD.match(path.name))}
    own_folder = len({path.parent for path in files}) == 1 and files[0].parent.name.startswith(
        ("train", "test", "valid")
    )
    if not shards and (len(files) == 1 or (own_folder and len({suffix_of(path) for path in files}) == 1)):
        return tuple(sorted(files))
    totals = {(path.parent, match["total"], suffix_of(path)) for path, match in shards.items()}
    numbers = [int(match["number"]) for match in shards.values()]
    if len(shards) < len(files) or len(totals) > 1 or len(set(numbers)) < len(numbers):
        raise UserError(
            f"data.path={folder} has the same split several times ({_names(files)}): remove all but one, or give one as "
            "data.path=FILE (without its test rows)"
        )
    if not allow_missing:
        _check_shards(shards)
    return tuple(sorted(shards, key=lambda path: int(shards[path]["number"])))


def _check_shards(shards: Mapping[Path, re.Match[str]]) -> None:
    """Raise UserError if shards are missing."""
    match = next(iter(shards.values()))
    existing = {int(shard["number"]) for shard in shards.values()}
    missing = [number for number in range(int(match["total"])) if number not in existing]
    if missing:
        names = [f"{match['split']}-{number:05d}-of-{match['total']}" for number in missing]
        more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
        raise UserError(
            f"{next(iter(shards)).parent}: {len(missing)} of {match['total'].lstrip('0')} shards are missing: "
            f"{', '.join(names[:MOST_NAMES])}{more}. Copy them here, or read only the others ({ALLOW})"
        )


def _matching(pattern: Path, allow_missing: bool) -> Files:
    found = [Path(name) for name in sorted(glob(str(pattern), recursive=True))]
    files = tuple(_readable(path) for path in found if path.is_file())
    if not files:
        raise UserError(f"data.path={pattern}: no file matches this pattern")
    shards: dict[tuple[Path, str, str], dict[Path, re.Match[str]]] = {}
    for path in files:
        if match := SHARD.match(path.name):
            shards.setdefault((path.parent, match["split"], match["total"]), {})[path] = match
    for group in shards.values() if not allow_missing else ():
        _check_shards(group)
    return Files(files)


def _items(folder: Path) -> list[Path]:
    return sorted(item for item in folder.iterdir() if not item.name.startswith("."))


def _names(paths: Sequence[Path]) -> str:
    more = len(paths) - MOST_NAMES
    return ", ".join(path.name for path in paths[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def labels(paths: Sequence[Path]) -> list[str]:
    """Return distinct names of files: their paths relative to the common folder."""
    if len(paths) < 2:
        return [path.name for path in paths]
    folder = os.path.commonpath([path.parent for path in paths])
    return [os.path.relpath(path, folder) for path in paths]
