"""How a reference answer goes wrong: each flaw turns a story into a flawed answer, or cannot (None).

Some flaws show on the surface (a mark that does not evaluate, no final line), others do not: an answer with
the wrong operation is well formed and arithmetically right. The flaw's name stays in `Problem.flaw` for the
report; no judge, embedder or selector sees it.
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
    """One result is off by 2 to 7, and the later steps go on from it."""
    at = rng.randrange(len(story.skill.steps))
    slip = rng.choice([-7, -5, -4, -3, -2, 2, 3, 4, 5, 7])
    done = calculate(story.skill.steps, story.numbers, {at: slip})
    return story.answer(done) if done and all(c.result >= 0 for c in done) else None


def swapped_operands(story: Story, rng: random.Random) -> str | None:
    """The story's numbers in each other's roles: right arithmetic, another result."""
    right = _worked(story)[-1].result
    orders = list(itertools.permutations(story.numbers.values()))
    rng.shuffle(orders)
    for order in orders:
        done = calculate(story.skill.steps, dict(zip(story.numbers, order, strict=True)))
        if done and done[-1].result != right and all(abs(c.result) <= 2 * LARGEST for c in done):
            return story.answer(done)
    return None


def wrong_operation(story: Story, _: random.Random) -> str | None:
    """Every operation replaced by another one: right arithmetic, another result."""
    steps = tuple(replace(step, op=OPPOSITE[step.op]) for step in story.skill.steps)
    done = calculate(steps, story.numbers)
    if not done or done[-1].result == _worked(story)[-1].result:
        return None
    return story.answer(done)


def truncated(story: Story, rng: random.Random) -> str | None:
    """The answer stops after its first line, or within it. No final line."""
    lines = story.lines(_worked(story))
    if len(lines) > 1 and rng.random() < 0.5:
        return "\n".join(lines[: rng.randrange(1, len(lines))])
    return lines[0].split("=<<")[0]


def irrelevant(_: Story, rng: random.Random) -> str | None:
    """Chatter instead of reasoning, and a number from nowhere."""
    return "\n".join([*rng.sample(CHATTER, rng.randint(1, 2)), f"#### {rng.randint(1, LARGEST)}"])


def other_problem(story: Story, rng: random.Random) -> str | None:
    """A correct answer, but to another question."""
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
    """(flaw's name, flawed answer). A flaw that this story cannot have is drawn again."""
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
