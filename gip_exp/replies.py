"""`gip-exp replies export|import FILE`: the replies of judges as one file, to score again without the API."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from gip_exp.errors import UserError, as_user_errors
from gip_exp.signals.judge_endpoint import CACHE


def main(arguments: Sequence[str] | None = None) -> int:
    """Export or import; return the exit code: 2, with a message on stderr, for an error the user can fix."""
    options = _parser().parse_args(arguments)
    from gip_exp.llm import archive

    try:
        with as_user_errors():
            if options.action == "export":
                counts = archive.export(options.root / CACHE, options.file, options.model)
                said = f"{counts.replies:,} replies exported to {options.file}"
            else:
                counts = archive.load(options.file, options.root / CACHE)
                said = f"{counts.new:,} of {counts.replies:,} replies imported into {options.root / CACHE}"
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{said} ({', '.join(f'{count:,} of {model}' for model, count in counts.models.items())})")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gip-exp replies",
        description="Export the replies of judges and samplers to a file, or import such a file. With the replies imported, "
        "judge.offline=true scores without a key and without the API.",
    )
    parser.add_argument("action", choices=("export", "import"))
    parser.add_argument("file", metavar="FILE", type=Path, help="the archive, e.g. replies.jsonl.gz")
    parser.add_argument(
        "--root", type=Path, default=Path("outputs"), help="paths.root of the runs (default: outputs)"
    )
    parser.add_argument("--model", help="export only the replies of models whose name begins so")
    return parser


if __name__ == "__main__":
    sys.exit(main())
