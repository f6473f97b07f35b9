"""Errors that a user can mend. Everything else is a bug and keeps its traceback."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

# Control characters but for line break and tab, and what turns the direction of text around.
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    r"""`text` for a terminal or a log: control characters, which move cursors and hide words, spelt out (`\x1b`)."""
    return _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


class UserError(Exception):
    """What is wrong (key or row, value), what is allowed, what to do. Shown without a traceback; exit code 2."""

    def __str__(self) -> str:
        return printable(super().__str__())  # it may repeat what stood in somebody's data or reply


def listed(title: str, problems: Sequence[str]) -> UserError:
    """One error for all `problems`, so that nobody mends them one run at a time."""
    if len(problems) == 1:
        return UserError(problems[0])
    lines = "\n".join(f"  {i}. {problem}" for i, problem in enumerate(problems, 1))
    return UserError(f"{title}\n{lines}")


@contextmanager
def as_user_errors() -> Iterator[None]:
    """The pure packages name a bad argument with ValueError: around a call to them, that is a user's error."""
    try:
        yield
    except ValueError as error:
        raise UserError(str(error)) from error
