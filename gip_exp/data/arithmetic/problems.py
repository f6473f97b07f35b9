"""The quickstart's pool and test set.

In the pool, both quality and diversity are scarce, so that selection matters:
- quality: a share `flawed` of the reference answers is wrong in one of six ways (`flaws`);
- diversity: the r-th skill has the weight r ** -tail, so the most frequent one has more than a third of the pool and the
  rarest about one row in a hundred; and a share `repeats` of the rows of the more frequent half of the skills repeats an
  earlier story with other numbers. In the test set all skills are equally frequent, so a good subset must cover the tail.
These proportions were set before any model was trained on the pool.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass

from gip_exp.data.arithmetic.flaws import flawed_answer
from gip_exp.data.arithmetic.skills import SKILLS, Words, draw_story


@dataclass(frozen=True)
class Problem:
    """A row of the pool or the test set. `skill` and `flaw` are for reports only."""

    question: str
    answer: str
    skill: str
    flaw: str | None


def make_pool(
    n: int, seed: int, *, flawed: float = 0.36, tail: float = 1.3, repeats: float = 0.5
) -> list[Problem]:
    """Generate `n` problems with distinct questions, reproducibly.

    Args:
        n: Number of problems.
        seed: Random seed.
        flawed: Expected share of flawed answers, in [0, 1].
        tail: Exponent of the frequencies of skills.
        repeats: Share of the rows of the more frequent half of the skills that repeat an earlier story, in [0, 1).
    """
    _check(n, {"flawed": (flawed, 0.0, 1.0), "repeats": (repeats, 0.0, 0.99), "tail": (tail, 0.0, 4.0)})
    rng = random.Random(f"pool {seed}")
    weights = [(rank + 1) ** -tail for rank in range(len(SKILLS))]
    common = {skill.name for skill in SKILLS[: len(SKILLS) // 2]}
    words_by_skill: dict[str, list[Words]] = {skill.name: [] for skill in SKILLS}
    questions: set[str] = set()
    pool: list[Problem] = []
    while len(pool) < n:
        skill = rng.choices(SKILLS, weights)[0]
        earlier = words_by_skill[skill.name]
        retell = skill.name in common and earlier and rng.random() < repeats
        story = draw_story(skill, rng, rng.choice(earlier) if retell else None)
        if story.question in questions:
            continue
        questions.add(story.question)
        earlier.append(story.words)
        flaw, answer = flawed_answer(story, rng) if rng.random() < flawed else (None, story.answer())
        pool.append(Problem(story.question, answer, skill.name, flaw))
    return pool


def make_test(n: int, seed: int, exclude: Collection[str]) -> list[Problem]:
    """Generate `n` problems without flaws, each skill equally often, with distinct questions not in `exclude`.

    The random stream differs from the pool's, even with the same seed.
    """
    _check(n, {})
    rng = random.Random(f"test {seed}")
    questions = set(exclude)
    test: list[Problem] = []
    while len(test) < n:
        skill = SKILLS[len(test) % len(SKILLS)]
        story = draw_story(skill, rng)
        if story.question not in questions:
            questions.add(story.question)
            test.append(Problem(story.question, story.answer(), skill.name, None))
    return test


def _check(n: int, numbers: dict[str, tuple[float, float, float]]) -> None:
    wrong = [] if n >= 1 else [f"n is {n}; give at least 1"]
    for name, (value, low, high) in numbers.items():
        if not low <= value <= high:
            wrong.append(f"{name} is {value}; give a number from {low:g} to {high:g}")
    if wrong:
        raise ValueError("; ".join(wrong))
