"""Judged rows in the terminal: scores, text, and the judge's replies."""

from collections.abc import Sequence

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from gip_exp.artifacts import row_name
from gip_exp.errors import printable
from gip_exp.judgements.scored import Judgements

SHORT = 600  # characters of a text in a list of rows; a single row is shown whole


def show(
    console: Console,
    judged: Judgements,
    groups: Sequence[tuple[str, Sequence[int]]],
    *,
    limit: int,
    whole: bool = False,
) -> None:
    """Print the first rows of each group.

    Args:
        console: where to print.
        judged: the judged pool.
        groups: title and rows of each group.
        limit: rows per group.
        whole: whether to print texts of any length.
    """
    for line in counts(judged):
        _say(console, line)
    for title, rows in groups:
        shown = rows[:limit]
        more = f", {len(shown)} of {len(rows):,}" if len(shown) < len(rows) else ""
        console.print()
        console.print(Text(f"{title}{more}", style="bold underline"))
        for row in shown:
            _row(console, judged, row, None if whole else SHORT)


def counts(judged: Judgements) -> list[str]:
    """Return what was judged, how many rows have no score, and why there are no replies, one line each."""
    n, unscored, outside = len(judged.pool), len(judged.unscored), judged.n_not_judged
    parts = [f"{n:,} rows", f"{n - unscored - outside:,} scored", f"{unscored:,} unscored"]
    parts += [f"{outside:,} outside the sample that was judged"] if outside else []
    lines = [f"{judged.title}: {', '.join(parts)}"]
    return lines + ([f"no replies: {judged.without_replies}"] if judged.without_replies else [])


def scores(judged: Judgements, row: int) -> str:
    """Return the scores of a row as text: the mean, then each attribute; or why there is none."""
    if not judged.table.scored[row]:
        name = judged.table.ids[row]
        return f"unscored: {judged.reasons[name]}" if name in judged.reasons else "outside the sample"
    pairs = zip(judged.table.names, judged.table.values[row], strict=True)
    return f"mean {judged.means[row]:.2f}: " + ", ".join(f"{name} {value:g}" for name, value in pairs)


def cut(text: str, most: int | None) -> tuple[str, str]:
    """Return at most `most` characters of a text, and a note on what is left out ("" if nothing is)."""
    if most is None or len(text) <= most:
        return text, ""
    return text[:most], f"... {len(text) - most:,} more characters"


def _row(console: Console, judged: Judgements, row: int, most: int | None) -> None:
    example = judged.pool[row]
    console.print()
    own = row_name(example)
    place = "" if own == example["id"] else f"  {own}"
    console.print(Text(printable(f"{example['id']}{place}"), style="bold"))
    _say(console, scores(judged, row), style="cyan")
    _text(console, "prompt", example["prompt"], most)
    _text(console, "completion", example["completion"], most)
    replies = judged.replies(row)
    for reply in replies:
        title = f"reply, vote {reply.vote}, attempt {reply.attempt} ({reply.tokens[0]} + {reply.tokens[1]} tokens)"
        _text(console, title, reply.text, most)
        _say(console, reply.read, style="dim")
    if not replies and not judged.without_replies and judged.table.ids[row] in judged.reasons:
        _say(console, "no reply is in the reply cache", style="dim")


def _text(console: Console, title: str, text: str, most: int | None) -> None:
    start, left_out = cut(text, most)
    _say(console, title, style="dim")
    console.print(Padding(Text(printable(start)), (0, 0, 0, 2), expand=False))
    if left_out:
        console.print(Padding(Text(left_out, style="dim"), (0, 0, 0, 2)))


def _say(console: Console, line: str, style: str = "") -> None:
    console.print(Text(printable(line), style=style))
