"""The end of a command: its exit code, and silence where the reader of a pipe has gone (`gip-exp --help | head -3`)."""

import os
import select
import sys
from collections.abc import Callable
from typing import NoReturn

READER_GONE = 128 + 13  # what a shell reports for a command that SIGPIPE ended


def leave(command: Callable[[], int]) -> NoReturn:
    """Run `command` and exit with its code. A standard output that nobody reads any more is no error of the command."""
    code: int | str | None
    try:
        try:
            code = command()
        except SystemExit as end:  # argparse
            code = end.code
        sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_gone():
            raise  # another pipe or socket
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # Python flushes once more when it exits
        code = READER_GONE
    sys.exit(code)


def _reader_gone() -> bool:
    """Whether standard output is a pipe or socket without a reader."""
    poll = select.poll()
    poll.register(sys.stdout, select.POLLOUT)
    return any(events & select.POLLERR for _, events in poll.poll(0))
