"""Work that several processes share, each with a GPU of its own: this process starts them with torchrun and watches.

    python -m torch.distributed.run --standalone --nproc-per-node N -m gip_exp.training.torchrun MODULE:FUNCTION FOLDER

is what it starts. `FOLDER/task.json` is handed to the function in every process; rank 0 tells of its progress in lines
of JSON on its output and leaves `FOLDER/outcome.json`, or `FOLDER/error.txt` with what a user can mend. The run itself
stays one process, so that the store's locks, W&B and every other stage know nothing of ranks. The processes end with
their owner, however it ends.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from gip_exp.errors import UserError
from gip_exp.llm import supervise
from gip_exp.storage.files import write_json, write_text

TASK, OUTCOME, ERROR, LOG = "task.json", "outcome.json", "error.txt", "processes.log"
TAIL = 2000  # characters of the log that an error shows

Event = Callable[[Mapping[str, Any]], None]
Work = Callable[
    [Mapping[str, Any], Event], Any
]  # a module's function: (task, where to tell of progress) -> outcome


def share(
    work: Work, task: Mapping[str, Any], *, processes: int, folder: Path, tell: Event = lambda _: None
) -> Any:
    """`work(task, tell)` in `processes` processes that share it; what rank 0 returned."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in (OUTCOME, ERROR):
        (folder / old).unlink(missing_ok=True)
    write_json(folder / TASK, task)
    with (folder / LOG).open("ab") as errors:
        process = subprocess.Popen(
            _command(place_of(work), folder, processes),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(),
            start_new_session=True,  # Ctrl-C reaches this process alone, which then ends the others in order
        )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(b'{"'):
                tell(json.loads(line))
        status = process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if (folder / ERROR).exists():
        raise UserError((folder / ERROR).read_text(encoding="utf-8"))
    if status != 0:
        tail = (folder / LOG).read_bytes()[-TAIL:].decode("utf-8", "replace")
        raise RuntimeError(f"{place_of(work)} in {processes} processes ended with status {status}:\n{tail}")
    return json.loads((folder / OUTCOME).read_text(encoding="utf-8"))


def _command(name: str, folder: Path, processes: int) -> list[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    watched = [sys.executable, "-P", supervise.__file__, str(os.getpid()), "--"]
    return [*watched, *torchrun, "--nproc-per-node", str(processes), "-m", __name__, name, str(folder)]


def place_of(function: Callable[..., Any]) -> str:
    """`module:name` of a module's function."""
    return f"{function.__module__}:{function.__qualname__}"


def function_at(name: str) -> Any:
    """The function that `place_of` names, of this project: a task lies in a folder that others may be able to write."""
    module, _, function = name.partition(":")
    if not module.startswith("gip_exp."):
        raise ValueError(f"{name} is no function of gip_exp")
    return getattr(import_module(module), function)


def _environment() -> dict[str, str]:
    """This process's, with its own import path: torchrun's processes start with `-m`, which prefers the current folder."""
    paths = os.pathsep.join(filter(None, sys.path))
    return {"GLOO_SOCKET_IFNAME": "lo", **os.environ, "PYTHONPATH": paths, "PYTHONSAFEPATH": "1"}


def main(name: str, folder: Path) -> None:
    """One rank's share of the task."""
    from gip_exp.quiet import quiet_libraries

    quiet_libraries()
    supervise.die_with_parent()
    first = os.environ["RANK"] == "0"
    values = json.loads((folder / TASK).read_text(encoding="utf-8"))
    try:
        outcome = function_at(name)(values, _say if first else lambda _: None)
    except UserError as error:
        write_text(folder / ERROR, str(error))  # several ranks say the same
        sys.exit(2)
    if first:
        write_json(folder / OUTCOME, outcome)


def _say(event: Mapping[str, Any]) -> None:
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
