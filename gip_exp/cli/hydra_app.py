"""Runs and sweeps composed by Hydra: the options of `hydra.main`, without the files it would write.

A sweep on this machine (`-m`) is expanded as in `gip_exp.plan`, composed as a whole and then run here. With
`hydra/launcher=slurm` it is planned and submitted (`gip_exp.launch`); with another launcher or sweeper (a plugin),
Hydra runs it.
"""

import shutil
import sys
import textwrap
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from importlib import import_module
from io import StringIO

import hydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gip_exp.errors import UserError

SLURM = "hydra/launcher=slurm"
_errors: list[UserError | OmegaConfBaseException] = []  # the error of a single run, if any


def run(arguments: Sequence[str]) -> int:
    """Run what the arguments of `hydra.main` ask for; return the exit code."""
    from hydra._internal.utils import get_args_parser

    # Hydra 1.3 takes overrides on one side of its options only; on the other they are an error of argparse.
    options = get_args_parser().parse_intermixed_args(arguments)
    own = [text for text in arguments if text not in options.overrides]
    sys.argv[1:] = [*own, *options.overrides]  # read by `hydra.main`
    if options.help:
        _print_help()
        return 0
    others = _hydra_overrides(options.overrides)
    if options.multirun and not others:
        from gip_exp.cli.run import run_sweep

        return run_sweep(options.overrides, options.config_dir)
    if SLURM in others:
        return _on_slurm(options.multirun, options.overrides, others, options.config_dir)
    _errors.clear()
    _with_hydra()
    if _errors:
        raise _errors.pop()
    return 0


def _hydra_overrides(overrides: Sequence[str]) -> list[str]:
    return [text for text in overrides if text.lstrip("+~").startswith(("hydra/", "hydra."))]


def _on_slurm(multirun: bool, overrides: Sequence[str], others: Sequence[str], config_dir: str | None) -> int:
    """Run a sweep on SLURM; return the exit code."""
    if not multirun:
        raise UserError(f"{SLURM} is for sweeps: add -m")
    if list(others) != [SLURM]:
        wrong = " ".join(text for text in others if text != SLURM)
        raise UserError(
            f"{wrong}: with {SLURM} the cluster's settings come from variables (GIP_PARTITION, GIP_MINUTES, ...; "
            "slurm/README.md)"
        )
    if not shutil.which("sbatch"):
        raise UserError(
            f"{SLURM} needs sbatch, which is not on the PATH: run the command on a machine with SLURM"
        )
    launch = import_module("gip_exp.launch")  # a command, which this module is part of
    return int(launch.main([text for text in overrides if text != SLURM], config_dir))


@hydra.main(config_path="pkg://conf", config_name="config", version_base="1.3")
def _with_hydra(composed: DictConfig) -> None:
    """Run one config, in this process or in a launcher's job."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    try:
        from gip_exp.cli.run import run_composed

        values = OmegaConf.to_container(composed, resolve=True)
        assert isinstance(values, dict)
        run_composed({str(key): value for key, value in values.items()})
    except (UserError, OmegaConfBaseException) as error:
        job = HydraConfig.get()
        if job.mode == RunMode.MULTIRUN:  # the launcher must know which run failed
            raise UserError(f"in {' '.join(job.overrides.task)}: {error}") from error
        _errors.append(error)  # raised by `run`, because Hydra would print a line above the message


def _print_help() -> None:
    """Print the help of `conf/hydra/help/gip.yaml`, wrapped to the terminal (80 columns without one)."""
    width = shutil.get_terminal_size().columns
    text = StringIO()
    with redirect_stdout(text), suppress(SystemExit):
        _with_hydra()
    for line in text.getvalue().rstrip().splitlines():
        print(line if len(line) <= width else _wrapped(line, width))


def _wrapped(line: str, width: int) -> str:
    return textwrap.fill(
        line, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
    )
