"""A real single-node SLURM (munged, slurmctld, slurmd) in a temporary folder, stopped by its own processes' ids."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "srun")

CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={slurmd_port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SwitchType=switch/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
ReturnToService=2
EnforcePartLimits=ALL
KillWait=30
SchedulerParameters=sched_interval=2,sched_min_interval=0,batch_sched_delay=0,bf_interval=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=4000 State=UNKNOWN
PartitionName=work Nodes={host} Default=YES MaxTime=INFINITE State=UP PreemptMode=REQUEUE
PartitionName=short Nodes={host} MaxTime=60 State=UP PreemptMode=REQUEUE
MaxArraySize={max_array_size}
"""


def missing() -> str:
    """Why SLURM cannot be started here, or ''."""
    absent = [program for program in PROGRAMS if not find(program)]
    return (
        f"SLURM is not installed ({', '.join(absent)} missing): apt-get install slurm-wlm munge"
        if absent
        else ""
    )


def find(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


class Cluster(dict[str, str]):
    """The variables under which SLURM's commands reach the cluster, and its controller."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        super().__init__(SLURM_CONF=str(folder / "slurm.conf"))
        self.node = socket.gethostname().split(".")[0]
        self._folder, self._stack = folder, stack

    def start_controller(self) -> None:
        self._controller = _start(self._stack, ["slurmctld", "-D"], self._folder, self)

    def stop_controller(self) -> None:
        _stop(self._controller)

    def ask(self, *command: str) -> str:
        return _ask(list(command), self)


def free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


@contextmanager
def cluster(folder: Path, cpus: int, max_array_size: int = 11) -> Iterator[Cluster]:
    """The environment in which SLURM's commands reach the cluster; everything is ended with the block.

    Arrays are small, so that a plan of a dozen runs must be cut.
    """
    folder.chmod(0o755)  # munge refuses a socket below a folder that others may write
    for name in ("state", "spool"):
        (folder / name).mkdir()
    host = socket.gethostname().split(".")[0]
    ctld_port, slurmd_port = free_ports(2)
    text = CONF.format(
        host=host,
        folder=folder,
        user=getpass.getuser(),
        cpus=cpus,
        ctld_port=ctld_port,
        slurmd_port=slurmd_port,
        max_array_size=max_array_size,
    )
    (folder / "slurm.conf").write_text(text)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    with ExitStack() as stack:
        environment = Cluster(folder, stack)
        munge = [f"--socket={folder}/munge.socket", f"--key-file={key}", f"--pid-file={folder}/munged.pid"]
        munge += [f"--log-file={folder}/munged.log", f"--seed-file={folder}/munged.seed", "--num-threads=2"]
        _start(stack, ["munged", "--foreground", "--force", *munge], folder, environment)
        _until(lambda: (folder / "munge.socket").exists(), "munged")
        environment.start_controller()
        _start(stack, ["slurmd", "-D", "-N", host], folder, environment)
        _until(lambda: "idle" in _ask(["sinfo", "-h", "-o", "%T"], environment), "slurmctld and slurmd")
        try:
            yield environment
        finally:  # jobs outlive slurmd
            _ask(["scancel", "--user", getpass.getuser()], environment)
            _until(lambda: not _ask(["squeue", "-h"], environment).strip(), "the end of all jobs")


def _start(
    stack: ExitStack, command: list[str], folder: Path, environment: dict[str, str]
) -> subprocess.Popen:
    program = find(command[0])
    log = stack.enter_context((folder / f"{command[0]}.out").open("a"))
    process = subprocess.Popen(
        [program, *command[1:]], env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT
    )
    stack.callback(_stop, process)
    return process


def _stop(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _ask(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=20
    )
    return done.stdout


def _until(true, what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what} did not start within {seconds:.0f} s"
        time.sleep(0.1)
