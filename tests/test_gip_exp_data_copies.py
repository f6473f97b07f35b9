"""Rows that repeat another are found, named and, where the config says so, left out; nothing else is."""

import random

import pytest

from gip_exp.data.copies import Copy, equal_rows, near_rows

TEXT = "The river rises in the hills and turns twice before it reaches the old mill near our town in spring"


def rows(*texts):
    return [{"id": f"train-{i:06d}", "prompt": p, "completion": c} for i, (p, c) in enumerate(texts)]


def test_equal_rows_name_the_first_of_their_kind():
    pool = rows(("a", "x"), ("a", "y"), ("a", "x"), ("b", "x"), ("a", "x"))
    assert equal_rows(pool) == [Copy(2, 0, 1.0), Copy(4, 0, 1.0)]


def test_a_near_copy_names_the_kept_row_that_it_repeats():
    other = TEXT.replace("our town", "a village")
    pool = rows(
        (TEXT, "Yes."),
        ("Something else entirely is asked here", "Yes."),
        (TEXT.upper() + "!", "yes"),
        (other, "Yes."),
    )
    assert near_rows(pool, 0.9) == [Copy(2, 0, 1.0)]
    assert [(copy.row, copy.of) for copy in near_rows(pool, 0.6)] == [(2, 0), (3, 0)]
    assert near_rows(pool, 0.6, but=[0])[0].of == 2


def test_the_same_question_with_another_answer_is_no_copy():
    assert near_rows(rows((TEXT, "positive"), (TEXT, "negative"), (TEXT, TEXT)), 0.5) == []


@pytest.mark.parametrize(
    "text", ["为了保持健康，每天应该多喝水、早睡早起、适量运动。", "ภาษาไทยเขียนโดยไม่เว้นวรรคระหว่างคำ"]
)
def test_scripts_without_spaces_are_compared_letter_by_letter(text):
    pool = rows((text, text), (text[:-1], text[:-1]), (text[::-1], text[::-1]))
    assert [(copy.row, copy.of) for copy in near_rows(pool, 0.8)] == [(1, 0)]


def test_rows_beyond_the_threshold_are_found_and_rows_below_it_never():
    generator = random.Random(0)
    vocabulary = [f"w{i}" for i in range(2000)]
    originals = [" ".join(generator.choices(vocabulary, k=60)) for _ in range(200)]
    texts = []
    for text in originals:
        changed = text.split()
        for _ in range(generator.randrange(8)):
            changed[generator.randrange(60)] = "other"
        texts.append(" ".join(changed))

    def similarity(a, b):
        a, b = ({tuple(t.split()[i : i + 3]) for i in range(58)} for t in (a, b))
        return len(a & b) / len(a | b)

    true = {200 + i for i in range(200) if similarity(originals[i], texts[i]) >= 0.8}
    found = {copy.row for copy in near_rows(rows(*[(t, "x") for t in originals + texts]), 0.8)}
    assert found <= true
    assert len(found) >= 0.95 * len(true) > 50
