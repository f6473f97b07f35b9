"""Words in any script, and for English exactly those that Python's own pattern finds."""

import json
import re

import pytest

from gip_exp.words import is_unspaced, tokens, word_spans, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't stop: 3.5 km", ["don", "t", "stop", "3", "5", "km"]),
        ("中文很好。", list("中文很好")),
        ("カタカナー と ひら", list("カタカナーとひら")),
        ("ภาษาดี", ["ภ", "า", "ษ", "า", "ดี"]),
        ("សួស្តី", ["សួ", "ស្", "តី"]),
        ("हिन्दी क्षेत्र", ["हिन्दी", "क्षेत्र"]),
        ("nai\u0308ve ½ x³", ["nai\u0308ve", "½", "x³"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("한국어 좋다", ["한국어", "좋다"]),
        ("GPT是abc", ["gpt", "是", "abc"]),
        ("...", []),
    ],
)
def test_words_are_runs_of_letters_and_letters_where_a_script_has_no_spaces(text, expected):
    assert words(text) == expected
    found, spans = word_spans(text)
    assert found == expected
    assert [text[start:end].casefold() for start, end in spans] == expected


def test_tokens_of_english_text_are_those_of_the_plain_pattern(data_dir):
    rows = [json.loads(line) for line in (data_dir / "gsm8k" / "test.jsonl").open()]
    texts = [f"{row['question']}\n{row['answer']} “café” ½" for row in rows]
    assert [tokens(text) for text in texts] == [re.findall(r"\w+|[^\w\s]", text) for text in texts]
    assert any(not text.isascii() for text in texts)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain English", False),
        ("", False),
        ("写一首诗。", True),
        ("translate 你好 into English", False),
        ("GPT 是什么意思", True),
    ],
)
def test_a_text_is_unspaced_when_most_of_its_letters_are(text, expected):
    assert is_unspaced(text) is expected
