"""This project's own packages are found whatever the current folder holds.

`selection`, `baselines`, `eval` and `conf` are names that people give to files of their own, and Python often looks into
the current folder first: under `python -m`, in a notebook, with `PYTHONPATH=.`. So importing `gip_exp` does two things:

- The four names are looked up beside `gip_exp` before anywhere else, in this process and in every process that imports
  `gip_exp` (workers, torchrun's ranks, jobs of a cluster).
- `python -m gip_exp...` does not search the current folder at all, as the command `gip-exp` does not. A library that
  the project imports is then not mistaken for a file such as `datasets.py` there either.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[1]  # the checkout, or site-packages
PACKAGES = ("selection", "baselines", "eval", "conf")


class _Beside(MetaPathFinder):
    """Finds `PACKAGES` in `ROOT`."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,  # noqa: ARG002
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        return PathFinder.find_spec(fullname, [str(ROOT)]) if fullname in PACKAGES else None


def prefer_own_packages() -> None:
    """Find `PACKAGES` beside `gip_exp`, and leave the current folder out where `python -m gip_exp...` put it first."""
    sys.meta_path.insert(0, _Beside())
    # While Python locates the module of `-m`, argv[0] is "-m"; it imports the packages above the module meanwhile.
    if sys.argv[:1] == ["-m"] and not sys.flags.safe_path and Path(sys.path[0]).resolve() != ROOT:
        del sys.path[0]
