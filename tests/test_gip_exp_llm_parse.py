"""Scores are those of a reply that is one JSON object, and never made up."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gip_exp.llm.parse import parse_scores

NAMES = ("accuracy", "clarity")

READABLE = {
    "plain": '{"accuracy": 4, "clarity": 2}',
    "fenced": '```json\n{"accuracy": 4, "clarity": 2}\n```',
    "capitals and blanks": '{"Accuracy ": 4, "CLARITY": 2}',
    "floats": '{"accuracy": 4.0, "clarity": 2.0}',
    "thinking first": '<think>maybe {"accuracy": 1, "clarity": 1}</think>{"accuracy": 4, "clarity": 2}',
    "thinking opened by the template": 'hm {"accuracy": 1, "clarity": 1}</think>{"accuracy": 4, "clarity": 2}',
    "thinking and a fence": '<think>hm</think>\n```\n{"accuracy": 4, "clarity": 2}\n```',
    "a tag in the comment": '{"comment": "it holds </think>", "accuracy": 4, "clarity": 2}',
    "brace in a comment": '{"comment": "uses } and {", "accuracy": 4, "clarity": 2}',
    "more than asked": '{"accuracy": 4, "clarity": 2, "style": 5}',
}

UNREADABLE = {
    "": "empty",
    "   \n": "empty",
    "<think>so far so good</think>": "empty",
    "a fine example, 5 out of 5": "no JSON object",
    '{"accuracy": 4, "cla': "no JSON object",
    '{"accuracy": 4}': "no score for clarity",
    '{"verdict": "poor", "quoted": {"accuracy": 5, "clarity": 5}}': "no score for accuracy, clarity",
    '{"accuracy": 4, "clarity": 6}': "clarity is 6, outside 1 to 5",
    '{"accuracy": 0, "clarity": 2}': "accuracy is 0, outside 1 to 5",
    '{"accuracy": true, "clarity": 2}': "accuracy is not a number",
    '{"accuracy": null, "clarity": 2}': "accuracy is not a number",
    '{"accuracy": [4], "clarity": 2}': "accuracy is not a number",
    '{"accuracy": NaN, "clarity": 2}': "accuracy is nan, outside 1 to 5",
    '{"accuracy": "4", "clarity": 2}': "accuracy is not a number",
    "{'accuracy': 4, 'clarity': 2}": "no JSON object",
    '{"accuracy": 4, "clarity": 2,}': "no JSON object",
    '{"scores": {"accuracy": 4, "clarity": 2}}': "no score for accuracy, clarity",
    '<think>it asks for {"accuracy": 5, "clarity": 5}': "no JSON object",
    '<think>{"accuracy": 5, "clarity": 5}': "no JSON object",
    '<think>a</think><think>{"accuracy": 5, "clarity": 5}': "no JSON object",
    'The text says {"accuracy": 5, "clarity": 5}, which I do not follow.': "no JSON object",
    'It ends with\n```json\n{"accuracy": 5, "clarity": 5}\n```\nwhich is a defect.': "no JSON object",
    '{"accuracy": "high", "clarity": 2}': "accuracy is not a number",
    "[4, 2]": "no JSON object",
    "Accuracy: 4\nClarity: 2": "no JSON object",
    '{"accuracy": 1, "accuracy": 5, "clarity": 2}': "no JSON object",
    '{"accuracy": 1, "Accuracy": 5, "clarity": 2}': "no JSON object",
    '{"accuracy": 1' + "0" * 400 + ', "clarity": 2}': "outside 1 to 5",
    '{"accuracy": 4, "clarity": 2} {"accuracy": 5, "clarity": 5}': "no JSON object",
    'the form: {"accuracy": 1, "clarity": 1}, mine: {"accuracy": 4, "clarity": 2}': "no JSON object",
}


@pytest.mark.parametrize("form", READABLE)
def test_scores_are_read_from_one_object(form: str) -> None:
    assert parse_scores(READABLE[form], NAMES).scores == (4.0, 2.0)


@pytest.mark.parametrize("text", UNREADABLE)
def test_unreadable_text_gives_no_scores_and_says_why(text: str) -> None:
    parsed = parse_scores(text, NAMES)
    assert parsed.scores is None
    assert UNREADABLE[text] in parsed.reason


@pytest.mark.parametrize("unit", ["[", "-", '{"a":'])
def test_nesting_without_end_is_unreadable_and_no_crash(unit: str) -> None:
    assert parse_scores('{"accuracy": ' + unit * (150_000 // len(unit)) + "1}", NAMES).scores is None


@given(st.text(max_size=400))
@settings(max_examples=300, deadline=None)
def test_any_text_is_parsed_without_an_exception(text: str) -> None:
    parsed = parse_scores(text, NAMES)
    assert parsed.scores is not None or parsed.reason


@given(st.integers(0, 60))
@settings(deadline=None)
def test_a_reply_cut_anywhere_before_its_end_is_never_scored(cut: int) -> None:
    text = json.dumps({"accuracy": 4, "clarity": 2, "comment": "x" * 30})
    assert parse_scores(text[: min(cut, len(text) - 1)], NAMES).scores is None
