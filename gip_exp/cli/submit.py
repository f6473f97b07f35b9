"""`gip-exp submit DIR`: hand what a plan still lacks to SLURM, with the scripts that are installed beside `gip_exp`."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from gip_exp.import_path import ROOT

SCRIPT = ROOT / "slurm" / "submit.sh"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `slurm/submit.sh DIR` with this interpreter; its exit code."""
    parser = argparse.ArgumentParser(
        prog="gip-exp submit",
        description="Submit what a plan still lacks as SLURM job arrays.",
        epilog=f"The script and its settings: {SCRIPT} and README.md beside it.",
    )
    parser.add_argument(
        "folder", metavar="DIR", type=Path, help="a folder that gip-exp plan --write DIR made"
    )
    options = parser.parse_args(arguments)
    environment = {"GIP_PYTHON": sys.executable, **os.environ}
    return subprocess.run(["bash", SCRIPT, options.folder], env=environment, check=False).returncode
