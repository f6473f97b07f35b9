"""Which answer a text gives, and how often answers agree with a reference."""

import pytest

from eval.self_consistency import final_answer, share_that_agrees


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("6 * 12 = <<6*12=72>>72 cows.\n#### 72", "72"),
        ("so it is $1,250.00.", "1250"),
        ("#### 72.0 cows\n#### 5", "72"),
        ("#### none\nbut 7", "7"),
        ("minus: -0.50", "-0.5"),
        ("0.0", "0"),
        (".5 of it", "0.5"),
        ("no number", None),
        ("", None),
        ("7" * 40, "7" * 40),
    ],
)
def test_the_final_number_is_the_one_after_the_mark_or_the_last(text, answer):
    assert final_answer(text, "number") == answer


def test_equal_values_are_equal_answers():
    assert len({final_answer(text, "number") for text in ("72", "72.0", "$72", "072", "#### 72.")}) == 1


def test_texts_are_compared_without_case_and_white_space():
    assert final_answer("  Paris,\nFrance ", "text") == final_answer("paris, france", "text")
    assert final_answer(" \n", "text") is None


def test_a_sample_without_an_answer_does_not_agree():
    assert share_that_agrees(["72", None, "71", "72"], "72") == 0.5
    with pytest.raises(ValueError, match="answers is empty"):
        share_that_agrees([], "72")


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="rule is 'words'; allowed: number, text"):
        final_answer("x", "words")
