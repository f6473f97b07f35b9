"""`gip-exp judge show|compare`: what a judge said about the rows, beside their text; how far two judges agree."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from gip_exp.errors import UserError, as_user_errors

LIMIT = 3  # rows of each group


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code: 2, with a message on stderr, for an error the user can fix."""
    options = _parser().parse_args(arguments)
    try:
        with as_user_errors():
            options.command(options)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _show(options: argparse.Namespace) -> None:
    from rich.console import Console

    from gip_exp.judgements import page, scored, show

    judged = scored.of_run(options.run)
    if options.html is not None:
        _write(options.html, page.render(judged))
        return
    if options.row:
        groups = [("rows", [judged.find(name) for name in options.row])]
        show.show(Console(highlight=False), judged, groups, limit=len(options.row), whole=True)
        return
    ranked = judged.ranked(options.attribute)
    by = options.attribute or "mean score"
    known = {
        "best": (f"best by {by}", ranked),
        "worst": (f"worst by {by}", ranked[::-1]),
        "unscored": ("unscored", judged.unscored),
    }
    wanted = [name for name in known if getattr(options, name)] or list(known)
    groups = [known[name] for name in wanted if known[name][1] or getattr(options, name)]
    show.show(Console(highlight=False), judged, groups, limit=options.limit)


def _compare(options: argparse.Namespace) -> None:
    from rich.console import Console

    from gip_exp.judgements import compare, compared

    found = compare.compare(compare.side(options.a), compare.side(options.b), options.limit)
    if options.json:
        print(json.dumps(found.as_dict(), indent=1))
    else:
        compared.show(Console(highlight=False), found)


def _write(path: Path, text: str) -> None:
    from gip_exp.storage.files import write_text

    try:
        write_text(path, text)
    except OSError as error:
        raise UserError(
            f"--html {path} cannot be written ({error.strerror or error}): choose another file"
        ) from error
    print(path)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} must be a number from 1")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gip-exp judge",
        description="Read what a judge said about the rows of a run, or compare two judges.",
    )
    commands = parser.add_subparsers(required=True, metavar="show|compare")
    _add_show(commands)
    _add_compare(commands)
    return parser


def _add_show(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    show = commands.add_parser(
        "show",
        help="rows by score, with the judge's replies",
        description="Show rows by score, each with its text and the judge's replies from the reply cache. Without an option: "
        "the best rows, the worst and the unscored.",
    )
    show.set_defaults(command=_show)
    show.add_argument("run", metavar="RUN", type=Path, help="a run folder, below outputs/runs")
    show.add_argument("--best", action="store_true", help="the best rows")
    show.add_argument("--worst", action="store_true", help="the worst rows, worst first")
    show.add_argument("--unscored", action="store_true", help="rows without a score, with the reason")
    show.add_argument(
        "--attribute", metavar="NAME", help="order by this attribute instead of the mean of all"
    )
    show.add_argument(
        "--limit", metavar="N", type=_count, default=LIMIT, help=f"rows per group (default: {LIMIT})"
    )
    show.add_argument(
        "--row", metavar="ID", action="append", help="this row alone, in full; may be given again"
    )
    show.add_argument(
        "--html", metavar="FILE", type=Path, help="write the page that runs have as judgements.html"
    )


def _add_compare(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    compare = commands.add_parser(
        "compare",
        help="two judges over the same rows",
        description="Compare two judges over the rows that both scored: agreement and bias per attribute, the overlap of what "
        "was or would be picked, the rows that changed most.",
    )
    compare.set_defaults(command=_compare)
    for name in ("a", "b"):
        compare.add_argument(
            name, metavar=name.upper(), type=Path, help="a run folder, or a table of scores (scores.parquet)"
        )
    compare.add_argument(
        "--limit", metavar="N", type=_count, default=LIMIT, help=f"changed rows to list (default: {LIMIT})"
    )
    compare.add_argument("--json", action="store_true", help="print everything as JSON")


if __name__ == "__main__":
    from gip_exp.stdout import run_and_exit

    run_and_exit(main)
