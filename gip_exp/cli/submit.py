"""`gip-exp submit DIR`: submit the unfinished runs of a plan to SLURM, by the scripts installed beside `gip_exp`."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gip_exp.import_path import ROOT

SCRIPT = ROOT / "slurm" / "submit.sh"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `slurm/submit.sh DIR` with this interpreter; return its exit code."""
    parser = argparse.ArgumentParser(
        prog="gip-exp submit",
        description="Submit the unfinished runs of a plan as SLURM job arrays.",
        epilog=f"The script and its settings: {SCRIPT} and README.md beside it.",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder written by gip-exp plan --write DIR")
    options = parser.parse_args(arguments)
    environment = {"GIP_PYTHON": sys.executable, **os.environ}
    return subprocess.run(["bash", SCRIPT, options.folder], env=environment, check=False).returncode
