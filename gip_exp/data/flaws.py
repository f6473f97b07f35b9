"""Known flaws in real rows (`data.flawed`): as in the quickstart, so that it is known which rows a selector should avoid.

Three flaws, about equally often, where a row allows them:

wrong_arithmetic  one result of a worked answer (`<<48/2=24>>`) is wrong; later steps and the final answer follow from it
truncated         the answer stops within its first line or after one of its lines, before the last one
other_problem     the answer is that of another of these rows: sound in itself, but it answers another question

The first two show on the surface; the third does not. Prompts and test rows stay as they are.
"""

import ast
import operator
import random
import re
from collections import Counter
from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

from gip_exp.data.load import EXAMPLE
from gip_exp.errors import UserError
from gip_exp.storage.row_table import RowTable, collected
from gip_exp.words import is_unspaced

MARK = re.compile(r"<<([^<>=]+)=([^<>=]+)>>")
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?|\.\d+")
SLIPS = (-7, -5, -4, -3, -2, 2, 3, 4, 5, 7)  # as in the quickstart
OPERATIONS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
LONGEST = 200  # characters of an expression
EXCHANGED = "other_problem"


def wrong_arithmetic(answer: str, rng: random.Random) -> str | None:
    r"""Change one result of a worked answer by 2 to 7, and everything that follows from it.

    Example:
        >>> wrong_arithmetic("He has 2*3 = <<2*3=6>>6. Then 6+1 = <<6+1=7>>7.\n#### 7", random.Random(1))
        'He has 2*3 = <<2*3=6>>6. Then 6+1 = <<6+1=2>>2.\n#### 2'
    """
    marks = list(MARK.finditer(answer))
    tries = [(at, slip) for at in range(len(marks)) for slip in SLIPS]
    rng.shuffle(tries)
    final = NUMBER.findall(answer)[-1:]
    for at, slip in tries:
        changed = _slipped(answer, marks, at, slip)
        if changed is not None and NUMBER.findall(changed)[-1:] != final:
            return changed
    return None


def _slipped(answer: str, marks: list[re.Match[str]], at: int, slip: int) -> str | None:
    """Return the answer with the result of mark `at` changed by `slip`; None if a later step has no result then."""
    wrong: dict[float, str] = {}  # right number -> the number that takes its place

    def follow(text: str) -> str:
        return NUMBER.sub(lambda number: wrong.get(_value(number[0]), number[0]), text)

    parts, end = [], 0
    for number, mark in enumerate(marks):
        parts.append(follow(answer[end : mark.start()]))
        expression, claimed = follow(mark[1]), mark[2].strip()
        end = mark.end()
        if number != at and expression == mark[1]:
            parts.append(mark[0])
            continue
        right = _value(claimed) if NUMBER.fullmatch(claimed) else None
        result = None if right is None else right + slip if number == at else _evaluated(expression)
        if right is None or result is None or result < 0:
            return None
        wrong[right] = _shown(result)
        parts.append(f"<<{expression}={wrong[right]}>>")
    return "".join(parts) + follow(answer[end:])


def truncated(answer: str, rng: random.Random) -> str | None:
    """Stop after one of the lines but the last two, or within the first line; None for an answer of one word."""
    lines = answer.strip().split("\n")
    if len(lines) > 2 and rng.random() < 0.5:
        return "\n".join(lines[: rng.randrange(1, len(lines) - 1)])
    unspaced = is_unspaced(lines[0])  # a letter is a word there
    words = list(lines[0]) if unspaced else lines[0].split()
    if len(words) < 2:
        return None
    return ("" if unspaced else " ").join(words[: max(1, round(rng.uniform(0.3, 0.8) * len(words)))])


FLAWS: Mapping[str, Callable[[str, random.Random], str | None]] = {
    "wrong_arithmetic": wrong_arithmetic,
    "truncated": truncated,
}


def flawed_pool(pool: RowTable, share: float, seed: int) -> tuple[RowTable, list[dict[str, Any]]]:
    """Make a share of the rows flawed.

    Args:
        pool: The rows.
        share: Of all rows, in (0, 1).
        seed: Random seed, of the choice of rows and of the flaws.

    Returns:
        The pool, and a label for each of its rows: its id and the name of its flaw, None for a sound row.

    Raises:
        UserError: too few rows are a question with a plain answer.
    """
    rows = list(pool)
    rng = random.Random(f"flaws {seed}")
    plain = [number for number, row in enumerate(rows) if "turns" not in row]
    wanted = round(share * len(rows))
    if len(plain) < max(2, wanted):
        raise UserError(
            f"data.flawed={share} of {len(rows):,} rows is {wanted:,}, but {len(plain):,} are a question with a plain answer "
            "(at least 2 are needed): lower it, or give more such rows"
        )
    chosen = rng.sample(plain, wanted)
    flaws = {number: _flaw(rows[number], rng) for number in chosen}
    _exchange(rows, [number for number in chosen if flaws[number] == EXCHANGED], rng, plain)
    labels = [{"id": row["id"], "flaw": flaws.get(number)} for number, row in enumerate(rows)]
    return collected(rows, *EXAMPLE), labels


def counted(labels: list[dict[str, Any]]) -> str:
    """Return the flaws with their numbers of rows, most frequent first, for a note."""
    found = Counter(label["flaw"] for label in labels if label["flaw"] is not None)
    return ", ".join(f"{name} {n:,}" for name, n in found.most_common())


def _flaw(row: dict[str, Any], rng: random.Random) -> str:
    """Give the row a flaw that is possible for it, and return its name; `other_problem` is left to `_exchange`."""
    names = [*FLAWS, EXCHANGED]
    rng.shuffle(names)
    for name in names:
        if name == EXCHANGED:
            break
        changed = FLAWS[name](row["completion"], rng)
        if changed is not None:
            row["completion"] = changed
            return name
    return EXCHANGED


def _exchange(rows: list[dict[str, Any]], chosen: list[int], rng: random.Random, plain: list[int]) -> None:
    """Give each chosen row the answer of another one, or of any row that differs where theirs are equal."""
    answers = [rows[number]["completion"] for number in chosen]
    others = [rows[number]["completion"] for number in rng.sample(plain, len(plain))]
    for number, answer in zip(chosen, answers[1:] + answers[:1], strict=True):
        own = rows[number]["completion"]
        found = next((other for other in chain([answer], others) if other != own), None)
        if found is None:
            raise UserError(
                "data.flawed exchanges answers, but all answers of the rows are the same: set it to 0"
            )
        rows[number]["completion"] = found


def _value(text: str) -> float:
    return float(text.replace(",", ""))


def _shown(value: float) -> str:
    return f"{round(value, 2):.12g}"


def _evaluated(expression: str) -> float | None:
    """Return the value of an arithmetic expression; None if it is none, or divides by zero."""
    if len(expression) > LONGEST:
        return None
    try:
        return _of(ast.parse(expression.replace(",", "").strip(), mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError, OverflowError, RecursionError):
        return None


def _of(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return float(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS:
        return OPERATIONS[type(node.op)](_of(node.left), _of(node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_of(node.operand)
    raise ValueError("not arithmetic")
