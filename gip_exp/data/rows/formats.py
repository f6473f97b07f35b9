"""Files into rows: JSON, CSV, parquet or Arrow, plain or compressed.

A row that cannot be read becomes `Broken`, in its place: what is wrong with a file is then said in one list.
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

Say = Callable[[str], None]


def _silent(_: str) -> None:
    """For those who want the rows alone."""


def read_files(paths: Sequence[Path], say: Say = _silent) -> list[Placed]:
    """The rows of all files; of several, every place says which. What is left out of a file is told to `say`."""
    if len(paths) == 1:
        return read_rows(paths[0], say)
    return [
        Placed(f"{name} {one.place}", one.row, name, one.number)
        for path, name in zip(paths, labels(paths), strict=True)
        for one in read_rows(path, say)
    ]


def read_rows(path: Path, say: Say = _silent) -> list[Placed]:
    """The rows of a file. Raises UserError when the file as a whole cannot be read."""
    try:
        rows = [
            Placed(place, row, path.name, number)
            for number, (place, row) in enumerate(_reader(path, lambda text: say(f"{path.name}: {text}")), 1)
        ]
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path}: not UTF-8 text (byte 0x{error.object[error.start]:02x}): save the file as UTF-8"
        ) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None
    except (EOFError, zlib.error, lzma.LZMAError) as error:
        raise UserError(f"{path}: damaged or cut short ({error}): copy it again") from None
    except RecursionError:
        raise UserError(f"{path}: nested too deeply to be rows of text: check the file") from None
    if not rows:
        raise UserError(f"{path}: holds no rows: check the file, or give another (data.path)")
    return rows


def _reader(path: Path, say: Say) -> Iterator[tuple[str, Any]]:
    readers: dict[str, Callable[[Path], Iterator[tuple[str, Any]]]] = {
        ".csv": read_csv,
        ".tsv": read_csv,
        ".parquet": read_parquet,
        ".arrow": read_arrow,
        ".feather": read_arrow,
    }
    return readers.get(suffix_of(path), partial(read_json, say=say))(path)
