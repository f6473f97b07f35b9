"""Errors the user can fix. Everything else is a bug and keeps its traceback."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

# Control characters except line break and tab, marks that change the direction of text, halves of surrogate pairs.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Escape control characters (`\x1b`), which could hide text on a terminal or in a log, and what no file can hold."""
    return _CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


class UserError(Exception):
    """An error the user can fix: what is wrong (key or row, value), what is allowed, what to do.

    Shown without a traceback; exit code 2.
    """

    def __str__(self) -> str:
        return printable(super().__str__())  # may quote data or a model's reply


class Answered(UserError):  # noqa: N818 - no error, but an end of the run
    """A question that was answered instead of running on (`judge.dry_run=true`); exit code 0."""


def listed(title: str, problems: Sequence[str]) -> UserError:
    """Return one error that lists all `problems`, so that they can be fixed together."""
    if len(problems) == 1:
        return UserError(problems[0])
    lines = "\n".join(f"  {i}. {problem}" for i, problem in enumerate(problems, 1))
    return UserError(f"{title}\n{lines}")


@contextmanager
def as_user_errors() -> Iterator[None]:
    """Convert ValueError, which `selection`, `baselines` and `eval` raise for bad arguments, to UserError."""
    try:
        yield
    except ValueError as error:
        raise UserError(str(error)) from error
