"""`python -m gip_exp.parity`: our methods beside the official packages, where they are installed.

Installs nothing. Every comparison runs both on the same small generated pool; one row each says how far they agree and how long
they took.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gip_exp.errors import UserError
from gip_exp.parity.agreement import Pool
from gip_exp.parity.registry import CHECKOUTS, COMPARISONS, Comparison


@dataclass(frozen=True)
class Row:
    """One comparison.

    Attributes:
        text: As printed.
        failed: The peer is there, but disagrees or cannot run.
        not_installed: The peer is a package that is not installed.
    """

    text: str
    failed: bool = False
    not_installed: bool = False


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare; return 0, 1 if a peer disagrees, 2 with a message on stderr for an error the user can fix."""
    options = _parser().parse_args(arguments)
    try:
        checkouts = {name: root for name in CHECKOUTS if (root := _checkout(name, getattr(options, name)))}
        rows = _perform(Pool(seed=options.seed), checkouts)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return int(any(row.failed or (options.all and row.not_installed) for row in rows))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gip-exp parity",
        description="Run our methods beside the official packages that are installed, on one small generated pool. "
        "Exit code 1 if one of them disagrees.",
        allow_abbrev=False,
    )
    for name, (repository, _) in CHECKOUTS.items():
        parser.add_argument(
            f"--{name}", metavar="PATH", type=Path, help=f"a checkout of {repository}, whose code is then run"
        )
    parser.add_argument("--seed", type=_natural, default=0, help="seed of the pool (default 0)")
    parser.add_argument("--all", action="store_true", help="exit code 1 also if a package is not installed")
    return parser


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text} is no seed: give an int >= 0")
    return int(text)


def _checkout(name: str, root: Path | None) -> Path | None:
    repository, file = CHECKOUTS[name]
    if root is not None and not (root / file).is_file():
        raise UserError(f"--{name} {root}: there is no {file}; give a checkout of {repository}")
    return root


def _perform(pool: Pool, checkouts: Mapping[str, Path]) -> list[Row]:
    from gip_exp.console import Console
    from gip_exp.quiet import quiet_libraries

    quiet_libraries()
    console = Console(sys.stdout)
    rows = []
    for comparison in COMPARISONS:
        with console.spinner(comparison.method):
            rows.append(_row(comparison, pool, checkouts))
            console.say(rows[-1].text)
    console.say(
        f"{pool.n:,} generated rows of {pool.width} columns, {pool.budget} picks. Seconds: the faster of two calls, start and "
        "files of the peer included; they say little about large pools."
    )
    return rows


def _row(comparison: Comparison, pool: Pool, checkouts: Mapping[str, Path]) -> Row:
    """Run one comparison, if its peer is there."""
    peer = "its definition"
    arguments: tuple[Any, ...] = (pool,)
    if comparison.package:
        peer = comparison.package
        if find_spec(comparison.module) is None:
            remedy = f"not installed: pip install {peer}"
            return Row(f"  -  {comparison.method} and {peer}: {remedy}", not_installed=True)
        peer = f"{peer} {_version(peer)}"
    elif comparison.checkout:
        peer = CHECKOUTS[comparison.checkout][0]
        if comparison.checkout not in checkouts:
            remedy = f"no checkout: --{comparison.checkout} PATH"
            return Row(f"  -  {comparison.method} and {peer}: {remedy}")
        arguments = (pool, checkouts[comparison.checkout])
    start = f"{comparison.method} and {peer}, {comparison.what}"
    try:
        found = comparison.run(*arguments)
    except UserError:
        raise
    except Exception as error:  # another version of a peer may do anything; the other rows are still of use
        return Row(f"NO   {start}: could not run: {type(error).__name__}: {error}", failed=True)
    seconds = f"{found.ours_s:.3f} s, theirs {found.theirs_s:.3f} s"
    agrees = "yes" if found.agrees else "NO "
    return Row(f"{agrees}  {start}: {found.found}; {seconds}", failed=not found.agrees)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # a module that no distribution installed
        return "(version unknown)"


if __name__ == "__main__":
    from gip_exp.stdout import run_and_exit

    run_and_exit(main)
