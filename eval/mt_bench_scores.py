"""From a judge's replies to MT-Bench scores: ratings, means over questions, spread over repeats.

A judgement without a rating never becomes a number. A question counts in its category and in `all` only if both
of its turns are rated, and in the mean of a turn if that turn is; questions with an unrated turn are listed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev

from eval.mt_bench_files import Question
from eval.results import EvalResult, Prediction, listed
from eval.statistics import mean_interval

RATING = re.compile(r"\[\[(\d+\.?\d*)\]\]")
_GIVEN = re.compile(
    r"rating\W{0,12}" + RATING.pattern, re.IGNORECASE
)  # the form that the judge's prompt asks for
_SCALE = re.compile(
    RATING.pattern + r"\s*(?:out\s+of|of|/)\s*" + RATING.pattern, re.IGNORECASE
)  # "[[8]] out of [[10]]"


@dataclass(frozen=True)
class Failed:
    """Stands in for a missing reply and gives the reason."""

    reason: str


@dataclass(frozen=True)
class Answer:
    """The model's replies to a question.

    Attributes:
        question_id: the question.
        turns: replies to the turns that were reached.
        failure: why the conversation stopped early, if it did.
    """

    question_id: int
    turns: tuple[str, ...]
    failure: str | None = None


@dataclass(frozen=True)
class Judgement:
    """One reply of the judge; `rating` is None exactly if `failure` gives a reason."""

    question_id: int
    category: str
    turn: int
    repeat: int
    rating: float | None
    reply: str
    failure: str | None


@dataclass(frozen=True)
class MTBenchResult(EvalResult):
    """Means over questions: `mt_bench/<category>`, `mt_bench/all`, `mt_bench/turn_1`, `mt_bench/turn_2`.

    The value of a question is the mean rating of its two turns, each averaged over the repeats of the judge.

    Attributes:
        answers: the model's answers.
        judgements: every reply of the judge.
        unscored: ids of questions with an unrated turn.
        judge_spread: standard deviation of each metric over repeats, on questions rated in every repeat; empty
            with one repeat.
    """

    answers: tuple[Answer, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    unscored: tuple[int, ...] = ()
    judge_spread: dict[str, float] = field(default_factory=dict)

    @property
    def failures(self) -> tuple[Judgement, ...]:
        """Judgements without a rating."""
        return tuple(j for j in self.judgements if j.rating is None)


def parse_rating(reply: str) -> float | Failed:
    """Return the rating `[[n]]` in a judge's reply, 1 <= n <= 10, or Failed with the reason.

    The last one after the word "Rating" counts; without that word, the last one that is not the end of a scale.

    Args:
        reply: the judge's whole reply.

    Returns:
        The rating, or Failed.

    Example:
        >>> parse_rating("Better than [[5]]. Rating: [[8]]")
        8.0
        >>> parse_rating("It deserves [[8]] out of [[10]].")
        8.0
        >>> parse_rating("Rating: [[11]]")
        Failed(reason='rating 11 is not in 1..10')
    """
    found = _GIVEN.findall(reply) or RATING.findall(_SCALE.sub(r"[[\1]]", reply))
    if not found:
        return Failed(f"no [[rating]] in the reply {_shortened(reply)!r}")
    rating = float(found[-1])
    return rating if 1 <= rating <= 10 else Failed(f"rating {found[-1]} is not in 1..10")


def rate(question: Question, turn: int, repeat: int, reply: str | Failed) -> Judgement:
    """Make a judgement from the judge's reply.

    Args:
        question: the question.
        turn: 1 or 2.
        repeat: number of the repeat, from 0.
        reply: the judge's reply, or Failed.

    Returns:
        Judgement, with a rating or with the reason why there is none.

    Example:
        >>> question = Question(1, "writing", ("Write about rain.", "Make it shorter."))
        >>> rate(question, turn=1, repeat=0, reply="Rating: [[8]]").rating
        8.0
    """
    rating = reply if isinstance(reply, Failed) else parse_rating(reply)
    failure = rating.reason if isinstance(rating, Failed) else None
    return Judgement(
        question.id,
        question.category,
        turn,
        repeat,
        None if isinstance(rating, Failed) else rating,
        "" if isinstance(reply, Failed) else reply,
        failure,
    )


def summarise(
    questions: Sequence[Question], answers: Sequence[Answer], judgements: Sequence[Judgement], repeats: int
) -> MTBenchResult:
    """Combine judgements into metrics with intervals, outcomes per question, warnings and the judge's spread.

    Args:
        questions: the questions that were asked.
        answers: the model's answers.
        judgements: the judge's ratings and failures.
        repeats: how often every answer was graded.

    Returns:
        MTBenchResult.

    Example:
        >>> question = Question(1, "writing", ("Write about rain.", "Make it shorter."))
        >>> ratings = [rate(question, turn, 0, f"[[{6 + turn}]]") for turn in (1, 2)]
        >>> summarise([question], [Answer(1, ("Rain falls.", "Rain."))], ratings, 1).metrics["mt_bench/all"].value
        7.5
    """
    values = _values(questions, judgements)
    written = {a.question_id: json.dumps(a.turns, ensure_ascii=False) for a in answers}
    known = {q.id: q for q in questions}
    predictions = {
        name: tuple(
            Prediction(str(id), value, written[id], json.dumps(known[id].reference, ensure_ascii=False))
            for id, value in scored.items()
        )
        for name, scored in values.items()
        if scored
    }
    unscored = tuple(q.id for q in questions if q.id not in values["mt_bench/all"])
    return MTBenchResult(
        metrics={name: mean_interval([p.value for p in out]) for name, out in predictions.items()},
        predictions=predictions,
        warnings=_warnings(answers, judgements, unscored),
        answers=tuple(answers),
        judgements=tuple(judgements),
        unscored=unscored,
        judge_spread=_spread(questions, judgements, repeats),
    )


def _values(questions: Sequence[Question], judgements: Sequence[Judgement]) -> dict[str, dict[int, float]]:
    """Return metric -> question -> value over the given judgements."""
    rated: dict[tuple[int, int], list[float]] = {}
    for j in judgements:
        if j.rating is not None:
            rated.setdefault((j.question_id, j.turn), []).append(j.rating)
    turns = {key: fmean(ratings) for key, ratings in rated.items()}
    both = {
        q.id: fmean([turns[q.id, t] for t in (1, 2)])
        for q in questions
        if {(q.id, 1), (q.id, 2)} <= turns.keys()
    }
    values = {
        f"mt_bench/{category}": {
            q.id: both[q.id] for q in questions if q.category == category and q.id in both
        }
        for category in dict.fromkeys(q.category for q in questions)
    }
    values["mt_bench/all"] = both
    for turn in (1, 2):
        values[f"mt_bench/turn_{turn}"] = {
            q.id: turns[q.id, turn] for q in questions if (q.id, turn) in turns
        }
    return values


def _spread(questions: Sequence[Question], judgements: Sequence[Judgement], repeats: int) -> dict[str, float]:
    """Return the standard deviation of each metric over repeats, on the questions that every repeat rated."""
    if repeats < 2:
        return {}
    rounds = [_values(questions, [j for j in judgements if j.repeat == r]) for r in range(repeats)]
    spread = {}
    for name in rounds[0]:
        shared = set.intersection(*(set(values[name]) for values in rounds))
        if shared:
            spread[name] = stdev(fmean(values[name][id] for id in sorted(shared)) for values in rounds)
    return spread


def _warnings(
    answers: Sequence[Answer], judgements: Sequence[Judgement], unscored: Sequence[int]
) -> tuple[str, ...]:
    notes = []
    lost = [f"question {a.question_id}, {a.failure}" for a in answers if a.failure]
    if lost:
        notes.append(f"{len(lost)} of {len(answers)} questions lack an answer: {listed(lost)}")
    empty = [f"question {a.question_id}" for a in answers if any(not turn.strip() for turn in a.turns)]
    if empty:
        notes.append(f"{len(empty)} of {len(answers)} questions have an empty answer: {listed(empty)}")
    failed = [f"question {j.question_id}, turn {j.turn}: {j.failure}" for j in judgements if j.rating is None]
    if failed:
        notes.append(f"{len(failed)} of {len(judgements)} judgements failed: {listed(failed)}")
    if unscored:
        notes.append(
            f"{len(unscored)} of {len(answers)} questions are unscored and in no category's mean: "
            + listed([str(id) for id in unscored])
        )
    return tuple(notes)


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else text[:77] + "..."
