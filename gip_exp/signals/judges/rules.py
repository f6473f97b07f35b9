"""Attributes computed from the text by fixed rules, without a model (`gip_exp.signals.rules`)."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from gip_exp.errors import UserError
from gip_exp.parallel import in_blocks
from gip_exp.signals import rules

RUBRICS = {name: attributes for name, (_, attributes) in rules.RUBRICS.items()}  # rubric -> its columns
OTHERS = 0.05  # share of replies in other languages than English from which on they are noted
UNREAD = "judge=rules reads only Latin letters"
REMEDY = "for other scripts and languages use judge=openai, judge=vllm or a selector without scores (selector=mp_sc)"


def judge(
    examples: Sequence[Mapping[str, str]],
    rubric: str,
    reasons: dict[int, str],
    note: Callable[[str], None],
    advance: Callable[[int], None],
) -> dict[str, np.ndarray]:
    """Score the examples.

    Args:
        examples: n mappings with `prompt` and `completion`.
        rubric: `math` or `instruction`.
        reasons: Receives the rows in other scripts, which are unscored.
        note: Called with warnings.
        advance: Called with the number of examples of each block that is done.

    Returns:
        attribute -> (n,) float64 in [0, 1], NaN if unscored.

    Raises:
        UserError: all rows are in other scripts.
    """
    scored = list(in_blocks(partial(_scored, rubric), examples, advance=advance))
    columns = {name: np.concatenate([block[name] for block, _ in scored]) for name in RUBRICS[rubric]}
    unread = np.flatnonzero(np.isnan(next(iter(columns.values()))))
    if len(unread) == len(examples):
        raise UserError(f"{UNREAD}, but all {len(examples):,} rows are in other scripts: {REMEDY}")
    reasons.update({int(row): UNREAD for row in unread})
    if unread.size:
        note(f"{UNREAD}: {REMEDY}")
    languages = sum((counts for _, counts in scored), Counter[str]())
    if others := _other_languages(languages, len(examples)):
        note(
            f"judge=rules is made for English, but of {len(examples):,} replies {others} are in other languages: for these "
            f"it only detects truncation, repetition, copied prompts and a change of language; {REMEDY}"
        )
    return columns


def _scored(rubric: str, examples: Sequence[Mapping[str, str]]) -> tuple[dict[str, np.ndarray], Counter[str]]:
    """Return (attributes, number of replies per language, if the rubric reads replies to instructions)."""
    replies = examples if rubric == "instruction" else ()
    return rules.score(examples, rubric), Counter(rules.language(reply["completion"]) for reply in replies)


def _other_languages(languages: Counter[str], n: int) -> str:
    """Describe the numbers of replies in other languages than English; empty if they are few among n."""
    others = {name: count for name, count in languages.most_common() if name not in ("", "English")}
    if sum(others.values()) <= OTHERS * n:
        return ""
    return ", ".join(f"{count:,} ({name})" for name, count in others.items())
