"""Runs and sweeps composed by Hydra: the options of `hydra.main`, without the files it would write.

A sweep on this machine (`-m`) is expanded as `gip_exp.plan` expands it, checked whole and then run here. Another
launcher or sweeper (`hydra/launcher=slurm`, a plugin's) is Hydra's own business.
"""

import shutil
import sys
import textwrap
from collections.abc import Sequence
from contextlib import redirect_stdout, suppress
from io import StringIO

import hydra
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gip_exp.errors import UserError

SLURM = "hydra/launcher=slurm"
_refused: list[UserError | OmegaConfBaseException] = []  # why this process's one run was refused; none or one


def run(arguments: Sequence[str]) -> int:
    """What `hydra.main` does with the arguments; the exit code."""
    from hydra._internal.utils import get_args_parser

    options = get_args_parser().parse_args(arguments)
    sys.argv[1:] = arguments  # where `hydra.main` reads them
    if options.help:
        _print_help()
        return 0
    others = _hydra_overrides(options.overrides)
    if options.multirun and not others:
        from gip_exp.cli.run import run_sweep

        return run_sweep(options.overrides, options.config_dir)
    if options.multirun and others == [SLURM]:
        _check_slurm(options.overrides, options.config_dir)
    _refused.clear()
    _with_hydra()
    if _refused:
        raise _refused.pop()
    return 0


def _hydra_overrides(overrides: Sequence[str]) -> list[str]:
    return [text for text in overrides if text.lstrip("+~").startswith(("hydra/", "hydra."))]


def _check_slurm(overrides: Sequence[str], config_dir: str | None) -> None:
    """Refuse a sweep before Hydra makes a folder for it."""
    from gip_exp.sweep import expand

    for _ in expand.compose(expand.expand(overrides, config_dir), config_dir):
        pass
    if not shutil.which("sbatch"):
        raise UserError(f"{SLURM} needs sbatch, which is not on the PATH: give the command where SLURM is")


@hydra.main(config_path="pkg://conf", config_name="config", version_base="1.3")
def _with_hydra(composed: DictConfig) -> None:
    """One run, here or in a launcher's job."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from gip_exp.cli.run import run_composed

    try:
        values = OmegaConf.to_container(composed, resolve=True)
        assert isinstance(values, dict)
        run_composed({str(key): value for key, value in values.items()})
    except (UserError, OmegaConfBaseException) as error:
        job = HydraConfig.get()
        if job.mode == RunMode.MULTIRUN:  # the launcher must know which run failed
            raise UserError(f"in {' '.join(job.overrides.task)}: {error}") from error
        _refused.append(error)  # raised by `run`: Hydra would print a line of its own above the message


def _print_help() -> None:
    """The help of `conf/hydra/help/gip.yaml`; lines wider than the terminal (80 columns without one) end at a word."""
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
