"""Judged rows as one self-contained HTML page: text and replies side by side, no scripts, no network.

The page stays small for any pool: the best and the worst rows, the unscored ones and a seeded sample of the rest, each
up to a number, and long texts are cut. What is left out is counted on the page.
"""

import random
from dataclasses import dataclass
from pathlib import Path

from gip_exp.artifacts import row_name
from gip_exp.config import Config
from gip_exp.errors import as_user_errors, printable
from gip_exp.judgements.scored import Judgements, read
from gip_exp.judgements.show import counts, cut, scores
from gip_exp.stage import Entries
from gip_exp.storage.files import write_text

PAGE = "judgements.html"  # in the run folder
EDGE, SAMPLE = 25, 50  # best, worst and unscored rows each; rows of the sample
MOST_CHARACTERS = 3000  # of a text


@dataclass(frozen=True)
class _Text:
    title: str
    text: str
    left_out: str
    read: str = ""


@dataclass(frozen=True)
class _Row:
    id: str
    place: str
    scores: str
    material: tuple[_Text, ...]
    replies: tuple[_Text, ...]


@dataclass(frozen=True)
class _Group:
    title: str
    rows: tuple[_Row, ...]


def write_for_run(config: Config, folder: Path, entries: Entries) -> None:
    """Write the page into a run folder, unless it is there and the scores are not new."""
    score = entries["score"]
    if score.cached and (folder / PAGE).is_file():
        return
    with as_user_errors():
        judged = read(config, config.paths.root, data=entries["data"].folder, score=score.folder)
        write_text(folder / PAGE, render(judged))


def render(judged: Judgements) -> str:
    """Return the page as text; the same for the same scores and replies."""
    from gip_exp.pages import environment

    templates = environment(Path(__file__).parent)
    parts = [_Group(title, tuple(_row(judged, row) for row in rows)) for title, rows in groups(judged)]
    template = templates.get_template("page.html")
    lines = [printable(line) for line in counts(judged)]
    return template.render(title=printable(judged.title), counts=lines, groups=parts)


def groups(judged: Judgements) -> list[tuple[str, list[int]]]:
    """Return the rows of the page in groups; no row comes twice."""
    ranked, unscored = judged.ranked(), judged.unscored
    lost = [(_titled("Unscored rows", EDGE, len(unscored)), unscored[:EDGE])] if unscored else []
    if len(ranked) <= 2 * EDGE + SAMPLE:
        return [(f"All {len(ranked):,} scored rows, best first", ranked), *lost]
    rest = ranked[EDGE:-EDGE]
    drawn = sorted(random.Random(0).sample(range(len(rest)), SAMPLE))
    return [
        (_titled("Best rows by mean score", EDGE, len(ranked)), ranked[:EDGE]),
        (_titled("Worst rows by mean score, worst first", EDGE, len(ranked)), ranked[: -EDGE - 1 : -1]),
        *lost,
        (_titled("Random rows of those between, best first", SAMPLE, len(rest)), [rest[i] for i in drawn]),
    ]


def _titled(what: str, most: int, n: int) -> str:
    return f"{what} ({min(most, n)} of {n:,})"


def _row(judged: Judgements, row: int) -> _Row:
    example = judged.pool[row]
    material = tuple(_text(name, example[name]) for name in ("prompt", "completion"))
    replies = tuple(
        _text(f"reply, vote {reply.vote}, attempt {reply.attempt}", reply.text, reply.read)
        for reply in judged.replies(row)
    )
    own = row_name(example)
    place = "" if own == example["id"] else printable(own)
    return _Row(printable(example["id"]), place, printable(scores(judged, row)), material, replies)


def _text(title: str, text: str, read: str = "") -> _Text:
    start, left_out = cut(text, MOST_CHARACTERS)
    return _Text(title, printable(start), left_out, printable(read))
