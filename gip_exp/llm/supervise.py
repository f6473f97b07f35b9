"""The process between a managed server and its owner: `python supervise.py OWNER_PID -- COMMAND`.

An owner that is killed cannot clean up. This process waits for the end of the server, a signal to itself, or the end
of its owner (it then has another parent). In the last two cases it ends the server's process group, which it started:
SIGTERM first, SIGKILL after 10 s. If it is killed itself, the kernel kills the server, and a second process, which
waits for that, kills the rest of the group (vLLM's engines). Standard library only, so that it starts fast.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time

POLL_S = 0.25
_GRACE_S = 10.0
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Run the command until it ends or has to be ended; return its exit status."""
    owner, command = int(arguments[0]), arguments[2:]
    stop: list[int] = []
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: stop.append(received))
    # preexec_fn is safe here: this process has one thread.
    hook = die_with_parent
    child = subprocess.Popen(command, start_new_session=True, preexec_fn=hook)  # noqa: PLW1509
    guard = guarding(child.pid)
    while child.poll() is None and not stop and os.getppid() == owner:
        time.sleep(POLL_S)
    if child.poll() is None:
        end_group(child, _GRACE_S)
    kill_group(child.pid)  # workers that outlived the server
    os.write(guard, b"done")
    status = child.wait()
    return status if status >= 0 else 128 - status  # a signal, as a shell reports it


def guarding(group: int) -> int:
    """Start a process that kills `group` once this one is gone; returns the pipe by which to tell it not to."""
    told, tell = os.pipe()
    if os.fork():  # safe here: this process has one thread
        os.close(told)
        return tell
    os.setsid()
    os.close(tell)
    if not os.read(told, 1):  # the other end is closed by the death of its process alone
        kill_group(group)
    os._exit(0)


def end_group(child: subprocess.Popen[bytes], grace_s: float) -> None:
    """Terminate the child's process group, and kill it after `grace_s`."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(grace_s)
    except subprocess.TimeoutExpired:
        kill_group(child.pid)
        child.wait()


def kill_group(group: int) -> None:
    """Kill what is left of a process group, if anything."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def die_with_parent() -> None:
    """Called in the child: ask the kernel to kill it when the supervisor dies (Linux only)."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
