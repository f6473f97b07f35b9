"""Test questions in the pool are found by the words that they share, and common phrases are not."""

import json

import pytest

from gip_exp.data.overlap import COMMON, find_overlap

QUESTION = "A ferry leaves the north pier at six and crosses the bay in forty minutes; when does it reach the south pier?"
OTHER = "Nobody has ever asked anything like this before today"


def row(prompt, completion="yes"):
    return {"prompt": prompt, "completion": completion}


def touched(matches, length, part="prompt"):
    return {match.test for match in matches if match.test_part == part and match.counts(length)}


def test_a_question_with_another_case_and_punctuation_stands_there_whole():
    (match,) = find_overlap([row(OTHER), row(QUESTION.upper().replace(";", " -") + "\n")], [row(QUESTION)])
    assert (match.test, match.row, match.whole, match.words) == (0, 1, True, 22)
    (short,) = find_overlap([row("What is 2+2?", "5")], [row("what is 2 + 2", "4")])
    assert short.whole
    assert short.counts(13)


@pytest.mark.parametrize("count", [7, 8, 12, 13, 20])
def test_the_longest_shared_run_decides(count):
    part = " ".join(QUESTION.split()[:count])
    matches = find_overlap(
        [row(f"Other words come first, then: {part} with others that follow it.")], [row(QUESTION)]
    )
    assert touched(matches, 8) == ({0} if count >= 8 else set())
    assert touched(matches, 13) == ({0} if count >= 13 else set())
    assert [(match.words, match.text) for match in matches] == [(count, part.rstrip(";"))] * (count >= 8)


def test_words_apart_in_the_other_text_are_no_run():
    half = QUESTION.split()
    apart = " ".join([*half[:7], "quickly", *half[7:14], "slowly", *half[14:20]])
    assert find_overlap([row(apart)], [row(QUESTION)]) == []
    swapped = " ".join([*half[10:], *half[:10]])  # runs of ten and twelve, not one of all
    assert [match.words for match in find_overlap([row(swapped)], [row(QUESTION)])] == [12]


def test_prompts_and_completions_are_both_looked_at():
    matches = find_overlap([row(OTHER, QUESTION)], [row(QUESTION, "no"), row("What next?", QUESTION)])
    found = {(match.test, match.test_part, match.row_part, match.whole) for match in matches}
    assert found == {(0, "prompt", "completion", False), (1, "completion", "completion", False)}


@pytest.mark.parametrize("n", [COMMON, COMMON + 1])
def test_a_phrase_of_many_different_texts_is_common_and_copies_of_one_are_not(n):
    header = "Answer the following question about the passage in one short sentence of your own:"
    pool = [row(f"{header} what is number {i}?") for i in range(n)]
    assert touched(find_overlap(pool, [row(f"{header} {OTHER}")]), 8) == ({0} if n <= COMMON else set())
    assert len(find_overlap([row(QUESTION)] * 30, [row(QUESTION)])) == 30


def test_scripts_without_spaces_are_compared_letter_by_letter():
    question = "一艘渡轮六点从北码头出发，四十分钟后到达南码头，请问几点到达？"
    (match,) = find_overlap([row(f"请回答：{question}谢谢")], [row(question)])
    assert match.words == 14  # 28 letters
    assert find_overlap([row("今天天气很好，我们去公园散步。")], [row(question)]) == []


@pytest.mark.parametrize(
    ("pool", "test"), [([], []), ([row("a")], []), ([], [row("a")]), ([row("!")], [row("?")])]
)
def test_nothing_shares_nothing(pool, test):
    assert find_overlap(pool, test) == []


def test_gsm8k_questions_share_eighty_runs_of_eight_words_and_three_of_thirteen(data_dir):
    pool, test = (
        [
            row(r["question"], r["answer"])
            for r in map(json.loads, (data_dir / "gsm8k" / f"{name}.jsonl").open())
        ]
        for name in ("train", "test")
    )
    matches = find_overlap(pool, test)
    assert [len(touched(matches, length)) for length in (8, 13)] == [82, 3]
    of_questions = [match for match in matches if match.row_part == "prompt"]
    assert [len(touched(of_questions, length)) for length in (8, 13)] == [80, 3]
    assert not any(match.whole for match in matches)
