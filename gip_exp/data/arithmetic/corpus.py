"""Pre-training text for the quickstart's base model.

Like the base model of a real experiment, it should know the words, the arithmetic and how to copy from its context, but
not the task. Documents are therefore of these kinds, and never a story with its worked answer:
  facts        calculations, several per line
  story        a story without answer, followed by its words again or by its numbers in order
  expression   numbers and operations, followed by the worked expression, without a story
  sentences    sentences of worked answers with random numbers
  copy         a random list, then the same list again
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping

from gip_exp.data.arithmetic.skills import LARGEST, NAMES, SKILLS, THINGS, Calculation, apply, draw_story

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


def _facts(rng: random.Random) -> str:
    facts = [fact(rng) for _ in range(8)]
    if rng.random() < 0.25:
        return " ".join(map(str, facts))
    return " ".join(f"{f.left}{f.op}{f.right}={f.result}" for f in facts)  # without marks, so in fewer tokens


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
