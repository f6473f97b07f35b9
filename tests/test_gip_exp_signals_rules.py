"""The rule judge: each attribute sees what it says it sees."""

import json
import os
import random
from pathlib import Path

import numpy as np
import pytest

from gip_exp.signals.rules import RUBRICS, score
from gip_exp.signals.rules.math_answers import evaluate
from gip_exp.signals.rules.replies import language
from gip_exp.turns import as_texts
from tests.benchmarks.alpaca_pool import alpaca
from tests.benchmarks.bench_rules import auc, corruptions

DATA = Path(os.environ.get("GIP_DATA", Path(__file__).parents[2] / "shared" / "data"))
QUESTION = "Question: Ann has 4 bags of 6 pens and gives away 5. How many are left?\nAnswer:"
GOOD = " She has 4*6=<<4*6=24>>24 pens in her bags.\nThat leaves 24-5=<<24-5=19>>19 pens.\n#### 19"


def math_scores(completion: str, prompt: str = QUESTION) -> dict[str, float]:
    return {k: float(v[0]) for k, v in score([{"prompt": prompt, "completion": completion}], "math").items()}


def reply_scores(completion: str, prompt: str) -> dict[str, float]:
    rows = [{"prompt": prompt, "completion": completion}]
    return {k: float(v[0]) for k, v in score(rows, "instruction").items()}


def test_a_good_answer_has_full_marks_everywhere():
    assert set(math_scores(GOOD).values()) == {1.0}


@pytest.mark.parametrize(
    ("attribute", "completion", "value"),
    [
        ("final_line", GOOD.replace("\n#### 19", ""), 0.0),
        ("final_line", "#### 19", 0.5),
        ("final_line", GOOD + "\nBye.", 0.5),
        ("marks_right", GOOD.replace("=24>>24", "=25>>25"), 0.5),
        ("marks_right", "No idea.\n#### 3", 1.0),
        ("form", GOOD.replace(">>24", ">>"), (1 + 0.75) / 2),
        ("form", "Let me think.\n" + GOOD, (2 / 3 + 1) / 2),
        ("conclusion", GOOD.replace("#### 19", "#### 24"), 0.5),
        ("conclusion", GOOD.replace("#### 19", "#### 7"), 0.0),
        ("grounded", GOOD.replace("24-5", "24-8"), 0.75),
        ("coverage", " Bags: 4*6=<<4*6=24>>24 in all.\n#### 24", 2 / 3),
        ("steps", " Bags: 4*6=<<4*6=24>>24 in all.\n#### 24", 0.5),
        ("density", " That is 4*6=24, then 24-5=<<24-5=19>>19 pens.\n#### 19", 0.5),
        ("length_fit", " 4*6=<<4*6=24>>24 pens.\n24-5=<<24-5=19>>19 pens.\n#### 19", float(np.exp(-0.5))),
    ],
)
def test_an_attribute_falls_with_the_fault_it_describes(attribute, completion, value):
    assert math_scores(completion)[attribute] == pytest.approx(value)


def test_a_wrong_but_clean_operation_goes_unseen():
    wrong = " She has 4+6=<<4+6=10>>10 pens in bags.\nThat leaves 10-5=<<10-5=5>>5 pens.\n#### 5"
    assert math_scores(wrong) == math_scores(GOOD)


def test_words_percentages_and_money_ground_an_operand():
    prompt = "A dozen eggs cost $1,200 less 25%. Half of them break in a week. Three remain?"
    answer = (
        "It is <<1200*.25=300>>300, <<12/2=6>>6, <<7*3=21>>21 and <<1200*(100-25)/100=900>>900.\n#### 900"
    )
    values = math_scores(answer, prompt)
    assert values["grounded"] == 1.0
    assert values["marks_right"] == 1.0
    assert values["coverage"] == 1.0


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("48/2", 24.0), ("1,000 + 2,500", 3500.0), ("$3.50*2", 7.0), ("20%*50", 10.0), ("(3+2)*5", 25.0),
        ("2 x 3", 6.0), ("2×3÷6", 1.0), ("-4+1", -3.0), ("05*2", 10.0), (".5*4", 2.0), ("180//3", 60.0),
        ("1/0", None), ("2**9", None), ("__import__('os')", None), ("2+", None), ("True", None),
        ("9e999*0", None), ("1+" * 300 + "1", None), ("(" * 150 + "1", None), ("", None),
    ],
)  # fmt: skip
def test_expressions_are_evaluated_without_running_them(expression, value):
    assert evaluate(expression) == value


