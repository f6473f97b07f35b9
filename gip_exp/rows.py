"""Reading people's rows: JSONL, JSON, CSV or parquet, in any of the usual shapes, with line numbers in every error.

A row becomes an example `{"id", "prompt", "completion"}`: what the user asks and what the model should answer.
"""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gip_exp.errors import UserError, listed

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
MOST_SHOWN = 10
LONGEST_CELL = 2**27

Row = Mapping[str, Any]
Example = dict[str, str]


def find_files(path: Path) -> tuple[Path, Path | None]:
    """(training file, test file or None) of `data.path`: a folder with train.* and test.*, or one file."""
    if path.is_file():
        if path.suffix not in SUFFIXES:
            raise UserError(
                f"data.path={path}: cannot read {path.suffix!r} files; use one of {', '.join(SUFFIXES)}"
            )
        return path, None
    if not path.is_dir():
        raise UserError(
            f"data.path={path} does not exist: give a folder with train.jsonl (and test.jsonl), or one file"
        )
    train = _named(path, "train")
    if train is None:
        names = ", ".join(sorted(item.name for item in path.iterdir())[:8]) or "nothing"
        raise UserError(
            f"data.path={path} holds no training file (train{' or train'.join(SUFFIXES)}); it holds {names}. "
            "Rename the file or give it as data.path=FILE"
        )
    return train, _named(path, "test")


def _named(folder: Path, stem: str) -> Path | None:
    return next(
        (folder / (stem + suffix) for suffix in SUFFIXES if (folder / (stem + suffix)).is_file()), None
    )


def read_rows(path: Path) -> list[tuple[int, Any]]:
    """(line or row number from 1, row) for every row of a file."""
    try:
        rows = list(_READERS[path.suffix](path))
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start}): save the file as UTF-8") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except csv.Error as error:
        raise UserError(f"{path}: not CSV that can be read ({error})") from None
    except RecursionError:
        raise UserError(f"{path}: nested too deeply to be rows of text") from None
    if not rows:
        raise UserError(f"{path}: holds no rows")
    return rows


def _jsonl(path: Path) -> Iterator[tuple[int, Any]]:
    broken = []
    with path.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, 1):
            if not line.strip():
                continue
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                broken.append(
                    f"line {number}: not JSON ({error.msg} at column {error.colno}): {line.strip()[:60]!r}"
                )
    if broken:
        raise broken_rows(path, broken)


def _json(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}: line {error.lineno}: not JSON ({error.msg} at column {error.colno})"
        ) from None
    if not isinstance(rows, list):
        raise UserError(f"{path}: must hold a JSON list of rows, it holds a {type(rows).__name__}")
    yield from enumerate(rows, 1)


def _csv(path: Path) -> Iterator[tuple[int, Any]]:
    csv.field_size_limit(LONGEST_CELL)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.DictReader(stream)
        for row in reader:
            yield reader.line_num, row


