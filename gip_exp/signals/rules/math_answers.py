"""Rubric `math`: attributes of worked answers in GSM8K's format. A *mark* is `<<expression=result>>`.

final_line   1 if the last line is `#### number` after some reasoning; 0.5 if there is such a line elsewhere or without
             reasoning; else 0
marks_right  share of marks whose expression gives the stated result, to the digits shown; 1 without marks (nothing is
             wrong; other attributes penalise missing marks)
form         mean of two shares: reasoning lines with a mark; marks that are preceded by their expression and followed by
             their result
conclusion   1 if the final number is the result of the last mark, 0.5 if of another mark, else 0
grounded     share of the operands of marks that are in the question (as digits, as words, or implied by words such as
             half, dozen, week) or are the result of an earlier mark
coverage     share of the numbers of the question that a mark uses
steps        marks / (numbers of the question - 1), at most 1: combining n numbers takes n - 1 operations
density      3 * marks / numbers outside marks, at most 1: how much of the arithmetic is marked
length_fit   for w words of reasoning per mark: 1 for w from 4 to 16, else exp(-z^2 / 2) with the distance z to this range
             in powers of two
"""

from __future__ import annotations

import ast
import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

ATTRIBUTES = (
    "final_line", "marks_right", "form", "conclusion",
    "grounded", "coverage", "steps", "density", "length_fit",
)  # fmt: skip
FITTING_WORDS = (4.0, 16.0)  # words of reasoning per mark

NUMBER = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
NUMBERS = re.compile(NUMBER)
FINAL = re.compile(rf"####\s*\$?(-?\s*(?:{NUMBER}))\s*%?\s*")
MARK = re.compile(r"<<([^<>=]*)=([^<>]*)>>")
SHOWN = re.compile(rf"[-$€£ ]*({NUMBER})")
WORD = re.compile(r"[^\W\d_]+")

LONGEST_EXPRESSION = 200  # characters
OPERATIONS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}
_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
)
WORD_NUMBERS: dict[str, tuple[float, ...]] = {
    **{word: (float(value),) for value, word in enumerate(_UNITS.split())},
    **{"seventeen": (17.0,), "eighteen": (18.0,), "nineteen": (19.0,), "twenty": (20.0,), "thirty": (30.0,)},
    **{"forty": (40.0,), "fifty": (50.0,), "sixty": (60.0,), "eighty": (80.0,), "ninety": (90.0,)},
    **{"hundred": (100.0,), "thousand": (1000.0,), "million": (1e6,)},
}
# Numbers that a word of the question implies.
IMPLIED_NUMBERS: dict[str, tuple[float, ...]] = {
    **dict.fromkeys(("half", "halves"), (2.0, 0.5, 50.0)),
    **dict.fromkeys(
        ("twice", "double", "doubled", "doubles", "pair", "pairs", "couple", "both", "second"), (2.0,)
    ),
    **dict.fromkeys(("triple", "tripled", "thrice", "third", "thirds"), (3.0,)),
    **dict.fromkeys(("quarter", "quarters", "fourth", "fourths"), (4.0, 0.25, 25.0)),
    **dict.fromkeys(("fifth", "fifths"), (5.0,)),
    **dict.fromkeys(("dozen", "dozens"), (12.0,)),
    **dict.fromkeys(("day", "days", "daily"), (24.0, 7.0)),
    **dict.fromkeys(("week", "weeks", "weekly"), (7.0, 4.0, 52.0)),
    **dict.fromkeys(("month", "months", "monthly"), (12.0, 30.0, 31.0, 4.0)),
    **dict.fromkeys(("year", "years", "yearly", "annual", "annually"), (12.0, 52.0, 365.0)),
    **dict.fromkeys(("hour", "hours", "hourly"), (60.0, 24.0)),
    **dict.fromkeys(("minute", "minutes"), (60.0,)),
    **dict.fromkeys(("dollar", "dollars", "cent", "cents", "percent", "percentage"), (100.0,)),
    **dict.fromkeys(("feet", "foot", "inches", "inch"), (12.0,)),
    **dict.fromkeys(("yard", "yards"), (3.0,)),
}


@dataclass(frozen=True)
class _Mark:
    """A calculator mark: its expression and result as text, its position, its numbers."""

    expression: str
    claimed: str
    start: int
    end: int
    operands: tuple[float, ...]
    result: float | None


def judge(prompt: str, completion: str, _: str = "") -> tuple[float, ...]:
    """Compute the attributes, in the order of `ATTRIBUTES`."""
    text = completion.strip()
    marks = [_mark(m) for m in MARK.finditer(text)]
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    finals = [m for line in lines if (m := FINAL.fullmatch(line))]
    reasoning = [line for line in lines if not line.startswith("####")]
    ends_well = bool(lines and FINAL.fullmatch(lines[-1]) and reasoning)
    return (
        1.0 if ends_well else 0.5 * bool(finals),
        _mean([_is_right(mark) for mark in marks]) if marks else 1.0,
        _form(text, reasoning, marks),
        _conclusion(finals[-1].group(1) if finals else "", marks),
        *_use_of_numbers(prompt, marks),
        _density("\n".join(reasoning), marks),
        _length_fit(len(MARK.sub("", "\n".join(reasoning)).split()) / max(1, len(marks))),
    )


