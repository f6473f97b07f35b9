"""`selection.md`: the same report as plain text, without the map and the table of picks."""

import re

from gip_exp.selection_report.page import Content, number


def render(content: Content) -> str:
    """Return the report as Markdown."""
    parts = [f"# {_plain(content.title)}", "\n".join(f"- {_plain(line)}" for line in content.summary)]
    parts += ["## Numbers", _table(("measure", "subset", "pool", "random subsets"), _numbers(content))]
    for title, shares in content.found.shares.items():
        rows = [(s.name, *(f"{100 * share:.1f} %" for share in (s.subset, s.pool, s.random))) for s in shares]
        parts += [f"## {_plain(title)}", _table((title, "subset", "pool", "a random subset"), rows)]
    for name, examples in content.examples.items():
        parts.append(f"## {name.capitalize()}")
        for one in examples:
            parts.append(f"### rank {one['rank']}, {_plain(one['name'])}\n\n{_plain(one['why'])}")
            parts += [
                _quoted(one["prompt"], one["cut"]["prompt"]),
                _quoted(one["completion"], one["cut"]["completion"]),
            ]
    count, pairs = content.copies
    parts += [
        "## Near-copies and rows left out",
        f"{count:,} rows that were not selected have a cosine of at least 0.95 to a selected row.",
    ]
    if pairs:
        rows = [(p["row"], p["text"], p["pick"], p["pick_text"], p["cosine"]) for p in pairs]
        parts.append(_table(("left out", "its prompt", "stands for it", "its prompt", "cosine"), rows))
    parts += [
        f"{n:,} rows did not enter the pool: {reason.replace('_', ' ')}."
        for reason, n in content.left_out.items()
    ]
    return "\n\n".join(parts) + "\n"


def _numbers(content: Content) -> list[tuple[str, ...]]:
    return [
        (
            m.name,
            number(m.subset, m.digits),
            number(m.pool, m.digits),
            f"{number(min(m.random), m.digits)} to {number(max(m.random), m.digits)}" if m.random else "–",
        )
        for m in content.found.measures
    ]


def _table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [heads, ("---",) * len(heads), *rows]
    return "\n".join("| " + " | ".join(_plain(cell) for cell in line) + " |" for line in lines)


def _plain(text: str) -> str:
    """Return text in one line in which no character is Markdown or HTML."""
    return re.sub(r"([\\`*_{}\[\]<>|#~&])", r"\\\1", " ".join(text.split()))


def _quoted(text: str, cut: int) -> str:
    """Return text as an indented code block."""
    more = [f"({cut:,} more characters)"] if cut else []
    return "\n".join(f"    {line}" for line in [*text.splitlines(), *more])
