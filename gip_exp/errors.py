"""Errors that a user can mend. Everything else is a bug and keeps its traceback."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager


class UserError(Exception):
    """What is wrong (key or row, value), what is allowed, what to do. Shown without a traceback; exit code 2."""


def listed(title: str, problems: Sequence[str]) -> UserError:
    """One error for all `problems`, so that nobody mends them one run at a time."""
    if len(problems) == 1:
        return UserError(problems[0])
    lines = "\n".join(f"  {i}. {problem}" for i, problem in enumerate(problems, 1))
    return UserError(f"{title}\n{lines}")


@contextmanager
def mendable() -> Iterator[None]:
    """The pure packages name a bad argument with ValueError: around a call to them, that is a user's error."""
    try:
        yield
    except ValueError as error:
        raise UserError(str(error)) from error
