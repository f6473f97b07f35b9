"""The arithmetic world: what the pool, the test set and the corpus promise."""

import math
import random
import re
from collections import Counter

import pytest

from gip_exp.data.arithmetic import make_corpus, make_pool, make_test, taught
from gip_exp.data.arithmetic.flaws import FLAWS, flawed_answer
from gip_exp.data.arithmetic.skills import LARGEST, SKILLS, calculate, draw_story

MARK = re.compile(r"(-?\d+)([-+*/])(-?\d+)=<<(-?\d+)([-+*/])(-?\d+)=(-?\d+)>>(-?\d+)")
OPS = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b}


def is_correct(answer: str) -> bool:
    """Every line but the last holds a right mark, written out, and the last one repeats the last result."""
    *lines, last = answer.split("\n")
    result = None
    for line in lines:
        match = MARK.search(line)
        if not match:
            return False
        a, op, b, a2, op2, b2, result, shown = match.groups()
        if (a, op, b) != (a2, op2, b2) or result != shown or OPS[op](int(a), int(b)) != int(result):
            return False
    return result is not None and last == f"#### {result}"


def test_clean_answers_are_right_and_every_number_is_small():
    test = make_test(320, 7, set())
    assert all(is_correct(p.answer) and p.flaw is None for p in test)
    assert max(int(n) for p in test for n in re.findall(r"\d+", p.question + p.answer)) <= LARGEST


def test_the_pool_is_long_tailed_and_flawed_as_asked():
    pool = make_pool(2000, 100)
    flawed = sum(p.flaw is not None for p in pool) / len(pool)
    assert abs(flawed - 0.36) < 4 * math.sqrt(0.36 * 0.64 / 2000)
    assert set(FLAWS) == {p.flaw for p in pool if p.flaw}
    counts = Counter(p.skill for p in pool)
    assert len(counts) == len(SKILLS)
    assert counts[SKILLS[0].name] > 0.3 * len(pool)
    assert all(counts[skill.name] < 0.03 * len(pool) for skill in SKILLS[-4:])


def test_common_skills_are_retold_and_rare_ones_are_not():
    pool = make_pool(2000, 100)

    def distinct_share(names: set[str]) -> float:
        stories = [re.sub(r"\d+", "N", p.question) for p in pool if p.skill in names]
        return len(set(stories)) / len(stories)

    assert distinct_share({SKILLS[0].name}) < 0.5
    assert distinct_share({s.name for s in SKILLS[len(SKILLS) // 2 :]}) > 0.9


def test_questions_are_unique_and_the_test_set_is_not_in_the_pool():
    pool = make_pool(2000, 100)
    asked = {p.question for p in pool}
    test = make_test(320, 100, asked)
    assert len(asked) == len(pool)
    assert len({p.question for p in test} | asked) == len(pool) + len(test)
    assert set(Counter(p.skill for p in test).values()) == {20}


def test_seeds_decide_everything_and_zero_is_a_seed():
    assert make_pool(50, 0) == make_pool(50, 0) != make_pool(50, 1)
    assert make_test(50, 0, set()) == make_test(50, 0, set()) != make_test(50, 1, set())
    assert make_corpus(50, 0) == make_corpus(50, 0) != make_corpus(50, 1)


def test_the_global_random_state_is_left_alone():
    before = random.getstate()
    make_pool(20, 0)
    make_test(20, 0, set())
    make_corpus(20, 0)
    assert random.getstate() == before


@pytest.mark.parametrize("name", list(FLAWS))
def test_every_flaw_makes_the_answer_wrong(name):
    rng = random.Random(3)
    made = 0
    for skill in SKILLS * 10:
        story = draw_story(skill, rng)
        answer = FLAWS[name][0](story, rng)
        if answer is None:
            continue
        made += 1
        assert answer != story.answer()
        if name in ("swapped_operands", "wrong_operation", "other_problem"):
            assert answer.split("####")[1] != story.answer().split("####")[1]
            assert is_correct(answer), "these flaws are arithmetically right"
        else:
            assert not is_correct(answer)
    assert made > 10


def test_a_flaw_that_a_story_cannot_have_is_drawn_again():
    rng = random.Random(0)
    add = SKILLS[0]  # a + b = b + a: swapping its operands changes nothing
    names = {flawed_answer(draw_story(add, rng), rng)[0] for _ in range(300)}
    assert names == set(FLAWS) - {"swapped_operands"}


def test_a_division_with_a_rest_has_no_calculation():
    divide = next(skill for skill in SKILLS if skill.name == "divide")
    assert calculate(divide.steps, {"a": 7, "b": 2}) is None


def test_the_corpus_never_answers_a_story():
    corpus = make_corpus(3000, 4)
    stories = [d for d in corpus if d.startswith("Story:")]
    assert stories
    assert not any("<<" in d or "=" in d or "####" in d or "Answer" in d for d in stories)
    assert all("?" not in d for d in corpus if not d.startswith("Story:"))


def test_the_corpus_teaches_right_arithmetic():
    text = "\n".join(make_corpus(1000, 4))
    facts = re.findall(r"(?<![\d=])(\d+)([-+*/])(\d+)=(\d+)", text)
    assert len(facts) > 1000
    assert all(OPS[op](int(a), int(b)) == int(c) for a, op, b, c in facts)


def test_what_is_taught_of_a_document_follows_from_it():
    assert [taught(text) for text in ("2+3=5 7*2=14", "2+3=<<2+3=5>>5")] == [[(4, 5), (10, 12)], [(4, 14)]]
    for start, mark in (("List:", "Again:"), ("Numbers:", "Work:")):
        text = next(d for d in make_corpus(200, 0) if d.startswith(start))
        ((low, high),) = taught(text)
        assert text[low:].startswith(mark)
        assert high == len(text)


def test_a_chain_goes_on_from_each_result():
    chains = [d for d in make_corpus(300, 2) if d[0].isdigit() and "<<" not in d]
    assert chains
    for chain in " ".join(chains).split():
        left = re.match(r"\d+", chain)[0]
        for op, right, result in re.findall(r"([-+*/])(\d+)=(\d+)", chain):
            assert OPS[op](int(left), int(right)) == int(result) <= LARGEST
            left = result


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: make_pool(0, 0, flawed=1.5),
            r"n is 0; give at least 1; flawed is 1.5; give a number from 0",
        ),
        (lambda: make_pool(5, 0, repeats=1.0), r"repeats is 1.0; give a number from 0 to 0.99"),
        (lambda: make_pool(5, 0, tail=-1), r"tail is -1; give a number from 0 to 4"),
        (lambda: make_test(0, 0, set()), r"n is 0; give at least 1"),
        (
            lambda: make_corpus(5, 0, mix={"tales": 1}),
            r"weights for facts, story, expression, sentences, copy",
        ),
        (lambda: make_corpus(0, 0), r"n is 0 \(at least 1\)"),
    ],
)
def test_bad_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
