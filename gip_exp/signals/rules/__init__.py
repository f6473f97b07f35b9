"""The rule judge: attributes of a prompt and its completion by fixed rules, no model and no label.

`score` returns one column per attribute, every value in [0, 1], positive = good. An example's scores depend
on that example alone. Nothing here knows which answers are right: a wrong operation, cleanly carried out,
looks as good as the right one.

Rubric `math` (`math_answers.py`): worked answers in GSM8K's format.
Rubric `instruction` (`replies.py`): instruction and reply in English; what other languages it says anything of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from gip_exp.signals.rules import math_answers, replies

language = replies.language
Judge = Callable[[str, str], tuple[float, ...]]
RUBRICS: dict[str, tuple[Judge, tuple[str, ...]]] = {
    "math": (math_answers.judge, math_answers.ATTRIBUTES),
    "instruction": (replies.judge, replies.ATTRIBUTES),
}


def score(examples: Sequence[Mapping[str, str]], rubric: str) -> dict[str, np.ndarray]:
    """Attribute -> float64 array of shape (len(examples),), in [0, 1]; NaN for rows that the rules cannot read.

    examples: mappings with `prompt` and `completion`, both text. rubric: `math` or `instruction`.
    """
    if rubric not in RUBRICS:
        raise ValueError(f"rubric is {rubric!r}; allowed: {', '.join(RUBRICS)}")
    judge, names = RUBRICS[rubric]
    values = np.empty((len(examples), len(names)), dtype=np.float64)
    for row, example in enumerate(examples):
        missing = [key for key in ("prompt", "completion") if not isinstance(example.get(key), str)]
        if missing:
            raise ValueError(f"example {row}: {' and '.join(missing)} must be text; has {sorted(example)}")
        values[row] = judge(example["prompt"], example["completion"])
    return {name: values[:, column].copy() for column, name in enumerate(names)}
