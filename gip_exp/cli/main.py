"""The command `gip-exp`, equivalent to `python -m gip_exp`.

    gip-exp +experiment=NAME [key=value ...]         one run
    gip-exp -m +experiment=NAME key=value,value      a sweep, one run after the other
    gip-exp --planned DIR/runs/NNN.yaml [key=value]  a run written by `gip-exp plan --write DIR`
    gip-exp plan|status|submit|report|compare|parity|ablations|judge|replies|export-adapter ...  the other commands
    gip-exp select ...                               one run that stops after the selection (until=select)

An error the user can fix is one message on stderr with exit code 2; a bug keeps its traceback.
"""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from gip_exp.errors import Answered, UserError
from gip_exp.redaction import REMEDY, secret_arguments
from gip_exp.storage.disk_errors import KEPT

os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # let Hydra's exceptions reach `main`
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

COMMANDS = {
    "ablations": "gip_exp.ablations.__main__",
    "compare": "gip_exp.compare",
    "export-adapter": "gip_exp.cli.export_adapter",
    "judge": "gip_exp.judge",
    "parity": "gip_exp.parity.__main__",
    "plan": "gip_exp.plan",
    "replies": "gip_exp.replies",
    "report": "gip_exp.report.__main__",
    "status": "gip_exp.status",
    "submit": "gip_exp.cli.submit",
}


def main() -> int:
    """Run the command given in `sys.argv`; return the exit code."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--version"]:
        print(_version())
        return 0
    if arguments and arguments[0] in COMMANDS:
        return int(import_module(COMMANDS[arguments[0]]).main(arguments[1:]))
    if arguments[:1] == ["select"]:
        arguments = [*arguments[1:], "until=select"]
    return _experiment(arguments)


def script() -> None:
    """Entry point of the console script."""
    from gip_exp.stdout import run_and_exit

    run_and_exit(main)


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    from gip_exp.import_path import ROOT

    try:
        return f"gip-exp {version('gip-exp')}"
    except PackageNotFoundError:
        return f"gip-exp, not installed, from {ROOT}"


def _experiment(arguments: Sequence[str]) -> int:
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from gip_exp.runs.lock import Stopped

    try:
        _check(arguments)
        return _run(arguments)
    except Answered as answer:
        print(answer, file=sys.stderr)
        return 0
    except (UserError, HydraException, OmegaConfBaseException) as error:
        return _refuse(error, arguments)
    except (ValueError, OSError) as error:
        if isinstance(error, BrokenPipeError) or not _raised_by_hydra(error):
            raise  # a bug, or a closed pipe (`gip_exp.stdout`)
        return _refuse(error, arguments)
    except KeyboardInterrupt:
        print(f"stopped; {KEPT}", file=sys.stderr)
        return 130
    except Stopped:
        print(f"stopped by SIGTERM; {KEPT}", file=sys.stderr)
        return 128 + 15


def _check(arguments: Sequence[str]) -> None:
    """Raise UserError for secrets, which Hydra would write to files, and for keys that it would take for options."""
    if places := secret_arguments(arguments):
        raise UserError(f"{', '.join(places)}: holds what looks like a secret; {REMEDY}")
    if not arguments:
        raise UserError("choose an experiment, e.g. +experiment=quickstart; --help lists all")
    if any(text.startswith("--") and text != "--planned" for text in arguments):
        from gip_exp.cli.hydra_errors import dashes

        if wrong := dashes(arguments):
            raise UserError(wrong)


def _run(arguments: Sequence[str]) -> int:
    if arguments[0] == "--planned":
        from gip_exp.cli.run import run_files

        return run_files(arguments[1:])
    from gip_exp.cli import hydra_app
    from gip_exp.registry.selectors import register_installed

    register_installed(arguments)
    return hydra_app.run([with_home(argument) for argument in arguments])


def with_home(argument: str) -> str:
    """Expand the home folder in `key=~/...`, which neither the shell nor Hydra does."""
    key, equals, value = argument.partition("=")
    return f"{key}={os.path.expanduser(value)}" if equals and value.startswith("~/") else argument


def _raised_by_hydra(error: BaseException) -> bool:
    """Return whether Hydra failed while composing or launching, before a run started."""
    frame = error.__traceback__
    modules = []
    while frame is not None:
        modules.append(frame.tb_frame.f_globals.get("__name__", ""))
        frame = frame.tb_next
    return any(name.startswith("hydra.") for name in modules) and "gip_exp.cli.run" not in modules


def _refuse(error: Exception, arguments: Sequence[str]) -> int:
    # A UserError may come from a module of the configuration, which `explained` would import again.
    if isinstance(error, UserError):
        text = str(error).strip()
    else:
        from gip_exp.cli.hydra_errors import explained

        text = explained(error, arguments)
    print(f"error: {text}", file=sys.stderr)
    return 2
