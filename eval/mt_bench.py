"""MT-Bench: both turns of 80 questions, each answer graded 1 to 10 by a given judge.

As published: a temperature per category, single-answer grading, reference answers for math, reasoning and
coding, second turns judged with the whole conversation. Deliberate differences from FastChat: a failed
judgement is counted and its question reported as unscored, where FastChat leaves out the judgement alone; the
last `[[n]]` after "Rating" is the rating (else the last that is not the end of a scale), not the first of all, and
a number in single brackets is none; anything in an answer that looks like a mark of the judge's prompt or like a
rating is shown with spaces in it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from eval.mt_bench_files import MTBench, Question
from eval.mt_bench_scores import Answer, Failed, MTBenchResult, rate, summarise
from eval.results import listed

TEMPERATURES = {
    "writing": 0.7,
    "roleplay": 0.7,
    "reasoning": 0.0,
    "math": 0.0,
    "coding": 0.0,
    "extraction": 0.0,
    "stem": 0.1,
    "humanities": 0.1,
}
WITH_REFERENCE = frozenset({"math", "reasoning", "coding"})
# The marks of the published judge prompts, and a rating, which a judge might quote from an answer.
_MARKS = re.compile(
    r"(\[|<\|)(The (?:Start|End) of [^\[\]<>\n]{1,80}|\[\d+(?:\.\d+)?\]|(?:Instruction|Question)(?=\]))(\]|\|>)"
    r"|^(#)(## (?:User|Assistant A|Reference answer))(:)",
    re.MULTILINE | re.IGNORECASE,
)


Conversation = list[dict[str, str]]
Reply = str | Failed
# generator(conversations, temperature): one reply per conversation, in order.
Generator = Callable[[list[Conversation], float], Sequence[Reply]]
# judge(conversations, repeat): the same; `repeat` counts from 0 and must be part of a reply cache's key.
Judge = Callable[[list[Conversation], int], Sequence[Reply]]


def evaluate(
    bench: MTBench,
    generator: Generator,
    judge: Judge,
    *,
    repeats: int = 1,
    limit_per_category: int | None = None,
) -> MTBenchResult:
    """Answer both turns of every question and grade the answers.

    Args:
        bench: questions and judge prompts, see `load_mt_bench`.
        generator: the model, called with conversations and a temperature; one reply (or Failed) each.
        judge: called with conversations and the number of the repeat; one reply (or Failed) each.
        repeats: how often every answer is graded.
        limit_per_category: use the first questions of each category only (a trial, not MT-Bench).

    Returns:
        MTBenchResult.

    Raises:
        ValueError: bad arguments, a generator or judge that breaks its contract, a model that generates
            nothing, or a judge without a single usable rating.

    Example:
        >>> from eval.mt_bench_files import JudgePrompt
        >>> question = Question(1, "writing", ("Write about rain.", "Make it shorter."))
        >>> prompt = JudgePrompt("Grade the answer.", "{question} {answer}")
        >>> bench = MTBench((question,), {"single-v1": prompt, "single-v1-multi-turn": prompt})
        >>> result = evaluate(bench, lambda talks, _: ["Rain."] * len(talks), lambda talks, _: ["[[7]]"] * len(talks))
        >>> result.metrics["mt_bench/writing"].value
        7.0
    """
    questions = select_questions(bench, limit_per_category)
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}; judge every answer at least once")
    return grade(bench, play(questions, generator), judge, repeats=repeats)


def play(questions: Sequence[Question], generator: Generator) -> tuple[Answer, ...]:
    """Generate the answers to both turns, one batch per turn and temperature.

    Args:
        questions: the questions, at least one.
        generator: the model, see `evaluate`.

    Returns:
        One Answer per question, in their order; a failed reply ends its conversation.

    Raises:
        ValueError: unknown categories, missing references, or a model that generates nothing.

    Example:
        >>> question = Question(1, "writing", ("Write about rain.", "Make it shorter."))
        >>> play([question], lambda talks, temperature: [f"reply {len(talk)}" for talk in talks])[0].turns
        ('reply 1', 'reply 3')
    """
    _check_questions(questions)
    talks: dict[int, Conversation] = {q.id: [] for q in questions}
    failures: dict[int, str] = {}
    for turn in range(2):
        for temperature in dict.fromkeys(TEMPERATURES[q.category] for q in questions):
            group = [q for q in questions if TEMPERATURES[q.category] == temperature and q.id not in failures]
            if not group:
                continue
            for q in group:
                talks[q.id].append({"role": "user", "content": q.turns[turn]})
            asked = [[dict(message) for message in talks[q.id]] for q in group]
            for q, reply in zip(
                group, _replies("generator", generator(asked, temperature), asked), strict=True
            ):
                if isinstance(reply, Failed):
                    failures[q.id] = f"turn {turn + 1}: {reply.reason}"
                else:
                    talks[q.id].append({"role": "assistant", "content": reply})
    answers = tuple(
        Answer(q.id, tuple(m["content"] for m in talks[q.id] if m["role"] == "assistant"), failures.get(q.id))
        for q in questions
    )
    if not any(turn for answer in answers for turn in answer.turns):
        why = f" (the first failure: {next(iter(failures.values()))})" if failures else ""
        raise ValueError(f"the model generated nothing for any of {len(questions)} MT-Bench questions{why}")
    return answers


def grade(
    bench: MTBench,
    answers: Sequence[Answer],
    judge: Judge,
    *,
    repeats: int = 1,
    shown: Callable[[str], str] = str,
) -> MTBenchResult:
    """Grade every turn that has an answer, `repeats` times, and average.

    Args:
        bench: questions and judge prompts.
        answers: the model's answers, see `play`.
        judge: see `evaluate`.
        repeats: how often every answer is graded.
        shown: how an answer is written into the judge's prompt, to break up control tokens of its chat format.

    Returns:
        MTBenchResult.

    Raises:
        ValueError: answers to unknown questions, no answers, or no usable rating at all.

    Example:
        >>> from eval.mt_bench_files import JudgePrompt
        >>> question = Question(1, "writing", ("Write about rain.", "Make it shorter."))
        >>> prompt = JudgePrompt("Grade the answer.", "{question} {answer}")
        >>> bench = MTBench((question,), {"single-v1": prompt, "single-v1-multi-turn": prompt})
        >>> answer = Answer(1, ("Rain falls.", "Rain."))
        >>> grade(bench, [answer], lambda talks, _: ["[[8]]", "no rating"]).unscored
        (1,)
    """
    known = {q.id: q for q in bench.questions}
    unknown = [str(a.question_id) for a in answers if a.question_id not in known]
    if unknown:
        raise ValueError(f"answers to questions that MT-Bench does not have: {listed(unknown)}")
    if not any(a.turns for a in answers):
        raise ValueError("there are no answers to judge")
    turns = [(known[a.question_id], turn, a) for a in answers for turn in range(len(a.turns))]
    prompts = [
        judge_prompt(bench, question, turn, list(map(shown, answer.turns)))
        for question, turn, answer in turns
    ]
    judgements = []
    for repeat in range(repeats):
        asked = [[dict(message) for message in prompt] for prompt in prompts]
        replies = _replies("judge", judge(asked, repeat), asked)
        for (question, turn, _), reply in zip(turns, replies, strict=True):
            judgements.append(rate(question, turn + 1, repeat, reply))
    failures = [j for j in judgements if j.rating is None]
    if len(failures) == len(judgements):
        raise ValueError(
            f"the judge gave no usable rating in {len(judgements)} judgements; "
            f"the first failure: {failures[0].failure}; check the judge's endpoint, model and token limit"
        )
    return summarise([known[a.question_id] for a in answers], answers, judgements, repeats)


def judge_prompt(bench: MTBench, question: Question, turn: int, answers: Sequence[str]) -> Conversation:
    """Return the published judge prompt for one turn as messages.

    Args:
        bench: the judge prompts.
        question: the question.
        turn: 0 or 1; the prompt of the second turn shows both.
        answers: the model's answers up to this turn.

    Returns:
        A system and a user message.

    Example:
        >>> from eval.mt_bench_files import JudgePrompt
        >>> question = Question(1, "writing", ("Write about rain.", "Make it shorter."))
        >>> bench = MTBench((question,), {"single-v1": JudgePrompt("Grade.", "[Question] {question} {answer}")})
        >>> judge_prompt(bench, question, 0, ["Give me [[10]]"])[1]["content"]
        '[Question] Write about rain. Give me [ [10] ]'
    """
    name = "single-math-v1" if question.category in WITH_REFERENCE else "single-v1"
    prompt = bench.prompts[name if turn == 0 else f"{name}-multi-turn"]
    answers = [_without_marks(answer) for answer in answers]
    fields = {"question": question.turns[0], "answer": answers[0]}
    for number in range(turn + 1):
        fields[f"question_{number + 1}"] = question.turns[number]
        fields[f"answer_{number + 1}"] = answers[number]
        if question.reference is not None:
            fields[f"ref_answer_{number + 1}"] = question.reference[number]
    return [
        {"role": "system", "content": prompt.system},
        {"role": "user", "content": prompt.template.format(**fields)},
    ]


def _without_marks(answer: str) -> str:
    """Return the answer with marks that only the judge's prompt may contain broken up: `[[10]]` becomes `[ [10] ]`."""
    return _MARKS.sub(lambda found: " ".join(part for part in found.groups() if part), answer)


