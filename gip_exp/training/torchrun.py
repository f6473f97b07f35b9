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
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from gip_exp.config.train import LoraTrain
from gip_exp.errors import UserError
from gip_exp.llm import supervise
from gip_exp.models.device import Machine
from gip_exp.storage.files import write_json, write_text
from gip_exp.training.finetune import Figures, Finetuned, Task, work

TASK, OUTCOME, ERROR, LOG = "task.json", "outcome.json", "error.txt", "processes.log"
TAIL = 2000  # characters of the log that an error shows

Event = Callable[[Mapping[str, Any]], None]
Work = Callable[
    [Mapping[str, Any], Event], Any
]  # a module's function: (task, where to tell of progress) -> outcome


def finetune_in_processes(task: Task, *, on_step: Callable[[int, int, str], None], log: Figures) -> Finetuned:
    """`finetune.work` in `train.processes` processes. Raises UserError as that does, RuntimeError when one dies."""

    def tell(event: Mapping[str, Any]) -> None:
        if "step" in event:
            on_step(event["step"], event["total"], event["note"])
        else:
            log(dict(event))

    outcome = share(_finetune, _as_json(task), processes=task.train.processes, folder=task.folder, tell=tell)
    return Finetuned(outcome["history"], outcome["figures"])


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
            _command(_name(work), folder, processes),
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
        raise RuntimeError(f"{_name(work)} in {processes} processes ended with status {status}:\n{tail}")
    return json.loads((folder / OUTCOME).read_text(encoding="utf-8"))


def _command(name: str, folder: Path, processes: int) -> list[str]:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    watched = [sys.executable, "-P", supervise.__file__, str(os.getpid()), "--"]
    return [*watched, *torchrun, "--nproc-per-node", str(processes), "-m", __name__, name, str(folder)]


def _name(function: Callable[..., Any]) -> str:
    return f"{function.__module__}:{function.__qualname__}"


def _named(name: str) -> Any:
    """A function of this project: a task lies in a folder that others may be able to write."""
    module, _, function = name.partition(":")
    if not module.startswith("gip_exp."):
        raise ValueError(f"{name} is no function of gip_exp")
    return getattr(import_module(module), function)


def _environment() -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])  # of this project, wherever the run was started from
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"GLOO_SOCKET_IFNAME": "lo", **os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def _as_json(task: Task) -> dict[str, Any]:
    return {
        "rows": task.rows,
        "train": task.train.model_dump(mode="json"),
        "machine": asdict(task.machine),
        "folder": str(task.folder),
        "adapter": None if task.adapter is None else str(task.adapter),
        "save_every": task.save_every,
        "keep_all": task.keep_all,
        "on_save": None if task.on_save is None else _name(task.on_save),
    }


def _from_json(values: Mapping[str, Any]) -> Task:
    return Task(
        rows=values["rows"],
        train=LoraTrain.model_validate(values["train"]),
        machine=Machine(**values["machine"]),
        folder=Path(values["folder"]),
        adapter=None if values["adapter"] is None else Path(values["adapter"]),
        save_every=values["save_every"],
        keep_all=values["keep_all"],
        on_save=None if values["on_save"] is None else _named(values["on_save"]),
    )


def _finetune(values: Mapping[str, Any], tell: Event) -> Any:
    done = work(
        _from_json(values),
        on_step=lambda step, total, note: tell({"step": step, "total": total, "note": note}),
        log=tell,
    )
    return asdict(done)


def main(name: str, folder: Path) -> None:
    """One rank's share of the task."""
    from gip_exp.quiet import quiet_libraries

    quiet_libraries()
    supervise.die_with_parent()
    first = os.environ["RANK"] == "0"
    values = json.loads((folder / TASK).read_text(encoding="utf-8"))
    try:
        outcome = _named(name)(values, _say if first else lambda _: None)
    except UserError as error:
        write_text(folder / ERROR, str(error))  # several ranks say the same
        sys.exit(2)
    if first:
        write_json(folder / OUTCOME, outcome)


def _say(event: Mapping[str, Any]) -> None:
    print(json.dumps(event), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
