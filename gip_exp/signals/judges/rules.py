"""Attributes computed from the text by fixed rules, without a model (`gip_exp.signals.rules`)."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gip_exp.errors import UserError
from gip_exp.signals import rules

RUBRICS = {name: attributes for name, (_, attributes) in rules.RUBRICS.items()}  # rubric -> its columns
OTHERS = 0.05  # share of replies in other languages than English from which on they are noted
UNREAD = "judge=rules reads only Latin letters"
REMEDY = "for other scripts and languages use judge=openai, judge=vllm or a selector without scores (selector=mp_sc)"


def judge(
    examples: Sequence[Mapping[str, str]], rubric: str, reasons: dict[int, str], note: Callable[[str], None]
) -> dict[str, np.ndarray]:
    """Score the examples.

    Args:
        examples: n mappings with `prompt` and `completion`.
        rubric: `math` or `instruction`.
        reasons: Receives the rows in other scripts, which are unscored.
        note: Called with warnings.

    Returns:
        attribute -> (n,) float64 in [0, 1], NaN if unscored.

    Raises:
        UserError: all rows are in other scripts.
    """
    columns = rules.score(examples, rubric)
    unread = np.flatnonzero(np.isnan(next(iter(columns.values()))))
    if len(unread) == len(examples):
        raise UserError(f"{UNREAD}, but all {len(examples):,} rows are in other scripts: {REMEDY}")
    reasons.update({int(row): UNREAD for row in unread})
    if unread.size:
        note(f"{UNREAD}: {REMEDY}")
    if rubric == "instruction" and (counts := _other_languages(examples)):
        note(
            f"judge=rules is made for English, but of {len(examples):,} replies {counts} are in other languages: for these "
            f"it only detects truncation, repetition, copied prompts and a change of language; {REMEDY}"
        )
    return columns


def _other_languages(examples: Sequence[Mapping[str, str]]) -> str:
    """Count the replies in other languages than English, as text; empty if they are few."""
    languages = Counter(rules.language(example["completion"]) for example in examples)
    others = {name: count for name, count in languages.most_common() if name not in ("", "English")}
    if sum(others.values()) <= OTHERS * len(examples):
        return ""
    return ", ".join(f"{count:,} ({name})" for name, count in others.items())
