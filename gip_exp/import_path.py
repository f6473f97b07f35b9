"""Import the project's own packages regardless of files in the current folder.

Users may have files named `selection`, `baselines`, `eval` or `conf`, and Python often searches the current folder first
(`python -m`, notebooks, `PYTHONPATH=.`). Importing `gip_exp` therefore does two things:

- The four packages are looked up beside `gip_exp` first, in this process and in every process that imports `gip_exp`
  (workers, ranks of torchrun, cluster jobs).
- `python -m gip_exp...` does not search the current folder, like the command `gip-exp`. A user's `datasets.py` there
  cannot shadow the library either.
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
    """Look up `PACKAGES` beside `gip_exp`, and remove the current folder that `python -m gip_exp...` searches first."""
    sys.meta_path.insert(0, _Beside())
    # argv[0] is "-m" while Python locates the module of `-m` and imports its parent packages.
    if sys.argv[:1] == ["-m"] and not sys.flags.safe_path and Path(sys.path[0]).resolve() != ROOT:
        del sys.path[0]
