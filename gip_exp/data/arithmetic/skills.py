"""The skills of the generated problems: wordings, ranges of the numbers, calculations.

The calculation of a skill is a list of steps `left op right`. An operand is a letter for a number of the story, a digit
`1`, `2`, ... for the result of an earlier step, or `=k` for a constant implied by the wording ("half" divides by 2).
Numbers are drawn uniformly until every step gives an integer from 1 to `LARGEST`, so that a very small model can learn all
of the arithmetic.

`SKILLS` is in order of frequency: `problems.make_pool` gives the r-th skill the weight r ** -tail.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

LARGEST = 40  # largest number and result

NAMES = ("Ada", "Bo", "Cleo", "Dan", "Eva", "Finn", "Gwen", "Hugo", "Iris", "Jack", "Kira", "Luis")
THINGS = (
    "apples",
    "pens",
    "books",
    "coins",
    "cards",
    "shells",
    "stamps",
    "marbles",
    "cookies",
    "balls",
    "plums",
)
BOXES = ("bags", "boxes", "jars", "trays", "crates", "packs")


@dataclass(frozen=True)
class Step:
    """One line of an answer: `lead left op right = result unit`."""

    lead: str
    left: str
    op: str
    right: str
    unit: str = "{thing}"


@dataclass(frozen=True)
class Skill:
    """A kind of problem: its wordings (format strings), the range of each number, its steps in order."""

    name: str
    wordings: tuple[str, ...]
    ranges: Mapping[str, tuple[int, int]]
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class Words:
    """A story without its numbers. Two stories with equal words are near-duplicates."""

    person: str
    other: str
    thing: str
    box: str
    wording: int


@dataclass(frozen=True)
class Calculation:
    """One step with its numbers filled in."""

    left: int
    op: str
    right: int
    result: int

    def __str__(self) -> str:
        expression = f"{self.left}{self.op}{self.right}"
        return f"{expression}=<<{expression}={self.result}>>{self.result}"


@dataclass(frozen=True)
class Story:
    """A problem without its answer."""

    skill: Skill
    words: Words
    numbers: Mapping[str, int]

    @property
    def question(self) -> str:
        """The problem's text."""
        return self._fill(self.skill.wordings[self.words.wording])

    def answer(self, calculations: list[Calculation] | None = None) -> str:
        """Return an answer in GSM8K's format: one line per step, then `#### result`; by default the correct one."""
        done = calculations or calculate(self.skill.steps, self.numbers)
        assert done, "draw_story only makes stories that can be calculated"
        return "\n".join([*self.lines(done), f"#### {done[-1].result}"])

    def lines(self, calculations: list[Calculation]) -> list[str]:
        """Return the lines of the worked answer, one per calculation."""
        return [
            f"{self._fill(step.lead)} {done} {self._fill(step.unit)}."
            for step, done in zip(self.skill.steps, calculations, strict=True)
        ]

    def _fill(self, template: str) -> str:
        w = self.words
        return template.format(person=w.person, other=w.other, thing=w.thing, box=w.box, **self.numbers)


def apply(op: str, left: int, right: int) -> int | None:
    """Return `left op right` as an integer; None if a division has a remainder."""
    if op == "/":
        return left // right if right and left % right == 0 else None
    return {"+": left + right, "-": left - right, "*": left * right}[op]


def calculate(
    steps: tuple[Step, ...], numbers: Mapping[str, int], slips: Mapping[int, int] | None = None
) -> list[Calculation] | None:
    """Calculate the steps in order; None if a division has a remainder.

    `slips` maps the index of a step to an error added to its result, which later steps use.
    """
    done: list[Calculation] = []

    def operand(name: str) -> int:
        if name.startswith("="):
            return int(name[1:])
        return done[int(name) - 1].result if name.isdigit() else numbers[name]

    for position, step in enumerate(steps):
        left, right = operand(step.left), operand(step.right)
        result = apply(step.op, left, right)
        if result is None:
            return None
        done.append(Calculation(left, step.op, right, result + (slips or {}).get(position, 0)))
    return done