def _parquet(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        rows = pq.read_table(path).to_pylist()
    except pa.ArrowInvalid as error:
        raise UserError(f"{path}: not a parquet file ({error})") from None
    yield from enumerate(rows, 1)


_READERS: dict[str, Callable[[Path], Iterator[tuple[int, Any]]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}


def _question_answer(row: Row) -> tuple[Any, Any]:
    return row["question"], row["answer"]


def _instruction(row: Row) -> tuple[Any, Any]:
    instruction, extra = row["instruction"], row.get("input") or ""
    if isinstance(instruction, str) and isinstance(extra, str) and extra.strip():
        instruction = f"{instruction}\n\n{extra}"
    return instruction, row["output"]


def _prompt_completion(row: Row) -> tuple[Any, Any]:
    return row["prompt"], row["completion"]


def _messages(row: Row) -> tuple[Any, Any]:
    messages = row["messages"]
    if not isinstance(messages, list) or not all(isinstance(message, Mapping) for message in messages):
        raise ValueError(f"messages must be a list of turns, found {type(messages).__name__}")
    roles = [message.get("role") for message in messages]
    if roles != ["user", "assistant"]:
        raise ValueError(f"messages must be one user turn and one assistant turn, found {roles}")
    return messages[0]["content"], messages[1]["content"]


SHAPES: dict[str, tuple[tuple[str, ...], Callable[[Row], tuple[Any, Any]]]] = {
    "question_answer": (("question", "answer"), _question_answer),
    "instruction": (("instruction", "output"), _instruction),
    "prompt_completion": (("prompt", "completion"), _prompt_completion),
    "messages": (("messages",), _messages),
}


def detect_shape(rows: Sequence[tuple[int, Any]], source: object) -> str:
    """The one shape whose columns the first row has."""
    first = rows[0][1]
    columns = list(first) if isinstance(first, Mapping) else []
    found = [name for name, (needed, _) in SHAPES.items() if all(column in columns for column in needed)]
    if len(found) == 1:
        return found[0]
    known = "; ".join(f"data.shape={name}: {', '.join(needed)}" for name, (needed, _) in SHAPES.items())
    what = f"fits several shapes ({', '.join(found)})" if found else "fits no known shape"
    raise UserError(
        f"{source}: columns {columns} {what}. Known are {known}. Rename the columns or choose data.shape"
    )


def without_empty(rows: Sequence[tuple[int, Any]], shape: str) -> tuple[list[tuple[int, Any]], list[int]]:
    """(rows that have a completion, line numbers of those that have none); anything else is left to `to_examples`."""
    needed, _ = SHAPES[shape]
    last = needed[-1]

    def empty(row: Any) -> bool:
        return isinstance(row, Mapping) and isinstance(row.get(last), str) and not row[last].strip()

    return [pair for pair in rows if not empty(pair[1])], [number for number, row in rows if empty(row)]


def to_examples(rows: Sequence[tuple[int, Any]], shape: str, source: Path | str, split: str) -> list[Example]:
    """Examples in file order, ids `<split>-<number from 0>`. Every broken row is named with its line."""
    needed, read = SHAPES[shape]
    examples, broken = [], []
    for position, (number, row) in enumerate(rows):
        problem, prompt, completion = _read(row, needed, read)
        if problem:
            broken.append(f"line {number}: {problem}")
        else:
            examples.append({"id": f"{split}-{position:06d}", "prompt": prompt, "completion": completion})
    if broken:
        raise broken_rows(source, broken)
    return examples


def _read(row: Any, needed: Sequence[str], read: Callable[[Row], tuple[Any, Any]]) -> tuple[str, str, str]:
    """(problem or '', prompt, completion)."""
    if not isinstance(row, Mapping):
        return f"must be an object, it is a {type(row).__name__}", "", ""
    absent = [column for column in needed if row.get(column) is None]
    if absent:
        return (
            f"column {absent[0]!r} is missing (the row has {', '.join(map(str, row)) or 'nothing'})",
            "",
            "",
        )
    try:
        prompt, completion = read(row)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        return str(error), "", ""
    for name, text in (("prompt", prompt), ("completion", completion)):
        if problem := _no_text(text):
            return f"the {name} {problem}", "", ""
    return "", prompt, completion


def _no_text(text: Any) -> str:
    """Why a value cannot be a prompt or a completion, or ''."""
    if not isinstance(text, str):
        return f"must be text, it is a {type(text).__name__}: {str(text)[:40]!r}"
    if not text.strip():
        return "is empty"
    if any("\ud800" <= character <= "\udfff" for character in text):
        return "holds half of a surrogate pair, which is no text"
    return ""


def broken_rows(source: Path | str, broken: list[str]) -> UserError:
    more = len(broken) - MOST_SHOWN
    shown = broken[:MOST_SHOWN] + ([f"... and {more} more"] if more > 0 else [])
    return listed(
        f"{source}: {len(broken)} broken rows; mend or remove them:",
        [f"{source}: {shown[0]}"] if len(broken) == 1 else shown,
    )
