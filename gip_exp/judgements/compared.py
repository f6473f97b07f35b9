"""A comparison of two judges in the terminal."""

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gip_exp.errors import printable
from gip_exp.judgements.compare import FAR, Comparison, Picks


def show(console: Console, found: Comparison) -> None:
    """Print agreement, overlap of picks, changed rows and notes."""
    lines = [f"A: {found.labels[0]}", f"B: {found.labels[1]}", f"{found.n:,} rows are scored by both"]
    lines[2] += f"; {found.only_a:,} by A alone, {found.only_b:,} by B alone"
    for line in lines:
        _say(console, line)
    console.print(_agreements(found))
    for picks in found.picks:
        _say(console, _overlap(picks))
    if found.changes:
        _say(console, "mean scores that changed most (A -> B):")
    for name, before, after in found.changes:
        _say(console, f"  {name}: {before:.2f} -> {after:.2f}")
    for note in found.notes:
        _say(console, f"note: {note}", style="yellow")


def _agreements(found: Comparison) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("attribute")
    for name in ("kappa", "Spearman", "equal", f"off by {FAR}+", "mean A", "B - A"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found.agreements:
        table.add_row(
            Text(printable(one.name)),
            _number(one.kappa),
            _number(one.spearman),
            f"{one.equal:.1%}",
            "–" if one.far is None else f"{one.far:.1%}",
            f"{one.mean_a:.2f}",
            f"{one.bias:+.2f}",
        )
    return table


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _overlap(picks: Picks) -> str:
    if not picks.n:
        return picks.what
    shared = f"{picks.both:,} of {picks.n:,} picks in common ({picks.both / picks.n:.0%}"
    return f"{picks.what}: {shared}; by chance {picks.chance / picks.n:.0%})"


def _say(console: Console, line: str, style: str = "") -> None:
    console.print(Text(printable(line), style=style))