def _mark(match: re.Match[str]) -> _Mark:
    expression, claimed = match.group(1), match.group(2)
    operands = tuple(_number(n) for n in NUMBERS.findall(expression))
    return _Mark(expression, claimed, match.start(), match.end(), operands, evaluate(claimed))


@lru_cache(maxsize=4096)  # most expressions of a data set occur more than once
def evaluate(expression: str) -> float | None:
    """Evaluate a calculator expression (+ - * / parentheses, commas, $, %, x or × for times); None if it is not one.

    The syntax tree is interpreted, limited to numbers and arithmetic operators; text from a data set is never executed.
    """
    if len(expression) > LONGEST_EXPRESSION:
        return None
    try:
        value = _value(ast.parse(_normal(expression), mode="eval").body)
    except (SyntaxError, ValueError, ArithmeticError, RecursionError, MemoryError):
        return None
    return value if math.isfinite(value) else None


def _normal(expression: str) -> str:
    """Convert an expression to Python's syntax: no blanks, thousands separators, currency or leading zeros."""
    plain = re.sub(r"[\s$€£]|,(?=\d{3}(?!\d))", "", expression)
    plain = plain.replace("×", "*").replace("÷", "/").replace("−", "-").replace("%", "/100")
    plain = re.sub(r"(?<=[\d)])[xX](?=[\d.(])", "*", plain)
    return re.sub(r"(?<![\d.])0+(?=\d)", "", plain)


def _value(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        assert isinstance(node.value, int | float)
        return float(node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        value = _value(node.operand)
        return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATIONS:
        return OPERATIONS[type(node.op)](_value(node.left), _value(node.right))
    raise ValueError("not arithmetic")


def _is_right(mark: _Mark) -> float:
    """Return 1 if the expression gives the stated result, which may be rounded or truncated to its decimals."""
    value = evaluate(mark.expression)
    if value is None or mark.result is None:
        return 0.0
    decimals = len(mark.claimed.strip().rpartition(".")[2]) if "." in mark.claimed else 0
    tolerance = 10.0**-decimals if decimals else 1e-6
    return float(abs(value - mark.result) <= tolerance * (1 + 1e-9))


def _form(text: str, reasoning: list[str], marks: list[_Mark]) -> float:
    if not marks:
        return 0.0
    marked_lines = sum("<<" in line for line in reasoning) / max(1, len(reasoning))
    written_out = []
    for mark in marks:
        before = _normal(text[max(0, mark.start - 3 * len(mark.expression) - 8) : mark.start])
        led = before.rstrip("=").endswith(_normal(mark.expression))
        after = SHOWN.match(text, mark.end)
        followed = after is not None and _same(_number(after.group(1)), abs(mark.result or 0.0))
        written_out.append((led + followed) / 2)
    return (marked_lines + _mean(written_out)) / 2


def _conclusion(final: str, marks: list[_Mark]) -> float:
    if not final or not marks:
        return 0.0
    value = _number(final)
    if _same(value, marks[-1].result):
        return 1.0
    return 0.5 * any(_same(value, mark.result) for mark in marks)


def _use_of_numbers(prompt: str, marks: list[_Mark]) -> tuple[float, float, float]:
    """Compute (grounded, coverage, steps)."""
    numbers = [_number(n) for n in NUMBERS.findall(prompt)]
    known = _keys([*numbers, *(n / 100 for n in numbers), 1.0])
    words = [word.lower() for word in WORD.findall(prompt)]
    for word in words:
        if word in WORD_NUMBERS and word != "one":  # "one of them" is not a number to use
            numbers.extend(WORD_NUMBERS[word])
        known |= _keys(WORD_NUMBERS.get(word, ())) | _keys(IMPLIED_NUMBERS.get(word, ()))
    if "%" in prompt:
        known |= _keys([100.0, *(100 - n for n in numbers), *(100 + n for n in numbers)])
    used: set[float] = set()
    grounded: list[float] = []
    for mark in marks:
        keys = [_key(n) for n in mark.operands]
        grounded.extend(float(key in known) for key in keys)
        used.update(keys)
        if mark.result is not None:
            known.add(_key(abs(mark.result)))
    wanted = set(map(_key, numbers))
    used |= {_key(u * 100) for u in used}
    covered = len(wanted & used) / len(wanted) if wanted else float(bool(marks))
    return _mean(grounded), covered, min(1.0, len(marks) / max(1, len(numbers) - 1))


def _length_fit(words_a_step: float) -> float:
    low, high = FITTING_WORDS
    if words_a_step <= 0:
        return 0.0
    outside = max(math.log(low / words_a_step), math.log(words_a_step / high), 0.0)
    return math.exp(-((outside / math.log(2)) ** 2) / 2)


def _density(reasoning: str, marks: list[_Mark]) -> float:
    outside = len(NUMBERS.findall(MARK.sub(" ", reasoning)))
    return min(1.0, 3 * len(marks) / max(1, outside))


def _number(text: str) -> float:
    return float(text.replace(",", "").replace(" ", ""))


def _key(value: float) -> float:
    """Round a number for comparison, to six decimals."""
    return round(value, 6)


def _keys(values: Sequence[float]) -> set[float]:
    return {_key(value) for value in values}


def _same(value: float, other: float | None) -> bool:
    return other is not None and math.isclose(value, other, rel_tol=1e-6, abs_tol=1e-6)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
