"""Mutated files of the data campaign: what goes wrong with a file of rows between its author and its reader.

A mutation changes the rows (`bad_data_rows.ROWS`), the text they are written as (`TEXTS`), its bytes (`BYTES`) or its
format (`FORMATS`). All are functions of the content and of a generator, so that a number names a file for good.
"""

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from copy import deepcopy

from bad_data_rows import RAW, ROWS, Chance, Rows

Changed = tuple[str, bytes]  # ending of the file, content


def lines(rows: Rows) -> str:
    """JSON Lines; separators of Unicode stay as they are, half a surrogate pair becomes its escape."""
    texts = (json.dumps(row, ensure_ascii=False) for row in rows)
    text = "".join(text.encode("utf-8", "backslashreplace").decode() + "\n" for text in texts)
    for mark, raw in RAW.items():
        text = text.replace(f'"{mark}"', raw)
    return text


def _twice(rows: Rows, _: Chance) -> str:
    """Rows whose first key comes twice."""
    texts = (json.dumps(row, ensure_ascii=False) for row in rows)
    return "".join(
        f'{{{json.dumps(next(iter(row)))}: "another", {text[1:]}\n'
        for row, text in zip(rows, texts, strict=True)
    )


TEXTS: dict[str, Callable[[Rows, Chance], tuple[str, str]]] = {
    "keys repeated in a row": lambda rows, chance: (".jsonl", _twice(rows, chance)),
    "indented objects one after the other": lambda rows, _: (".jsonl", "\n".join(json.dumps(row, indent=2) for row in rows)),
    "a list in a file of lines": lambda rows, _: (".jsonl", json.dumps(rows, indent=1)),
    "lines in a file of a list": lambda rows, _: (".json", lines(rows)),
    "a list in a list": lambda rows, _: (".json", json.dumps([rows])),
    "rows under a key": lambda rows, _: (".json", json.dumps({"version": 1, "data": rows})),
    "rows under two keys": lambda rows, _: (".json", json.dumps({"first": rows, "second": rows})),
    "rows by name": lambda rows, _: (".json", json.dumps({f"r{n}": row for n, row in enumerate(rows)})),
    "a comma too many": lambda rows, _: (".json", json.dumps(rows)[:-1] + ",]"),
    "a bracket too few": lambda rows, _: (".json", json.dumps(rows, indent=1)[:-1]),
    "objects on one line": lambda rows, _: (".jsonl", "".join(json.dumps(row) for row in rows)),
    "the words of Python": lambda rows, _: (".jsonl", "".join(f"{row}\n" for row in rows)),
    "comments and blank lines": lambda rows, _: (".jsonl", "// rows\n\n" + lines(rows).replace("\n", "\n\n \n")),
    "a file of a web page": lambda *_: (".jsonl", "<!doctype html>\n<html><body>404: not found</body></html>\n"),
    "a pointer of git-lfs": lambda *_: (".jsonl", "version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n"),
    "lines that end in commas": lambda rows, _: (".jsonl", lines(rows).replace("}\n", "},\n")),
}  # fmt: skip


def _cut(data: bytes, chance: Chance) -> bytes:
    return data[: chance.randrange(1, max(2, len(data)))]


def _with(data: bytes, chance: Chance, part: bytes, times: int = 1) -> bytes:
    for _ in range(times):
        place = chance.randrange(len(data) + 1)
        data = data[:place] + part + data[place:]
    return data


def _flipped(data: bytes, chance: Chance) -> bytes:
    copy = bytearray(data)
    for _ in range(3):
        copy[chance.randrange(len(copy))] ^= 1 << chance.randrange(8)
    return bytes(copy)


def _recoded(data: bytes, encoding: str) -> bytes:
    return data.decode().encode(encoding, "replace")


