"""`python -m gip_exp +experiment=NAME [key=value ...]`: compose, run, show. Add `-m` to sweep over lists.

`python -m gip_exp --planned DIR/runs/NNN.yaml [until=select]` runs a run that `gip_exp.plan --write DIR` resolved.
"""

import os
import sys
from collections.abc import Sequence
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from gip_exp.errors import UserError
from gip_exp.leftovers import forget_sweep
from gip_exp.redaction import REMEDY, secret_arguments
from gip_exp.registry.selectors import register_installed

os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors reach the boundary below as they are
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@hydra.main(config_path="../conf", config_name="config", version_base="1.3")
def run(composed: DictConfig) -> None:
    """One run of the experiment. Its own failure is shown at once, so that a sweep's other runs go on."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode
    from omegaconf.errors import OmegaConfBaseException

    from gip_exp.cli.run import run_composed

    job = HydraConfig.get()
    swept = job.mode == RunMode.MULTIRUN
    try:
        values = OmegaConf.to_container(composed, resolve=True)
        assert isinstance(values, dict)
        run_composed(
            {str(key): value for key, value in values.items()}, " ".join(job.overrides.task) if swept else ""
        )
    except (UserError, OmegaConfBaseException) as error:
        if swept:
            raise  # the launcher must know which runs failed; Hydra then prints the run's overrides
        _leave(error)


def main() -> None:
    """The error boundary: what a user can mend becomes one message and exit code 2, a bug keeps its traceback."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from gip_exp.runs.lock import Stopped

    try:
        # Before Hydra sees them: it writes a sweep's arguments down and repeats those it cannot read.
        if places := secret_arguments(sys.argv[1:]):
            raise UserError(f"{', '.join(places)}: holds what looks like a secret; {REMEDY}")
        if not sys.argv[1:]:
            raise UserError("name an experiment, e.g. +experiment=quickstart; --help lists what there is")
        _check_options(sys.argv[1:])
        if sys.argv[1:2] == ["--planned"]:
            from gip_exp.cli.run import run_files

            sys.exit(run_files(sys.argv[2:]))
        sys.argv[1:] = [with_home(argument) for argument in sys.argv[1:]]
        register_installed(sys.argv[1:])
        run()
    except UserError as error:
        _leave(error)
    except (HydraException, OmegaConfBaseException) as error:
        _leave(error)
    except (ValueError, OSError) as error:
        if not _raised_by_hydra(error):
            raise
        _leave(error)
    except KeyboardInterrupt:
        print("stopped; finished stages are kept, the same command goes on from there", file=sys.stderr)
        sys.exit(130)
    except Stopped:
        print("stopped by SIGTERM; finished stages are kept, the same command goes on", file=sys.stderr)
        sys.exit(128 + 15)


def with_home(argument: str) -> str:
    """`key=~/...` with the home folder in full: shells leave the tilde there, and Hydra's grammar has none."""
    key, equals, value = argument.partition("=")
    return f"{key}={os.path.expanduser(value)}" if equals and value.startswith("~/") else argument


def _raised_by_hydra(error: BaseException) -> bool:
    """Whether Hydra itself failed while composing or preparing a sweep, and no code of a run was reached."""
    frame = error.__traceback__
    modules = []
    while frame is not None:
        modules.append(frame.tb_frame.f_globals.get("__name__", ""))
        frame = frame.tb_next
    return any(name.startswith("hydra.") for name in modules) and f"{__package__}.cli.run" not in modules


def _check_options(arguments: Sequence[str]) -> None:
    """Refuse config keys with dashes before them: Hydra takes --experiment for an abbreviation of an option of its own."""
    if any(text.startswith("--") and text != "--planned" for text in arguments):
        from gip_exp.cli.hydra_errors import dashes

        if wrong := dashes(arguments):
            raise UserError(wrong)


def _leave(error: Exception) -> Any:
    if getattr(error, "shown", None) != os.getpid():
        from gip_exp.cli.hydra_errors import explained

        print(f"error: {explained(error, sys.argv[1:])}", file=sys.stderr)
    forget_sweep()
    sys.exit(2)


if __name__ == "__main__":
    main()
