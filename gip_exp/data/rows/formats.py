"""Reading rows from files: JSON, CSV, parquet or Arrow, plain or compressed.

A row that cannot be read becomes `Broken`, so that all problems of a file are reported together.
"""

import lzma
import zlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from gip_exp.data.rows.arrow_files import read_arrow, read_parquet
from gip_exp.data.rows.csv_files import read_csv
from gip_exp.data.rows.json_files import read_json
from gip_exp.data.rows.opened import suffix_of
from gip_exp.data.rows.placed import Placed
from gip_exp.data.rows.sources import labels
from gip_exp.errors import UserError

Note = Callable[[str], None]


def _ignore(_: str) -> None:
    pass


def read_files(paths: Sequence[Path], note: Note = _ignore) -> Iterator[Placed]:
    """Yield the rows of files; with several files, places include the file.

    Args:
        paths: The files.
        note: Called with notes on parts that are not read.
    """
    if len(paths) == 1:
        yield from read_rows(paths[0], note)
        return
    for path, name in zip(paths, labels(paths), strict=True):
        for row in read_rows(path, note):
            yield Placed(f"{name} {row.place}", row.row, name, row.number)


def read_rows(path: Path, note: Note = _ignore) -> Iterator[Placed]:
    """Yield the rows of a file. Raises UserError if the file as a whole cannot be read."""
    number = 0
    try:
        for place, row in _reader(path, lambda text: note(f"{path.name}: {text}")):
            number += 1
            yield Placed(place, row, path.name, number)
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 text (byte 0x{error.object[error.start]:02x}): save the file as UTF-8"
        ) from None
    except OSError as error:
        why = " ".join(str(error.strerror or error).split())
        raise UserError(
            f"{path}: cannot be read ({why}): check its rights and its ending, or copy it again"
        ) from None
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"{path}: damaged or truncated ({error}): copy it again") from None
    except RecursionError:
        raise UserError(f"{path}: nested too deeply to be rows of text: check the file") from None
    if not number:
        raise UserError(f"{path}: has no rows: check the file, or give another (data.path)")


def _reader(path: Path, note: Note) -> Iterator[tuple[str, Any]]:
    readers: dict[str, Callable[[Path], Iterator[tuple[str, Any]]]] = {
        ".csv": read_csv,
        ".tsv": read_csv,
        ".parquet": read_parquet,
        ".arrow": read_arrow,
        ".feather": read_arrow,
    }
    return readers.get(suffix_of(path), partial(read_json, note=note))(path)
