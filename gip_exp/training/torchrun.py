"""Run a function in several processes, each with its own GPU, by starting torchrun.

    python -m torch.distributed.run --standalone --nproc-per-node N -m gip_exp.training.torchrun MODULE:FUNCTION FOLDER

In a SLURM job of several nodes, a stage may ask for all of them: `srun` then starts one torchrun per node.

Every process reads the arguments from `FOLDER/task.json`. Rank 0 reports progress as lines of JSON on standard output and
writes `FOLDER/outcome.json`, or `FOLDER/error.txt` for an error the user can fix. The run itself remains one process, so
the store's locks, W&B and the other stages do not deal with ranks. The processes end when the process that started them
ends, for any reason.
"""

import json
import os
import secrets
import socket
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
TAIL = 2000  # bytes of the log shown in an error

Event = Callable[[Mapping[str, Any]], None]
Work = Callable[[Mapping[str, Any], Event], Any]  # function of a module: (task, report) -> outcome


def run_in_processes(
    work: Work,
    task: Mapping[str, Any],
    *,
    processes: int,
    folder: Path,
    report: Event = lambda _: None,
    nodes: int = 1,
) -> Any:
    """Run `work(task, report)` in several processes.

    Args:
        work: A function of a module of `gip_exp`.
        task: Its first argument, as JSON values.
        processes: Number of processes, a multiple of `nodes`.
        folder: Folder of the files that the processes exchange; with several nodes, on a file system that they share.
        report: Called with the events that rank 0 reports.
        nodes: Nodes of this SLURM job to run on; 1 runs on this machine.

    Returns:
        What rank 0 returned.

    Raises:
        UserError: a process raised it.
        RuntimeError: a process failed otherwise.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for old in (OUTCOME, ERROR):
        (folder / old).unlink(missing_ok=True)
    write_json(folder / TASK, task)
    with (folder / LOG).open("ab") as errors:
        process = subprocess.Popen(
            _command(qualified_name(work), folder, processes, nodes),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=_environment(processes, nodes),
            start_new_session=True,  # Ctrl-C reaches only this process, which then ends the others
        )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(b'{"'):
                report(json.loads(line))
        status = process.wait()
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if (folder / ERROR).exists():
        raise UserError((folder / ERROR).read_text(encoding="utf-8"))
    if status != 0:
        tail = (folder / LOG).read_bytes()[-TAIL:].decode("utf-8", "replace")
        raise RuntimeError(
            f"{qualified_name(work)} in {processes} processes ended with status {status}:\n{tail}"
        )
    return json.loads((folder / OUTCOME).read_text(encoding="utf-8"))


def _command(name: str, folder: Path, processes: int, nodes: int) -> list[str]:
    watched = [sys.executable, "-P", supervise.__file__, str(os.getpid()), "--"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes // nodes)]
    work = ["-m", __name__, name, str(folder)]
    if nodes == 1:
        return [*watched, *torchrun, "--standalone", "--local-addr", "127.0.0.1", *work]
    srun = ["srun", f"--nodes={nodes}", f"--ntasks={nodes}", "--ntasks-per-node=1", "--kill-on-bad-exit=1"]
    if cores := os.environ.get("SLURM_CPUS_PER_TASK"):
        srun.append(f"--cpus-per-task={cores}")  # srun does not take it from the job
    meeting = [f"--rdzv-endpoint={socket.gethostname()}:{_free_port()}", f"--rdzv-id={secrets.token_hex(8)}"]
    return [*watched, *srun, *torchrun, f"--nnodes={nodes}", "--rdzv-backend=c10d", *meeting, *work]


def _free_port() -> int:
    """Return a port that is free on all interfaces of this machine now."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        return int(probe.getsockname()[1])


def qualified_name(function: Callable[..., Any]) -> str:
    """Return `module:name` of a function."""
    return f"{function.__module__}:{function.__qualname__}"


def resolve(name: str) -> Any:
    """Import the function `module:name` of this project; no others, because other users may be able to edit the task."""
    module, _, function = name.partition(":")
    if not module.startswith("gip_exp."):
        raise ValueError(f"{name} is not a function of gip_exp")
    return getattr(import_module(module), function)


def _environment(processes: int, nodes: int) -> dict[str, str]:
    """Return this process's environment with its import path; `-m` would search the current folder first.

    The processors are divided among the processes of a machine; torchrun would give one to each.
    """
    paths = os.pathsep.join(filter(None, sys.path))
    own = {"OMP_NUM_THREADS": str(max(1, len(os.sched_getaffinity(0)) * nodes // processes))}
    if nodes == 1:
        own["GLOO_SOCKET_IFNAME"] = "lo"
    return {**own, **os.environ, "PYTHONPATH": paths, "PYTHONSAFEPATH": "1"}


def main(name: str, folder: Path) -> None:
    """Run the task in one rank."""
    from gip_exp.quiet import quiet_libraries

    quiet_libraries()
    supervise.die_with_parent()
    first = os.environ["RANK"] == "0"
    values = json.loads((folder / TASK).read_text(encoding="utf-8"))
    try:
        outcome = resolve(name)(values, _print_event if first else lambda _: None)
    except UserError as error:
        write_text(folder / ERROR, str(error))  # the same in all ranks
        sys.exit(2)
    if first:
        write_json(folder / OUTCOME, outcome)


def _print_event(event: Mapping[str, Any]) -> None:
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
