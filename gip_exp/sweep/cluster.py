"""The user's settings of a cluster (`GIP_...` variables) and the options and environment that sbatch gets from them."""

import difflib
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from gip_exp.errors import UserError
from gip_exp.import_path import ROOT

Node = Literal["cpu", "gpu"]
GPUS = re.compile(r"(?:[A-Za-z][\w.-]*:)?\d+")  # 2, a100:2
GPU_OPTIONS = ("--gpus", "--gres", "-G")  # with one of these in GIP_GPU_ARGS, the user chooses the GPUs
NUMBERS = (("GIP_MINUTES", "time", ""), ("GIP_CPUS", "cpus-per-task", ""), ("GIP_MEM_GB", "mem", "G"))
NAMES = (
    "GIP_ACCOUNT GIP_QOS GIP_PARTITION GIP_CPU_PARTITION GIP_GPU_PARTITION GIP_GPUS GIP_CPU_ARGS GIP_GPU_ARGS GIP_PARALLEL "
    "GIP_PYTHON GIP_DEPENDENCY GIP_CONSTRAINT GIP_MINUTES GIP_CPUS GIP_MEM_GB"
).split()
# sbatch's options that `submit` sets, and those with which sbatch submits nothing or something else. The user's options
# win over ours, so that another array would run other runs, and another name would hide the jobs from the next call.
OWN = ("array", "job-name", "output", "dependency", "kill-on-invalid-dep", "parsable", "wrap", "test-only")
OWN_SHORT = ("a", "J", "o", "d")
# With SBATCH_EXPORT=NONE only these are passed on: what Python, the hub, W&B and judges read.
PASSED_ON = re.compile(r"PATH|HOME|USER|LANG|LC_\w+|LD_LIBRARY_PATH|PYTHON\w+|VIRTUAL_ENV|CONDA_\w+|CUDA_\w+|OMP_\w+|TMPDIR|"
    r"(?:HF|WANDB|GIP|VLLM|OPENAI|TRANSFORMERS|TORCH|NCCL|GLOO)_\w+|\w+_API_KEY|\w+_TOKEN|\w+_proxy|\w+_PROXY")  # fmt: skip


@dataclass(frozen=True)
class Cluster:
    """The settings, checked.

    Attributes:
        account: account, if any.
        qos: quality of service, if any.
        partitions: partition of CPU and of GPU nodes, if not the cluster's default.
        extra: further sbatch options for either kind of node.
        common: options for both kinds of node.
        gpus: GPUs per task of a GPU node, as SLURM writes them (`2`, `a100:2`); None: what the runs need.
        at_once: tasks that may run at once, or None for all.
        dependency: how training waits for the selection.
        python: interpreter of the jobs.
    """

    account: str | None
    qos: str | None
    partitions: Mapping[Node, str | None]
    common: list[str]
    extra: Mapping[Node, list[str]]
    gpus: str | None
    at_once: int | None
    dependency: str
    python: str

    def options(self, node: Node, needed: int) -> list[str]:
        """Return sbatch's options for jobs on a kind of node; `needed` is the number of GPUs that a run uses."""
        named = {"account": self.account, "qos": self.qos, "partition": self.partitions[node]}
        options = [f"--{name}={value}" for name, value in named.items() if value]
        gpus = self.gpus or str(needed)
        chosen = any(option.startswith(GPU_OPTIONS) for option in self.extra["gpu"])
        if node == "gpu" and gpus != "0" and (self.gpus or not chosen):
            options += ["--nodes=1", f"--gpus={gpus}"]
        return [*options, *self.common, *self.extra[node]]


def cluster(environment: Mapping[str, str]) -> Cluster:
    """Read the settings. Raises UserError that names each wrong variable."""
    given = {name: value.strip() for name, value in environment.items() if name.startswith("GIP_")}
    for name in given.keys() - set(NAMES):
        if meant := difflib.get_close_matches(name, NAMES, n=1, cutoff=0.8):
            raise UserError(f"{name} is not a setting of the cluster; do you mean {meant[0]}?")
    gpus, at_once = given.get("GIP_GPUS") or None, given.get("GIP_PARALLEL") or None
    dependency = given.get("GIP_DEPENDENCY") or "aftercorr"
    if gpus and not GPUS.fullmatch(gpus):
        raise UserError(f"GIP_GPUS={gpus} must be a number, or type:number, e.g. 2 or a100:2")
    if at_once and not (at_once.isdigit() and int(at_once) > 0):
        raise UserError(f"GIP_PARALLEL={at_once} must be a number of tasks above 0")
    if dependency not in ("aftercorr", "afterok"):
        raise UserError(
            f"GIP_DEPENDENCY={dependency} must be aftercorr (run by run) or afterok (the whole array)"
        )
    return Cluster(
        account=given.get("GIP_ACCOUNT") or None,
        qos=given.get("GIP_QOS") or None,
        partitions={
            "cpu": given.get("GIP_CPU_PARTITION") or given.get("GIP_PARTITION") or None,
            "gpu": given.get("GIP_GPU_PARTITION") or given.get("GIP_PARTITION") or None,
        },
        common=_common(given),
        extra={"cpu": _split(given, "GIP_CPU_ARGS"), "gpu": _split(given, "GIP_GPU_ARGS")},
        gpus=gpus,
        at_once=int(at_once) if at_once else None,
        dependency=dependency,
        python=given.get("GIP_PYTHON") or sys.executable,
    )


def _common(given: Mapping[str, str]) -> list[str]:
    """Return the options for both kinds of node, which have variables of their own."""
    options = []
    for name, option, unit in NUMBERS:
        value = given.get(name)
        if value and not (value.isdigit() and int(value) > 0):
            raise UserError(f"{name}={value} must be a whole number above 0")
        options += [f"--{option}={value}{unit}"] if value else []
    constraint = given.get("GIP_CONSTRAINT")
    return [*options, *([f"--constraint={constraint}"] if constraint else [])]


def _split(given: Mapping[str, str], name: str) -> list[str]:
    try:
        options = shlex.split(given.get(name, ""))
    except ValueError as error:
        raise UserError(f"{name}={given[name]}: {error}; quote it as in a shell") from None
    for option in options:
        if option.startswith(tuple(f"-{letter}" for letter in OWN_SHORT)) or (
            option.startswith("--") and option[2:].partition("=")[0] in OWN
        ):
            raise UserError(f"{name}={given[name]}: gip-exp submit sets {option} itself; leave it out")
    return options


def job_environment(environment: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Return sbatch's environment and the variables that it has to name, if the site passes none on by itself.

    From a checkout, the jobs import this checkout wherever they start.
    """
    passed = dict(environment)
    if (ROOT / "pyproject.toml").is_file():
        passed["PYTHONPATH"] = ":".join(filter(None, [str(ROOT), environment.get("PYTHONPATH", "")]))
    if environment.get("SBATCH_EXPORT", "ALL") == "ALL":
        return passed, []
    return passed, sorted(name for name in passed if PASSED_ON.fullmatch(name))
