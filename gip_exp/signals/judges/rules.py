"""Attributes computed from the text by fixed rules, without a model (`gip_exp.signals.rules`)."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gip_exp.errors import UserError
from gip_exp.signals import rules

RUBRICS = {name: attributes for name, (_, attributes) in rules.RUBRICS.items()}  # rubric -> its columns
OTHERS = 0.05  # of the replies in other languages than English: more is worth a note
UNREAD = "judge=rules reads Latin letters only"
REMEDY = "for others use judge=openai, judge=vllm or a selector without scores (selector=mp_sc)"


def judge(
    examples: Sequence[Mapping[str, str]], rubric: str, reasons: dict[int, str], note: Callable[[str], None]
) -> dict[str, np.ndarray]:
    """Score the examples.

    Args:
        examples: n mappings with `prompt` and `completion`.
        rubric: `math` or `instruction`.
        reasons: gains the rows in other scripts, which are unscored.
        note: told of replies in other languages than English.

    Returns:
        attribute -> (n,) float64 in [0, 1], NaN where unscored.

    Raises:
        UserError: no row can be read.
    """
    columns = rules.score(examples, rubric)
    unread = np.flatnonzero(np.isnan(next(iter(columns.values()))))
    if len(unread) == len(examples):
        raise UserError(f"{UNREAD}, and all {len(examples):,} rows are in others: {REMEDY}")
    reasons.update({int(row): UNREAD for row in unread})
    if unread.size:
        note(f"{UNREAD}: {REMEDY}")
    if rubric == "instruction" and (counts := _other_languages(examples)):
        note(
            f"judge=rules knows English best, and of {len(examples):,} replies {counts}: of these it sees whether they "
            f"break off, repeat themselves, echo the prompt or change the language; {REMEDY}"
        )
    return columns


def _other_languages(examples: Sequence[Mapping[str, str]]) -> str:
    """Replies counted by language, without English; empty where they are few."""
    spoken = Counter(rules.language(example["completion"]) for example in examples)
    others = {name: count for name, count in spoken.most_common() if name not in ("", "English")}
    if sum(others.values()) <= OTHERS * len(examples):
        return ""
    return ", ".join(f"{count:,} in {name}" for name, count in others.items())