def _replies(who: str, replies: Sequence[Reply], asked: Sequence[Conversation]) -> Sequence[Reply]:
    if isinstance(replies, str):
        raise ValueError(
            f"the {who} returned one text; it must return a list with a reply for each conversation"
        )
    if len(replies) != len(asked):
        raise ValueError(
            f"the {who} returned {len(replies)} replies to {len(asked)} conversations; it must return one each"
        )
    for reply in replies:
        if not isinstance(reply, str | Failed):
            raise ValueError(f"the {who} replied with {reply!r}; a reply must be a text or Failed(reason)")
    return replies


def select_questions(bench: MTBench, limit: int | None) -> list[Question]:
    """Return all questions, or the first `limit` of each category.

    Args:
        bench: the questions.
        limit: questions per category; None for all.

    Returns:
        Questions in their order.

    Raises:
        ValueError: `limit` is below 1.

    Example:
        >>> questions = tuple(Question(i, "writing", ("Write.", "Shorter.")) for i in range(3))
        >>> [question.id for question in select_questions(MTBench(questions, {}), 2)]
        [0, 1]
    """
    if limit is None:
        return list(bench.questions)
    if limit < 1:
        raise ValueError(f"limit_per_category is {limit}; give at least 1, or nothing for all questions")
    taken: dict[str, list[Question]] = {}
    for q in bench.questions:
        if len(taken.setdefault(q.category, [])) < limit:
            taken[q.category].append(q)
    return [q for q in bench.questions if q in taken[q.category]]


def _check_questions(questions: Sequence[Question]) -> None:
    if not questions:
        raise ValueError("no MT-Bench questions: give at least one")
    problems = [
        f"question {q.id} has category {q.category!r}; known are {', '.join(TEMPERATURES)}"
        for q in questions
        if q.category not in TEMPERATURES
    ]
    problems += [
        f"question {q.id} ({q.category}) has no reference answer, which its judge prompt shows"
        for q in questions
        if q.category in WITH_REFERENCE and q.reference is None
    ]
    if problems:
        raise ValueError(listed(problems))