def test_a_rounded_decimal_is_right_and_a_rounded_whole_number_is_not():
    assert math_scores("Each gets <<10/3=3.33>>3.33.\n#### 3.33")["marks_right"] == 1.0
    assert math_scores("Each gets <<10/3=3>>3.\n#### 3")["marks_right"] == 0.0


TEA = "List three benefits of drinking green tea"
GOOD_REPLY = (
    "1. Green tea has antioxidants.\n2. It is good for the heart.\n3. It calms the mind in the evening."
)
SOUND = [
    ("What is the capital of France?", "Paris."),
    ("What is the capital of France?", "Paris"),
    ("What is the capital of France?", "The capital of France is Paris."),
    ("Write a Python function that adds two numbers", "def add(a, b):\n    return a + b"),
    ("write a query", "select name from users where age > 3;"),
    (TEA, GOOD_REPLY),
    ("Name five fruits", "- apple\n- pear\n- plum\n- fig\n- grape"),
    ("Classify the review as positive or negative.\n\nI love this phone.", "Positive"),
    ("Escribe una frase con todo", "En la vida todo es posible y no hay que perder la esperanza."),
    ("Describe my to-do app", "The TODO app keeps a list of the todo items that you have to do this week."),
    ("Translate into German: I am at home", "Ich bin zu Hause und die Tür ist zu."),
    ("Compose a tweet about rain", "It rains again. I stay in bed #rainyday"),
    ("Say hello in a letter", "Dear Ann,\n\nHello to you and yours.\n\nKind regards,\nBob Smith"),
]


@pytest.mark.parametrize(("prompt", "completion"), SOUND)
def test_a_sound_reply_is_marked_down_by_no_rule(prompt, completion):
    assert set(reply_scores(completion, prompt).values()) == {1.0}


@pytest.mark.parametrize(
    ("attribute", "completion", "most"),
    [
        ("complete", "Green tea has antioxidants. It is good for the heart, and it calms the", 0.0),
        (
            "complete",
            "1. Green tea has antioxidants.\n2. It is good for the heart.\n3. It calms the mind in",
            0.0,
        ),
        ("complete", "def tea(cups:\n    return [cups", 0.0),
        ("unrepeated", "Green tea is good for you. " * 6, 0.3),
        (
            "on_topic",
            "Bananas are yellow fruits from tropical countries, often eaten fresh with some yoghurt.",
            0.0,
        ),
        (
            "own_words",
            "Drinking green tea benefits list three. Three benefits list tea green drinking of.",
            0.1,
        ),
        ("own_words", f"{TEA}. {TEA}.", 0.1),
        ("fluent", "The of green in is tea heart the for antioxidants a of with calms the to mind.", 0.0),
        ("language", "Der Tee ist gut für das Herz und die Nerven.", 0.0),
        ("language", "绿茶含有抗氧化剂，对心脏有好处。", 0.0),
    ],
)
def test_a_flawed_reply_is_marked_down_by_its_rule_and_below_a_sound_one(attribute, completion, most):
    scores = reply_scores(completion, TEA)
    assert scores[attribute] <= most
    assert np.mean(list(scores.values())) < np.mean(list(reply_scores(GOOD_REPLY, TEA).values())) == 1.0


def test_an_empty_reply_has_nothing():
    assert set(reply_scores("", TEA).values()) == {0.0}


@pytest.mark.parametrize(
    ("prompt", "completion"),
    [
        ("写一首诗。", "床前明月光。"),
        ("Напиши стих", "Мороз и солнце."),
        ("Translate to Chinese: tea", "这是茶。"),
        ("用 JavaScript 写一个 Hello World", "好的，这是一个例子。"),
    ],
)
def test_rows_in_other_scripts_are_unscored(prompt, completion):
    assert np.isnan(list(reply_scores(completion, prompt).values())).all()


