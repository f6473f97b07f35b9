"""Exit codes of commands, without a traceback when the reader of a pipe is gone (`gip-exp --help | head -3`)."""

import os
import select
import sys
from collections.abc import Callable
from typing import NoReturn

READER_GONE = 128 + 13  # exit code of a command that SIGPIPE ended


def run_and_exit(command: Callable[[], int]) -> NoReturn:
    """Run `command` and exit with its code; a closed standard output is not an error."""
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
        # Python flushes once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = READER_GONE
    sys.exit(code)


def _reader_gone() -> bool:
    """Return whether standard output is a pipe or socket without a reader."""
    poll = select.poll()
    poll.register(sys.stdout, select.POLLOUT)
    return any(events & select.POLLERR for _, events in poll.poll(0))
