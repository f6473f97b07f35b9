"""Flaws of reference answers: each function returns a flawed answer to a story, or None if that is not possible.

Some flaws are visible on the surface (a wrong calculation, no final line), others are not: an answer with the wrong
operation is well formed and its arithmetic is right. `Problem.flaw` has the name of the flaw, for the report; no judge,
embedder or selector reads it.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace

from gip_exp.data.arithmetic.skills import LARGEST, SKILLS, Calculation, Story, calculate, draw_story

OPPOSITE = {"+": "-", "-": "+", "*": "+", "/": "-"}
CHATTER = (
    "I like this kind of story.",
    "The weather was nice that day.",
    "Please ask again later.",
    "This is a hard one.",
    "Thanks for the question.",
    "It depends on many things.",
)


def wrong_arithmetic(story: Story, rng: random.Random) -> str | None:
    """Change one result by 2 to 7; later steps use the wrong result."""
    at = rng.randrange(len(story.skill.steps))
    slip = rng.choice([-7, -5, -4, -3, -2, 2, 3, 4, 5, 7])
    done = calculate(story.skill.steps, story.numbers, {at: slip})
    return story.answer(done) if done and all(c.result >= 0 for c in done) else None


def swapped_operands(story: Story, rng: random.Random) -> str | None:
    """Exchange the numbers of the story: the arithmetic is right, but the result is another."""
    right = _worked(story)[-1].result
    orders = list(itertools.permutations(story.numbers.values()))
    rng.shuffle(orders)
    for order in orders:
        done = calculate(story.skill.steps, dict(zip(story.numbers, order, strict=True)))
        if done and done[-1].result != right and all(abs(c.result) <= 2 * LARGEST for c in done):
            return story.answer(done)
    return None


def wrong_operation(story: Story, _: random.Random) -> str | None:
    """Replace every operation: the arithmetic is right, but the result is another."""
    steps = tuple(replace(step, op=OPPOSITE[step.op]) for step in story.skill.steps)
    done = calculate(steps, story.numbers)
    if not done or done[-1].result == _worked(story)[-1].result:
        return None
    return story.answer(done)


def truncated(story: Story, rng: random.Random) -> str | None:
    """Stop within the first line or after one of the lines, before the final line."""
    lines = story.lines(_worked(story))
    if len(lines) > 1 and rng.random() < 0.5:
        return "\n".join(lines[: rng.randrange(1, len(lines))])
    return lines[0].split("=<<")[0]


def irrelevant(_: Story, rng: random.Random) -> str | None:
    """Give small talk instead of reasoning, and a random number."""
    return "\n".join([*rng.sample(CHATTER, rng.randint(1, 2)), f"#### {rng.randint(1, LARGEST)}"])


def other_problem(story: Story, rng: random.Random) -> str | None:
    """Give the correct answer to another question."""
    other = draw_story(rng.choice(SKILLS), rng)
    return None if _worked(other)[-1].result == _worked(story)[-1].result else other.answer()


Flaw = Callable[[Story, random.Random], str | None]
FLAWS: dict[str, tuple[Flaw, float]] = {  # name -> (flaw, relative frequency)
    "wrong_arithmetic": (wrong_arithmetic, 0.3),
    "swapped_operands": (swapped_operands, 0.15),
    "wrong_operation": (wrong_operation, 0.1),
    "truncated": (truncated, 0.2),
    "irrelevant": (irrelevant, 0.15),
    "other_problem": (other_problem, 0.1),
}


def flawed_answer(story: Story, rng: random.Random) -> tuple[str, str]:
    """Return (name of a random flaw that is possible for this story, flawed answer)."""
    names = list(FLAWS)
    while True:
        name = rng.choices(names, [FLAWS[n][1] for n in names])[0]
        answer = FLAWS[name][0](story, rng)
        if answer is not None:
            return name, answer


def _worked(story: Story) -> list[Calculation]:
    done = calculate(story.skill.steps, story.numbers)
    assert done, "draw_story only makes stories that can be calculated"
    return done