BYTES: dict[str, Callable[[bytes, Chance], bytes]] = {
    "truncated": _cut,
    "three bits flipped": _flipped,
    "a byte that is not UTF-8": lambda data, chance: _with(data, chance, b"\xff"),
    "half a character": lambda data, chance: _with(data, chance, "é".encode()[:1]),
    "a byte order mark": lambda data, _: b"\xef\xbb\xbf" + data,
    "a byte order mark in the middle": lambda data, _: data + b"\xef\xbb\xbf" + data,
    "UTF-16": lambda data, _: _recoded(data, "utf-16"),
    "UTF-16 without a mark": lambda data, _: _recoded(data, "utf-16-le"),
    "UTF-32": lambda data, _: _recoded(data, "utf-32"),
    "UTF-32, big end first": lambda data, _: b"\x00\x00\xfe\xff" + _recoded(data, "utf-32-be"),
    "Latin-1": lambda data, _: _recoded(data.replace(b" ", " é ".encode(), 3), "latin-1"),
    "CRLF": lambda data, _: data.replace(b"\n", b"\r\n"),
    "CR": lambda data, _: data.replace(b"\n", b"\r"),
    "zeros at the end": lambda data, _: data[: len(data) // 2] + bytes(len(data) - len(data) // 2),
    "no line end at the end": lambda data, _: data.rstrip(b"\n"),
    "one byte": lambda data, _: data[:1],
    "an empty file": lambda *_: b"",
    "twice the file": lambda data, _: data + data,
}


def table(rows: Rows, delimiter: str = ",") -> str:
    """CSV of the rows; nested values as JSON."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.writer(out, delimiter=delimiter, lineterminator="\n")
    writer.writerow(names)
    for row in rows:
        cells = (row.get(name) for name in names)
        writer.writerow([cell if isinstance(cell, str) else json.dumps(cell) for cell in cells])
    return out.getvalue()


def _parquet(rows: Rows) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = io.BytesIO()
    plain = [
        {name: value if isinstance(value, str) else json.dumps(value) for name, value in row.items()}
        for row in rows
    ]
    pq.write_table(pa.Table.from_pylist(plain), out)
    return out.getvalue()


def _zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("rows.jsonl", data)
    return out.getvalue()


def _packed(ending: str, pack: Callable[[bytes, Chance], bytes]) -> Callable[[Rows, Chance], Changed]:
    return lambda rows, chance: (ending, pack(lines(rows).encode(), chance))


FORMATS: dict[str, Callable[[Rows, Chance], Changed]] = {
    "gzip": _packed(".jsonl.gz", lambda data, _: gzip.compress(data)),
    "gzip without its ending": _packed(".jsonl", lambda data, _: gzip.compress(data)),
    "the ending of gzip only": _packed(".jsonl.gz", lambda data, _: data),
    "gzip, truncated": _packed(".jsonl.gz", lambda data, chance: _cut(gzip.compress(data), chance)),
    "gzip in two parts": _packed(".jsonl.gz", lambda data, _: gzip.compress(data) + gzip.compress(data)),
    "gzip with more behind it": _packed(".jsonl.gz", lambda data, _: gzip.compress(data) + b"more"),
    "gzip, a bit flipped": _packed(".jsonl.gz", lambda data, chance: _flipped(gzip.compress(data), chance)),
    "xz under the ending of gzip": _packed(".jsonl.gz", lambda data, _: lzma.compress(data)),
    "xz, truncated": _packed(".jsonl.xz", lambda data, chance: _cut(lzma.compress(data), chance)),
    "bzip2, truncated": _packed(".jsonl.bz2", lambda data, chance: _cut(bz2.compress(data), chance)),
    "zstd that is none": _packed(".jsonl.zst", lambda data, _: data),
    "a zip archive": _packed(".jsonl", lambda data, _: _zipped(data)),
    "CSV": lambda rows, _: (".csv", table(rows).encode()),
    "CSV with semicolons": lambda rows, _: (".csv", table(rows, ";").encode()),
    "CSV under the ending of TSV": lambda rows, _: (".tsv", table(rows).encode()),
    "CSV, truncated": lambda rows, chance: (".csv", _cut(table(rows).encode(), chance)),
    "CSV with more cells than columns": lambda rows, _: (".csv", (table(rows) + "a,b,c,d,e,f,g,h,i,j\n").encode()),
    "CSV with a zero byte": lambda rows, chance: (".csv", _with(table(rows).encode(), chance, b"\x00")),
    "CSV without its first line": lambda rows, _: (".csv", table(rows).split("\n", 1)[1].encode()),
    "parquet": lambda rows, _: (".parquet", _parquet(rows)),
    "parquet, truncated": lambda rows, chance: (".parquet", _cut(_parquet(rows), chance)),
    "parquet, three bits flipped": lambda rows, chance: (".parquet", _flipped(_parquet(rows), chance)),
    "parquet under another ending": lambda rows, _: (".jsonl", _parquet(rows)),
    "lines under the ending of parquet": lambda rows, _: (".parquet", lines(rows).encode()),
    "lines under the ending of arrow": lambda rows, _: (".arrow", lines(rows).encode()),
}  # fmt: skip

KINDS = (*ROWS, *TEXTS, *BYTES, *FORMATS)


def mutated(rows: Rows, kind: str, chance: Chance) -> Changed:
    """A file of the rows with one mutation: (ending, content)."""
    rows = deepcopy(rows)
    if kind in ROWS:
        return ".jsonl", lines(ROWS[kind](rows, chance)).encode()
    if kind in TEXTS:
        ending, text = TEXTS[kind](rows, chance)
        return ending, text.encode("utf-8", "backslashreplace")
    if kind in BYTES:
        return ".jsonl", BYTES[kind](lines(rows).encode(), chance)
    return FORMATS[kind](rows, chance)