def draw_words(skill: Skill, rng: random.Random) -> Words:
    """Draw the words of a new story uniformly."""
    person, other = rng.sample(NAMES, 2)
    wording = rng.randrange(len(skill.wordings))
    return Words(person, other, rng.choice(THINGS), rng.choice(BOXES), wording)


def draw_story(skill: Skill, rng: random.Random, words: Words | None = None) -> Story:
    """Draw a story of a skill; with `words`, a near-duplicate with other numbers."""
    words = words or draw_words(skill, rng)
    while True:
        numbers = {name: rng.randint(low, high) for name, (low, high) in skill.ranges.items()}
        done = calculate(skill.steps, numbers)
        if done and all(1 <= c.result <= LARGEST for c in done):
            return Story(skill, words, numbers)


SKILLS = (
    Skill(
        "add",
        (
            "{person} has {a} {thing}. {other} gives {person} {b} more {thing}. How many {thing} does {person} have now?",
            "There are {a} {thing} on a shelf. {person} puts {b} more {thing} on it. How many {thing} are on the shelf?",
        ),
        {"a": (2, 20), "b": (2, 20)},
        (Step("In total there are", "a", "+", "b"),),
    ),
    Skill(
        "subtract",
        (
            "{person} has {a} {thing}. {person} gives {b} {thing} to {other}. How many {thing} does {person} have left?",
            "A shop has {a} {thing}. It sells {b} {thing}. How many {thing} remain?",
        ),
        {"a": (8, LARGEST), "b": (2, 36)},
        (Step("What is left is", "a", "-", "b"),),
    ),
    Skill(
        "multiply",
        (
            "{person} has {a} {box} with {b} {thing} in each. How many {thing} does {person} have?",
            "{person} fills {a} {box}. Each one holds {b} {thing}. How many {thing} is that?",
        ),
        {"a": (2, 8), "b": (2, 20)},
        (Step("Together they hold", "a", "*", "b"),),
    ),
    Skill(
        "divide",
        (
            "{person} shares {a} {thing} equally among {b} friends. How many {thing} does each friend get?",
            "{person} puts {a} {thing} into {b} {box} equally. How many {thing} are in each?",
        ),
        {"a": (4, LARGEST), "b": (2, 8)},
        (Step("Each one gets", "a", "/", "b"),),
    ),
    Skill(
        "multiply_add",
        (
            "{person} has {a} {box} of {b} {thing} and {c} loose {thing}. How many {thing} does {person} have in all?",
            "{person} has {c} {thing} and gets {a} {box} of {b} {thing} each. How many {thing} does {person} own then?",
        ),
        {"a": (2, 6), "b": (2, 15), "c": (2, 20)},
        (Step("The packed ones are", "a", "*", "b"), Step("With the loose ones that is", "1", "+", "c")),
    ),
    Skill(
        "add_subtract",
        (
            "{person} has {a} {thing}, buys {b} more {thing}, then loses {c} {thing}. How many {thing} does {person} have?",
            "{person} finds {a} {thing} on Monday and {b} {thing} on Friday. {other} takes {c} of them. "
            "How many {thing} does {person} keep?",
        ),
        {"a": (2, 18), "b": (3, 18), "c": (2, 30)},
        (Step("First there are", "a", "+", "b"), Step("After that there are", "1", "-", "c")),
    ),
    Skill(
        "compare",
        (
            "{person} has {a} {thing}. {other} has {b} more {thing} than {person}. How many {thing} do they have together?",
            "{other} has {b} more {thing} than {person}, who has {a} {thing}. How many {thing} do both have together?",
        ),
        {"a": (2, 14), "b": (2, 30)},
        (Step("{other} has", "a", "+", "b"), Step("Both together have", "1", "+", "a")),
    ),
    Skill(
        "multiply_subtract",
        (
            "{person} has {a} {box} of {b} {thing} each, but {c} {thing} are broken. How many {thing} are fine?",
            "{person} packs {a} {box} of {b} {thing}. {other} eats {c} {thing}. How many {thing} are uneaten?",
        ),
        {"a": (2, 8), "b": (2, 20), "c": (1, 30)},
        (Step("The whole amount is", "a", "*", "b"), Step("Taking some away leaves", "1", "-", "c")),
    ),
    Skill(
        "change",
        (
            "{person} buys {a} {thing} for {b} dollars each and pays with {c} dollars. How much change does {person} get?",
            "One of the {thing} costs {b} dollars. {person} buys {a} and pays {c} dollars. What is the change in dollars?",
        ),
        {"a": (2, 6), "b": (2, 17), "c": (5, LARGEST)},
        (Step("The cost is", "a", "*", "b", "dollars"), Step("The change is", "c", "-", "1", "dollars")),
    ),
    Skill(
        "times_as_many",
        (
            "{person} has {a} {thing}. {other} has {b} times as many {thing}. How many {thing} do they have altogether?",
            "{other} owns {b} times as many {thing} as {person}. {person} owns {a} {thing}. How many {thing} are there?",
        ),
        {"a": (2, 13), "b": (2, 5)},
        (Step("{other} owns", "a", "*", "b"), Step("Altogether they own", "1", "+", "a")),
    ),
    Skill(
        "divide_add",
        (
            "{a} {thing} are split equally among {b} kids. {person} is one of them and already had {c} {thing}. "
            "How many {thing} does {person} have?",
            "{person} and friends, {b} kids in total, split {a} {thing} equally. {person} then finds {c} {thing}. "
            "How many {thing} does {person} have?",
        ),
        {"a": (4, LARGEST), "b": (2, 8), "c": (2, 20)},
        (Step("An equal part is", "a", "/", "b"), Step("So {person} ends with", "1", "+", "c")),
    ),
    Skill(
        "goal",
        (
            "{person} makes {b} {thing} a day for {a} days. The goal is {c} {thing}. How many more {thing} are needed?",
            "The goal is {c} {thing}. {person} collects {b} {thing} per day. How many {thing} are missing after {a} days?",
        ),
        {"a": (2, 6), "b": (2, 17), "c": (5, LARGEST)},
        (Step("After the days {person} made", "b", "*", "a"), Step("Still missing are", "c", "-", "1")),
    ),
    Skill(
        "rest_per_day",
        (
            "{person} must sort {a} {thing}. {b} {thing} are sorted already. The rest takes {c} days. "
            "How many {thing} is that a day?",
            "Of {a} {thing} in a store, {b} {thing} are sold. {person} sells the rest in {c} days. "
            "How many {thing} does {person} sell each day?",
        ),
        {"a": (8, LARGEST), "b": (2, 30), "c": (2, 6)},
        (Step("The rest is", "a", "-", "b"), Step("For every day that is", "1", "/", "c")),
    ),
    Skill(
        "half_sold",
        (
            "{person} has {a} {thing} and sells half of them. Then {other} brings {b} {thing}. "
            "How many {thing} does {person} have?",
            "Half of the {a} {thing} of {person} are gone. {person} gets {b} new {thing}. How many {thing} are there now?",
        ),
        {"a": (4, LARGEST), "b": (2, 20)},
        (Step("Half of them is", "a", "/", "=2"), Step("With the new ones there are", "1", "+", "b")),
    ),
    Skill(
        "shared_purse",
        (
            "{person} has {a} {thing} and {other} has {b} {thing}. They put them together and share them equally "
            "among {c} friends. How many {thing} does each friend get?",
            "{c} friends share the {a} {thing} of {person} and the {b} {thing} of {other} equally. "
            "How many {thing} are there for each friend?",
        ),
        {"a": (2, 20), "b": (2, 20), "c": (2, 6)},
        (Step("The two bring", "a", "+", "b"), Step("A single share is", "1", "/", "c")),
    ),
    Skill(
        "two_kinds",
        (
            "{person} has {a} small {box} of {b} {thing} and {c} large {box} of {d} {thing}. "
            "How many {thing} does {person} have?",
            "There are {a} rows of {b} {thing} and {c} rows of {d} {thing}. How many {thing} does {person} count?",
        ),
        {"a": (2, 5), "b": (2, 8), "c": (2, 4), "d": (3, 10)},
        (
            Step("The first kind makes", "a", "*", "b"),
            Step("The second kind makes", "c", "*", "d"),
            Step("The sum of both is", "1", "+", "2"),
        ),
    ),
)
