"""Converting a cell of a row to text: texts, numbers, dates, lists of passages, the choices of a question.

Conversions of anything other than text are reported: `found` collects them, as the end of a sentence that begins with
"N of M rows".
"""

import datetime
import json
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from string import ascii_uppercase
from typing import Any

Found = dict[str, None]  # an ordered set of the special content of a row
_TEXTS, _LABELS = ("text", "texts", "choices", "content", "value"), ("label", "labels", "key", "id")


def is_missing(value: Any) -> bool:
    """Return whether a cell is empty: null, NaN, or pandas' missing values."""
    return (
        value is None
        or (isinstance(value, float | Decimal) and math.isnan(value))
        or type(value).__name__ in ("NAType", "NaTType")
    )


def is_scalar(value: Any) -> bool:
    """Return whether a value is text, a number, a date or missing."""
    return isinstance(value, str | int | float | Decimal | datetime.date | datetime.time) or is_missing(value)


def cell_text(column: str, value: Any, found: Found) -> str:
    """Return the text of a cell. Raises ValueError for lists and objects."""
    if is_missing(value):
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        found[f"hold bytes in column {column!r}, which are read as UTF-8 text"] = None
        return _decoded(column, value)
    if not is_scalar(value):
        raise ValueError(
            f"column {column!r} must be text, it is a {type(value).__name__}: {str(value)[:40]!r}"
        )
    found[f"hold a number (or date) in column {column!r}, which is read as its text"] = None
    return _scalar(value)


def _decoded(column: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise ValueError(
            f"column {column!r} must be text, its bytes are not UTF-8 (byte {error.start} is {value[error.start]:#x})"
        ) from None


def further_text(column: str, value: Any, found: Found) -> str:
    """Return the text of a further prompt column; of a list or an object the texts in it, one per line."""
    if is_scalar(value) or isinstance(value, bytes):
        return cell_text(column, value, found)
    found[f"hold a list or an object in column {column!r}, whose texts are joined"] = None
    return "\n".join(text for text in _leaves(value) if text.strip())


def choices_text(column: str, value: Any) -> str:
    """Return the choices of a question with their labels, one per line."""
    if isinstance(value, str) and not value.lstrip().startswith(("[", "{")):
        return value
    return "\n".join(f"{label}. {text}" for label, text in choices(column, value))


def choices(column: str, value: Any) -> list[tuple[str, str]]:
    """Read (label, text) of every choice; letters if there are no labels.

    Choices are a list of texts or of objects with a text, `{"text": [...], "label": [...]}`, `{"A": ..., "B": ...}`, or the
    JSON text of one of these.
    """
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            raise ValueError(f"column {column!r} must hold choices, it is text: {value[:40]!r}") from None
    if is_missing(value):
        return []
    labels: list[Any] = []
    if isinstance(value, Mapping):
        texts = _first(value, _TEXTS)
        if isinstance(texts, list):
            labels, value = _first(value, _LABELS) or [], texts
        else:
            labels, value = list(value), list(value.values())
    if not isinstance(value, list):
        raise ValueError(f"column {column!r} must hold a list of choices, it is a {type(value).__name__}")
    if not labels and all(isinstance(choice, Mapping) for choice in value):
        labels = [_first(choice, _LABELS) for choice in value]
        value = [_first(choice, _TEXTS) for choice in value]
    if not all(map(is_scalar, value)):
        raise ValueError(f"column {column!r} must hold choices as texts: {str(value)[:40]!r}")
    own = [_scalar(label) for label in labels] if isinstance(labels, list) else []
    if len(own) != len(value) or not all(own):
        own = [ascii_uppercase[i] if i < len(ascii_uppercase) else str(i + 1) for i in range(len(value))]
    return [(label, _scalar(text)) for label, text in zip(own, value, strict=True)]


def answer_text(column: str, value: Any, found: Found, of: list[tuple[str, str]]) -> str:
    """Return the text of an answer: the first of several, or the choice in `of` with this index.

    Raises ValueError for other types, and for an index out of range.
    """
    if isinstance(value, Mapping) and _first(value, _TEXTS) is not None:
        value = _first(value, _TEXTS)
    if isinstance(value, list):
        if len({str(one) for one in value}) > 1:
            found[f"hold several answers in column {column!r}, of which the first is the completion"] = None
        value = value[0] if value else None
    numbered = isinstance(value, int) and not isinstance(value, bool)
    known = {text for choice in of for text in choice}
    if of and numbered and str(value) not in known:
        if not 0 <= value < len(of):
            raise ValueError(
                f"column {column!r} is {value}, which is not an index (from 0) of the row's {len(of)} choices"
            )
        found[
            f"give the answer in column {column!r} as an index from 0: the text of the choice is the completion"
        ] = None
        return of[value][1]
    return cell_text(column, value, found)


def _scalar(value: Any) -> str:
    if is_missing(value):
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return str(value)


def _first(mapping: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((mapping[name] for name in names if mapping.get(name) is not None), None)


def _leaves(value: Any) -> Iterator[str]:
    """Yield the texts of the scalars in lists and objects, depth first."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _leaves(item)
    elif is_scalar(value):
        yield _scalar(value)