def conversation_scores(
    question: str, answer: str, system: str = "Answer as our shop's helper."
) -> dict[str, float]:
    called = {"function": {"name": "get_weather", "arguments": {"city": "Berlin", "unit": "celsius"}}}
    turns = [
        {"role": "system", "content": system},
        {"role": "user", "content": question},
        {"role": "assistant", "content": "", "tool_calls": [called]},
        {"role": "tool", "content": '{"sky": "light rain for the whole of the day", "degrees": 9}'},
        {"role": "assistant", "content": answer},
    ]
    tools = [{"name": "get_weather", "description": "The weather of a city, in the language of the caller"}]
    prompt, completion = as_texts(turns, tools)
    rows = [{"prompt": prompt, "completion": completion, "turns": turns}]
    return {name: float(values[0]) for name, values in score(rows, "instruction").items()}


def test_in_a_conversation_the_users_turns_tell_the_language_and_not_the_system_or_the_tools():
    chinese, german = "柏林今天会下雨。", "In Berlin regnet es heute, und es ist nicht warm."
    assert np.isnan(list(conversation_scores("柏林天气怎么样?", chinese).values())).all()
    assert set(conversation_scores("Wie ist das Wetter in Berlin?", german).values()) == {1.0}
    assert set(conversation_scores("How is the weather in Berlin?", chinese).values()) == {0.0}
    assert set(conversation_scores("How is the weather in Berlin?", german).values()) == {0.0}
    asked_for = conversation_scores("How is the weather in Berlin?", german, "Always answer in German.")
    assert set(asked_for.values()) == {1.0}


def test_in_a_conversation_the_last_question_is_what_a_reply_may_not_repeat():
    question = "Which country has the most orders this month?"
    assert conversation_scores(question, question)["own_words"] < 0.1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The tea is good for you and me.", "English"),
        ("El té es bueno para la salud y no es caro.", "Spanish"),
        ("Der Tee ist gut für das Herz.", "German"),
        ("Le thé est bon pour le cœur et les nerfs.", "French"),
        ("tea, milk, sugar", ""),
    ],
)
def test_languages_are_told_by_their_small_words(text, expected):
    assert language(text) == expected


def test_attributes_tell_corrupted_alpaca_rows_from_sound_ones(data_dir):
    rows = alpaca()[:400]
    sound = np.mean(list(score(rows, "instruction").values()), axis=0)
    made = corruptions(rows, random.Random(0))
    reached = {
        name: auc(sound, np.mean(list(score(flawed, "instruction").values()), axis=0))
        for name, flawed in made.items()
    }
    assert min(reached.values()) > 0.75
    assert min(reached["echo of the prompt"], reached["prompt repeated"], reached["sentence repeated"]) > 0.9


@pytest.mark.parametrize("rubric", RUBRICS)
@pytest.mark.parametrize(
    "text", ["", " ", "####", "<<=>>", "<<1=>>", "\n\n", "ß∑ 12 <<", "#### " + "9" * 400]
)
def test_any_text_gets_finite_scores_in_range(rubric, text):
    for values in score([{"prompt": text, "completion": text}], rubric).values():
        assert values.dtype == np.float64
        assert values.shape == (1,)
        assert 0 <= values[0] <= 1


def test_no_rows_give_empty_columns():
    assert all(v.shape == (0,) for v in score([], "math").values())


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="rubric is 'maths'; allowed: math, instruction"):
        score([], "maths")
    with pytest.raises(ValueError, match=r"example 1: completion must be text; has \['prompt'\]"):
        score([{"prompt": "a", "completion": "b"}, {"prompt": "a"}], "math")


def test_on_real_gsm8k_the_marks_are_all_right_and_other_attributes_vary():
    path = DATA / "gsm8k" / "train.jsonl"
    if not path.exists():
        if "data" in os.environ.get("GIP_REQUIRE", "").split(","):
            pytest.fail(f"{path} is missing and GIP_REQUIRE asks for it")
        pytest.skip(f"{path} is missing")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    columns = score([{"prompt": r["question"], "completion": r["answer"]} for r in rows], "math")
    assert columns["marks_right"].min() == 1.0
    varying = {name for name, values in columns.items() if values.std() > 0.05}
    assert varying == set(columns) - {"marks_right", "final_line"}
