"""The rule judge: attributes of a prompt and its completion, computed by fixed rules without a model or labels.

`score` returns one column per attribute, in [0, 1], larger is better. The scores of an example do not depend on other
examples. The rules do not know which answers are right: a wrong operation, calculated correctly, scores like the right one.

Rubric `math` (`math_answers.py`): worked answers in GSM8K's format.
Rubric `instruction` (`replies.py`): replies to instructions in English and, in part, in other Latin scripts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gip_exp.signals.rules import math_answers, replies
from gip_exp.turns import as_texts

language = replies.language
Judge = Callable[[str, str, str], tuple[float, ...]]
RUBRICS: dict[str, tuple[Judge, tuple[str, ...]]] = {
    "math": (math_answers.judge, math_answers.ATTRIBUTES),
    "instruction": (replies.judge, replies.ATTRIBUTES),
}


def score(examples: Sequence[Mapping[str, Any]], rubric: str) -> dict[str, np.ndarray]:
    """Score examples by a rubric.

    Args:
        examples: n mappings with `prompt` and `completion`, both text, and the `turns` of a conversation.
        rubric: `math` or `instruction`.

    Returns:
        attribute -> (n,) float64 in [0, 1], NaN for rows that the rules cannot read.

    Raises:
        ValueError: the rubric is unknown, or a row has no text.
    """
    if rubric not in RUBRICS:
        raise ValueError(f"rubric is {rubric!r}; allowed: {', '.join(RUBRICS)}")
    judge, names = RUBRICS[rubric]
    values = np.empty((len(examples), len(names)), dtype=np.float64)
    for row, example in enumerate(examples):
        missing = [key for key in ("prompt", "completion") if not isinstance(example.get(key), str)]
        if missing:
            raise ValueError(f"example {row}: {' and '.join(missing)} must be text; has {sorted(example)}")
        values[row] = judge(*_texts(example))
    return {name: values[:, column].copy() for column, name in enumerate(names)}


def _texts(example: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return (prompt, completion, what the user wrote, the last turn first).

    Of a conversation, tools are no part of the prompt: their descriptions are in English, whatever the user speaks.
    """
    prompt, completion, turns = example["prompt"], example["completion"], example.get("turns")
    if not turns:
        return prompt, completion, prompt
    asked = [turn["content"] for turn in reversed(turns[:-1]) if turn["role"] == "user"]
    return as_texts(turns)[0], completion, "\n\n".join(asked)
