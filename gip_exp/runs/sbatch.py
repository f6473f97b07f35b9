"""Submitting jobs with `sbatch`, and the limits of a cluster on them.

What sbatch writes when it refuses a job is matched with what the user can do; the words are those of SLURM 22.05's
sbatch and controller.
"""

import getpass
import subprocess
from collections.abc import Mapping, Sequence

from gip_exp.redaction import redact, secrets_in_environment
from gip_exp.runs import slurm

SECONDS = 180  # timeout of sbatch, which waits and tries again by itself if the controller is busy
DEFAULT_ARRAY = 1001  # SLURM's default of MaxArraySize
# Part of sbatch's message -> what to do about it; {node} is CPU or GPU. The first that occurs counts.
REMEDIES = {
    "contact slurm controller": "SLURM's controller is down or restarts: repeat the command later",
    "invalid account": "set GIP_ACCOUNT to an account, and GIP_{node}_PARTITION to a partition that it may use "
    "(sacctmgr show associations user=$USER format=account,partition,qos)",
    "invalid partition": "set GIP_{node}_PARTITION to one of the partitions that `sinfo -s` lists",
    "permission denied": "the partition or account is not open to you: set GIP_{node}_PARTITION, GIP_ACCOUNT",
    "not permitted to use": "the partition is not open to you: set GIP_{node}_PARTITION, GIP_ACCOUNT",
    "invalid qos": "set GIP_QOS to one that `sacctmgr show associations user=$USER format=account,qos` lists",
    "generic resource": "the cluster has no such GPUs: set GIP_GPUS to a number or type:number (sinfo -o '%P %G' lists "
    "them), or GIP_GPUS=0 for none",
    "memory specification": "no node has that much memory: set GIP_MEM_GB, or --mem in GIP_{node}_ARGS (sinfo -o '%P %m')",
    # Said of too much memory as well, where the cluster enforces the limits of its partitions.
    "more processors": "no node has that many CPUs or that much memory (the scripts ask for 4 CPUs, for training 8): set "
    "GIP_CPUS and GIP_MEM_GB, or --cpus-per-task and --mem in GIP_{node}_ARGS (sinfo -o '%P %c %m')",
    "requested node configuration": "no node of the partition has what GIP_GPUS, GIP_CPUS, GIP_MEM_GB and "
    "GIP_{node}_ARGS ask for: compare sinfo -o '%P %c %m %G'",
    "partition not available": "the partition takes no jobs now (sinfo -s): set GIP_{node}_PARTITION to another one, or "
    "repeat the command later",
    "invalid job array": "the cluster takes shorter arrays than its MaxArraySize (scontrol show config) says",
    "submit limit": "the limit on queued jobs is reached: repeat the command when some have ended, or give --max-jobs N",
    "time limit": "the partition or account allows less time (the scripts ask for 4 h, for training 12 h): set "
    "GIP_MINUTES, or --time in GIP_{node}_ARGS (sinfo -s)",
    "invalid feature": "no node has the feature that GIP_CONSTRAINT, or --constraint in GIP_{node}_ARGS, asks for "
    "(sinfo -o '%P %f')",
    "unrecognized option": "GIP_{node}_ARGS must hold options of sbatch (sbatch --help)",
    "unable to open file": "the script is not readable: install the package again, or repair the checkout",
    "dependency": "the job that this waits for is no longer known to SLURM: repeat the command",
    "authentication": "munge does not run on this machine, or has another key: ask the administrator",
    "configuration": "this machine is not set up for the cluster: use a login node",
    "command not found": "this machine is not set up for the cluster: use a login node",
    **dict.fromkeys(
        ("specification", "reservation", "invalid node name"),
        "correct the option in GIP_{node}_ARGS (sbatch --help)",
    ),
}
OTHERWISE = "see man sbatch; the options come from GIP_{node}_ARGS and the other variables in slurm/README.md"


class RefusedError(Exception):
    """sbatch refused a job; the message is sbatch's own."""

    def remedy(self, node: str) -> str:
        """Return what the user can do, for a job on nodes of kind `node` (cpu or gpu)."""
        said = str(self).lower()
        found = next((text for part, text in REMEDIES.items() if part in said), OTHERWISE)
        return found.format(node=node.upper())


class NoReplyError(Exception):
    """sbatch did not answer in time, so it is not known whether the job is queued."""


def submit(arguments: Sequence[str], environment: Mapping[str, str]) -> str:
    """Call sbatch; return the job's id.

    Args:
        arguments: Its arguments, without `--parsable`.
        environment: Environment of sbatch, which it passes on to the job.

    Raises:
        RefusedError: sbatch refused the job.
        NoReplyError: it did not answer.
    """
    command = ["sbatch", "--parsable", *arguments]
    try:
        done = subprocess.run(
            command, env=dict(environment), capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise NoReplyError(f"sbatch did not answer within {SECONDS} s") from None
    except FileNotFoundError:
        raise RefusedError("sbatch: command not found") from None
    except OSError as error:
        raise RefusedError(f"sbatch: {error.strerror or error}") from None
    job = done.stdout.strip().partition(";")[0]  # the name of the cluster follows if there are several
    if done.returncode or not job.isdigit():
        lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        message = "; ".join(dict.fromkeys(lines)) or f"sbatch printed no job id (exit code {done.returncode})"
        raise RefusedError(redact(message, secrets_in_environment()))
    return job


def max_array_size() -> int:
    """Return one more than the largest number of a task in an array. Raises slurm.NoAnswerError."""
    for line in slurm.query("scontrol", "show", "config"):
        name, _, value = line.partition("=")
        if name.strip() == "MaxArraySize" and value.strip().isdigit():
            return max(1, int(value))
    return DEFAULT_ARRAY


def max_submit_jobs(account: str | None, qos: str | None) -> int | None:
    """Return the user's limit on queued jobs (array tasks count singly); None if there is none or no accounting.

    Of several associations the lowest limit counts.
    """
    ask = ("sacctmgr", "-n", "-P", "show")
    who = [f"user={getpass.getuser()}", *([f"account={account}"] if account else [])]
    try:
        own = [
            line.split("|")
            for line in slurm.query(*ask, "assoc", "where", *who, "format=MaxSubmit,DefaultQOS")
        ]
        names = {qos} if qos else {row[1] for row in own if len(row) > 1}
        of_qos = [line.split("|") for line in slurm.query(*ask, "qos", "format=Name,MaxSubmitPU")]
    except slurm.NoAnswerError:  # most often a cluster without accounting, which has no such limits
        return None
    limits = [row[0] for row in own] + [row[1] for row in of_qos if len(row) > 1 and row[0] in names]
    return min((int(limit) for limit in limits if limit.isdigit()), default=None)


def queued_jobs() -> int:
    """Return how many of the user's jobs are queued or running. Raises slurm.NoAnswerError."""
    return len(slurm.query("squeue", "-h", "-r", "-o", "%i", "-u", getpass.getuser()))


def named(name: str) -> str:
    """Return the id of the array whose jobs have this name, or '' if SLURM knows none. Raises slurm.NoAnswerError."""
    lines = slurm.query("squeue", "-h", "-t", "all", "-o", "%F", "-n", name)
    return lines[0].strip() if lines else ""
