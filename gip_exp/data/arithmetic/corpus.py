"""Pre-training text for the quickstart's base model.

Like the base model of a real experiment, it should know the words, the arithmetic and how to copy from its context, but
not the task. Documents are therefore of these kinds, and never a story with its worked answer:
  facts        calculations, several per line, most in chains that continue from each result
  story        a story without answer, followed by its words again or by its numbers in order
  expression   numbers and operations, followed by the worked expression, without a story
  sentences    sentences of worked answers with random numbers
  copy         a random list, then the same list again
`taught` names the part of a document that follows from what precedes it; the loss covers only that part, not the numbers
and names drawn at random.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping

from gip_exp.data.arithmetic.skills import LARGEST, NAMES, SKILLS, THINGS, Calculation, apply, draw_story

_RESULT = re.compile(r"(?<==)(?:<<)?\d+(?:[-+*/]\d+=\d+>>\d+)?")  # plain, or between calculator marks

MIX: Mapping[str, float] = {"facts": 5, "story": 4, "expression": 3, "sentences": 1, "copy": 3}


def make_corpus(n: int, seed: int, *, mix: Mapping[str, float] | None = None) -> list[str]:
    """Generate `n` documents, reproducibly; `mix` is the relative frequency of each kind."""
    mix = MIX if mix is None else mix
    unknown = sorted(set(mix) - set(KINDS))
    if n < 1 or unknown or not any(mix.values()):
        raise ValueError(f"n is {n} (at least 1), mix is {mix} (weights for {', '.join(KINDS)}, not all 0)")
    rng = random.Random(f"corpus {seed}")
    kinds = list(mix)
    return [KINDS[kind](rng) for kind in rng.choices(kinds, [mix[k] for k in kinds], k=n)]


def fact(rng: random.Random) -> Calculation:
    """Draw a calculation whose numbers and result are in 1..LARGEST."""
    op = rng.choice("+-*/")
    if op == "+":
        left = rng.randint(1, LARGEST - 2)
        right = rng.randint(1, LARGEST - left)
    elif op == "-":
        left = rng.randint(2, LARGEST)
        right = rng.randint(1, left - 1)
    elif op == "*":
        left = rng.randint(2, LARGEST // 2)
        right = rng.randint(2, max(2, LARGEST // left))
    else:
        right = rng.randint(2, LARGEST // 2)
        left = right * rng.randint(1, LARGEST // right)
    result = apply(op, left, right)
    assert result is not None
    return Calculation(left, op, right, result)


def taught(document: str) -> list[tuple[int, int]]:
    """Return the spans of characters of a document that follow from what precedes them.

    Example:
        >>> taught("2+3=5 7*2=14")
        [(4, 5), (10, 12)]
    """
    if document[0].isdigit():
        return [match.span() for match in _RESULT.finditer(document)]
    marks = {"Story:": ("Again:", "Numbers:"), "List:": ("Again:",), "Numbers:": ("Work:",)}
    of_kind = marks.get(document.split(maxsplit=1)[0], ())
    return [(max((document.rfind(mark) for mark in of_kind), default=0), len(document))]


def _facts(rng: random.Random) -> str:
    if rng.random() < 0.25:
        return " ".join(str(fact(rng)) for _ in range(8))
    return " ".join(_chain(rng) for _ in range(3))  # without marks and chained, so in fewer tokens


def _chain(rng: random.Random) -> str:
    """Return four calculations, each continuing from the previous result: `3*4=12-5=7+1=8/2=4`."""
    first = fact(rng)
    text, result = f"{first.left}{first.op}{first.right}={first.result}", first.result
    for _ in range(3):
        op, right, result = _follow_up(rng, result)
        text += f"{op}{right}={result}"
    return text


def _follow_up(rng: random.Random, left: int) -> tuple[str, int, int]:
    """Return (operation, right number, result) of a random calculation on `left`, with a result in 1..LARGEST."""
    while True:
        op = rng.choice("+-*/")
        largest = {"+": LARGEST - left, "-": left - 1, "*": LARGEST // left, "/": left}[op]
        right = rng.randint(1 if op in "+-" else 2, max(2, largest))
        result = apply(op, left, right)
        if result is not None and 1 <= result <= LARGEST:
            return op, right, result


def _story(rng: random.Random) -> str:
    question = draw_story(rng.choice(SKILLS), rng).question
    if rng.random() < 0.35:
        return f"Story: {question}\nAgain: {question}"
    return f"Story: {question}\nNumbers: {' '.join(re.findall(r'[0-9]+', question))}"


def _expression(rng: random.Random) -> str:
    first = fact(rng)
    third = rng.randint(1, LARGEST)
    follow_ups = [Calculation(first.result, "+", third, first.result + third)]
    follow_ups.append(Calculation(first.result, "-", third, first.result - third))
    follow_ups.append(Calculation(third, "-", first.result, third - first.result))
    follow_ups = [c for c in follow_ups if 1 <= c.result <= LARGEST]
    work, numbers, use = [first], [first.left, first.right], first.op
    if rng.random() < 0.3:
        numbers.reverse()
        use += " swap"
    if follow_ups and rng.random() < 0.6:
        then = rng.choice(follow_ups)
        work.append(then)
        use += " then - from" if then.op == "-" and then.left == third else f" then {then.op}"
        if rng.random() < 0.3:
            numbers.insert(0, third)
            use += " first"
        else:
            numbers.append(third)
    listed = " ".join(map(str, numbers))
    return f"Numbers: {listed}\nUse: {use}\nWork: {' '.join(map(str, work))} so {work[-1].result}"


def _sentences(rng: random.Random) -> str:
    lines = []
    for _ in range(rng.randint(2, 4)):
        step = rng.choice(rng.choice(SKILLS).steps)
        person, other = rng.sample(NAMES, 2)
        words = {"person": person, "other": other, "thing": rng.choice(THINGS)}
        lines.append(f"{step.lead.format(**words)} {fact(rng)} {step.unit.format(**words)}.")
    return "\n".join(lines)


def _copy(rng: random.Random) -> str:
    def item() -> str:
        return rng.choice(NAMES + THINGS) if rng.random() < 0.5 else str(rng.randint(1, LARGEST))

    listed = " ".join(item() for _ in range(rng.randint(5, 10)))
    return f"List: {listed}\nAgain: {listed}"


KINDS: dict[str, Callable[[random.Random], str]] = {
    "facts": _facts,
    "story": _story,
    "expression": _expression,
    "sentences": _sentences,
    "copy": _copy,
}
