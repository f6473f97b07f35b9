"""`python -m gip_exp.report DIR [--out OUT] [--wandb [PROJECT]]`: tables, figures and claims of the runs below DIR."""

import argparse
import sys
from pathlib import Path

from gip_exp.errors import UserError


def main(arguments: list[str] | None = None) -> int:
    """Write the report; return 0, or 2 with a message on stderr for an error the user can fix."""
    parser = argparse.ArgumentParser(
        prog="gip-exp report",
        description="Tables with intervals, figures and the paper's claims, out of the runs below a folder.",
    )
    parser.add_argument(
        "folder", metavar="DIR", type=Path, help="any folder above the runs, e.g. outputs or outputs/runs"
    )
    parser.add_argument("--out", metavar="OUT", type=Path, help="where to write (default: DIR/report)")
    parser.add_argument(
        "--wandb",
        metavar="PROJECT",
        nargs="?",
        const="",
        help="log tables and figures to W&B too, in the runs' group and project (or in PROJECT)",
    )
    options = parser.parse_args(arguments)
    try:
        from gip_exp.report.write import write_report

        report = write_report(options.folder, options.out or options.folder / "report")
        if options.wandb is not None:
            from rich.console import Console

            from gip_exp.report.upload import upload

            upload(report, options.wandb or None, Console(soft_wrap=True, highlight=False))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    from gip_exp.stdout import run_and_exit

    run_and_exit(main)
