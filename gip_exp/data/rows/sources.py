"""What `data.path` means: a file, a folder, shards as the hub lays them out, a pattern, or a data set on the hub."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from gip_exp.config.keys import nearest
from gip_exp.data.rows.formats import SUFFIXES, suffix_of
from gip_exp.errors import UserError

SHARD = re.compile(r"(train|test)-\d+-of-\d+\.")  # train-00000-of-00002.parquet
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
MOST_NAMES = 8


@dataclass(frozen=True)
class Files:
    """Training files and test files (none where there are none), in reading order."""

    train: tuple[Path, ...]
    test: tuple[Path, ...] = ()

    @property
    def title(self) -> str:
        """The training files, for people."""
        first = self.train[0]
        return first.name if len(self.train) == 1 else f"{first.name} to {self.train[-1].name}"


def hub_name(path: str) -> str | None:
    """`path` as the name of a hub data set (`owner/name`), or None where it is, or looks like, a local path."""
    local = Path(path).expanduser()
    if local.exists() or local.parent.exists() or not HUB_NAME.fullmatch(path):
        return None
    return None if suffix_of(local) else path


def find_files(path: Path) -> Files:
    """The files of `data.path`. Raises UserError when there is none that can be read."""
    path = path.expanduser()
    try:
        if path.is_file():
            return Files((_readable(path),))
        if path.is_dir():
            return _in_folder(path)
        if has_magic(str(path)):
            return _matching(path)
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
    """The names in the folder that `path` would lie in."""
    return [item.name for item in path.parent.iterdir()] if path.parent.is_dir() else []


def _readable(path: Path) -> Path:
    if not suffix_of(path):
        raise UserError(
            f"data.path={path}: cannot read {path.suffix!r} files; use one of {', '.join(SUFFIXES)} "
            "(also as .gz, .bz2, .xz or .zst, parquet excepted)"
        )
    return path


def _in_folder(folder: Path) -> Files:
    """train.* and test.*, else the shards of both (in the folder or its `data/`), else the only file there is."""
    if train := _named(folder, "train"):
        return Files((train,), _present(_named(folder, "test")))
    for place in (folder, folder / "data"):
        if shards := _shards(place, "train"):
            return Files(shards, _shards(place, "test"))
    files = [item for item in _items(folder) if item.is_file() and suffix_of(item)]
    if len(files) == 1:
        return Files((files[0],))
    if files:
        raise UserError(
            f"data.path={folder} holds no training file (train.jsonl, ...) but {_names(files)}: give one of them as "
            f"data.path=FILE, or several as one pattern (data.path='{folder}/*{files[0].suffix}')"
        )
    raise UserError(
        f"data.path={folder} holds no training file (train{' or train'.join(SUFFIXES)}); it holds "
        f"{_names(_items(folder)) or 'nothing'}. Rename the file or give it as data.path=FILE"
    )


def _named(folder: Path, stem: str) -> Path | None:
    """`stem` with the first suffix, in the order of `SUFFIXES`, that is there (plain before compressed)."""
    found = [item for item in _items(folder) if item.is_file() and item.name.split(".")[0] == stem]
    known = [item for item in found if suffix_of(item) and item.name.count(".") <= 2]
    return min(known, key=lambda item: (SUFFIXES.index(suffix_of(item)), len(item.name)), default=None)


def _shards(folder: Path, split: str) -> tuple[Path, ...]:
    if not folder.is_dir():
        return ()
    matches = [(item, SHARD.match(item.name)) for item in _items(folder) if suffix_of(item)]
    return tuple(item for item, match in matches if match and match[1] == split)


def _matching(pattern: Path) -> Files:
    found = [Path(name) for name in sorted(glob(str(pattern), recursive=True))]
    files = tuple(_readable(path) for path in found if path.is_file())
    if not files:
        raise UserError(f"data.path={pattern}: no file matches this pattern")
    return Files(files)


def _items(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def _present(path: Path | None) -> tuple[Path, ...]:
    return () if path is None else (path,)


def _names(paths: Sequence[Path]) -> str:
    more = len(paths) - MOST_NAMES
    return ", ".join(path.name for path in paths[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
