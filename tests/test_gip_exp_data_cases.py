"""The kinds of rows that people have and report to data tools: each is read whole, or refused with its place."""

import io
import json
import random
from collections import Counter

import pytest

from gip_exp import pipeline
from gip_exp.config import parse
from gip_exp.console import Console
from gip_exp.data import as_examples, rows
from gip_exp.errors import UserError
from gip_exp.storage.files import read_jsonl


def user(text):
    return {"role": "user", "content": text}


def assistant(text, **more):
    return {"role": "assistant", "content": text, **more}


def system(text):
    return {"role": "system", "content": text}


def tool(text, **more):
    return {"role": "tool", "content": text, **more}


def call(name, arguments, **more):
    return {**more, "type": "function", "function": {"name": name, "arguments": arguments}}


def offered(name, **more):
    return {"type": "function", "function": {"name": name, **more}}


def said(*pairs):
    """ShareGPT's turns."""
    return [{"from": role, "value": text} for role, text in pairs]


ADD = '{"name": "add", "arguments": {"a": 1}}'
SUM = [user("1+1?"), assistant("", tool_calls=[call("add", {"a": 1})]), tool("2"), assistant("Two.")]
EARLIER = [user("Hi"), assistant("Hello."), user("1+1?"), assistant("2")]
THOUGHT = [user("1+1?"), assistant("2", reasoning_content="One and one.")]
PLAIN = None  # no turns beside prompt and completion

# What people have: (their row, prompt, completion, turns, tools).
KINDS = {
    "ShareGPT with a call": (
        {"conversations": said(("human", "1+1?"), ("function_call", ADD), ("observation", "2"), ("gpt", "Two."))},
        f"User: 1+1?\n\nAssistant: {ADD}\n\nTool: 2",
        "Two.",
        SUM,
    ),
    "several calls in one turn": (
        {"conversations": said(("human", "1+1?"), ("function_call", f"[{ADD}, {ADD}]"))},
        "1+1?",
        f"{ADD}\n{ADD}",
        [user("1+1?"), assistant("", tool_calls=[call("add", {"a": 1})] * 2)],
    ),
    "a call that is no JSON": (
        {"conversations": said(("human", "1+1?"), ("function_call", "add(1)"))},
        "1+1?",
        "add(1)",
        PLAIN,
    ),
    "OpenAI's legacy call": (
        {
            "messages": [
                user("1+1?"),
                {"role": "assistant", "content": None, "function_call": {"name": "add", "arguments": '{"a": 1}'}},
                {"role": "function", "name": "add", "content": "2"},
                assistant("Two."),
            ]
        },
        f"User: 1+1?\n\nAssistant: {ADD}\n\nTool: 2",
        "Two.",
        [*SUM[:2], tool("2", name="add"), SUM[3]],
    ),
    "Llama's roles and an object as result": (
        {
            "messages": [
                user("1+1?"),
                {"role": "assistant", "tool_calls": [{"id": 7, "function": {"name": "add", "parameters": {"a": 1}}}]},
                {"role": "ipython", "content": {"sum": 2}},
                assistant("Two."),
            ]
        },
        f'User: 1+1?\n\nAssistant: {ADD}\n\nTool: {{"sum": 2}}',
        "Two.",
        [user("1+1?"), assistant("", tool_calls=[call("add", {"a": 1}, id="7")]), tool('{"sum": 2}'), SUM[3]],
    ),
    "Anthropic's parts": (
        {
            "messages": [
                user("1+1?"),
                assistant(
                    [
                        {"type": "thinking", "thinking": "Add."},
                        {"type": "tool_use", "id": "x", "name": "add", "input": {"a": 1}},
                    ]
                ),
                user([{"type": "tool_result", "tool_use_id": "x", "content": [{"type": "text", "text": "2"}]}]),
                assistant([{"type": "text", "text": "Two."}]),
            ]
        },
        f"User: 1+1?\n\nAssistant: Add.\n\n{ADD}\n\nTool: 2",
        "Two.",
        [
            user("1+1?"),
            assistant("", reasoning_content="Add.", tool_calls=[call("add", {"a": 1}, id="x")]),
            tool("2", tool_call_id="x"),
            assistant("Two."),
        ],
    ),
    "tools as JSON text": (
        {"messages": [user("1+1?"), assistant("2")], "tools": '[{"name": "add"}]'},
        'Tools:\n{"name": "add"}\n\n1+1?',
        "2",
        [user("1+1?"), assistant("2")],
        [offered("add")],
    ),
    "tools under another name beside a question": (
        {"instruction": "1+1?", "output": "2", "functions": [{"type": "function", "function": {"name": "add"}}]},
        'Tools:\n{"name": "add"}\n\n1+1?',
        "2",
        [user("1+1?"), assistant("2")],
        [offered("add")],
    ),
    "no tools": ({"messages": [user("1+1?"), assistant("2")], "tools": "[]"}, "1+1?", "2", PLAIN),
    "a system column": (
        {"systemPrompt": "Be brief.", "question": "1+1?", "response": "2"},
        "Be brief.\n\n1+1?",
        "2",
        [system("Be brief."), user("1+1?"), assistant("2")],
    ),
    "an empty system column": ({"system": "", "instruction": "1+1?", "output": "2"}, "1+1?", "2", PLAIN),
    "a system column that the turns repeat": (
        {"system": "Be brief.", "messages": [system("Be brief."), user("1+1?"), assistant("2")]},
        "Be brief.\n\n1+1?",
        "2",
        [system("Be brief."), user("1+1?"), assistant("2")],
    ),
    "a system text later on": (
        {"messages": [*EARLIER[:2], system("In French."), user("1+1?"), assistant("deux")]},
        "User: Hi\n\nAssistant: Hello.\n\nSystem: In French.\n\nUser: 1+1?",
        "deux",
        [*EARLIER[:2], system("In French."), user("1+1?"), assistant("deux")],
    ),
    "history as pairs": (
        {"instruction": "1+1?", "output": "2", "history": [["Hi", "Hello."]]},
        "User: Hi\n\nAssistant: Hello.\n\nUser: 1+1?",
        "2",
        EARLIER,
    ),
    "history as JSON text": (
        {"prompt": "1+1?", "response": "2", "history": '[["Hi", "Hello."]]'},
        "User: Hi\n\nAssistant: Hello.\n\nUser: 1+1?",
        "2",
        EARLIER,
    ),
    "history as turns": (
        {"query": "1+1?", "response": "2", "chat_history": EARLIER[:2]},
        "User: Hi\n\nAssistant: Hello.\n\nUser: 1+1?",
        "2",
        EARLIER,
    ),
    "history as objects": (
        {"query": "1+1?", "response": "2", "history": [{"question": "Hi", "answer": "Hello."}]},
        "User: Hi\n\nAssistant: Hello.\n\nUser: 1+1?",
        "2",
        EARLIER,
    ),
    "history as texts in turn": (
        {"input": "1+1?", "output": "2", "history": ["Hi", "Hello."]},
        "User: Hi\n\nAssistant: Hello.\n\nUser: 1+1?",
        "2",
        EARLIER,
    ),
    "no history": ({"instruction": "1+1?", "output": "2", "history": []}, "1+1?", "2", PLAIN),
    "reasoning in the turn": (
        {"messages": [user("1+1?"), assistant("2", thinking="One and one.")]},
        "1+1?",
        "One and one.\n\n2",
        THOUGHT,
    ),
    "reasoning in its own column": (
        {"question": "1+1?", "answer": "2", "rationale": "One and one."},
        "1+1?",
        "One and one.\n\n2",
        THOUGHT,
    ),
    "reasoning in the text": (
        {"prompt": "1+1?", "completion": "<think>\nOne and one.\n</think>\n\n2"},
        "1+1?",
        "One and one.\n\n2",
        THOUGHT,
    ),
    "reasoning whose beginning the template writes": (
        {"messages": [user("1+1?"), assistant("One and one.\n</think>\n\n2")]},
        "1+1?",
        "One and one.\n\n2",
        THOUGHT,
    ),
    "an empty thought": ({"messages": [user("1+1?"), assistant("<think>\n\n</think>\n\n2")]}, "1+1?", "2", PLAIN),
    "talk about tags": (
        {"prompt": "Tags?", "completion": "Put <think> before and </think> after it."},
        "Tags?",
        "Put <think> before and </think> after it.",
        PLAIN,
    ),
    "a thought as a turn": (
        {"messages": [user("1+1?"), {"role": "reasoning", "content": "One and one."}, assistant("2")]},
        "1+1?",
        "One and one.\n\n2",
        THOUGHT,
    ),
    "a conversation under another name": ({"chatlog": [user("1+1?"), assistant("2")]}, "1+1?", "2", PLAIN),
    "a conversation inside an object": (
        {"body": {"messages": [user("1+1?"), assistant("2")], "tools": [{"name": "add"}]}},
        'Tools:\n{"name": "add"}\n\n1+1?',
        "2",
        [user("1+1?"), assistant("2")],
        [offered("add")],
    ),
    "exchanges": (
        {"turns": [{"user": "Hi", "assistant": "Hello."}, {"user": "1+1?", "assistant": "2"}]},
        "User: Hi\n\nAssistant: Hello.\n\nUser: 1+1?",
        "2",
        EARLIER,
    ),
    "a struct of lists": (
        {"conversations": {"from": ["human", "gpt"], "value": ["1+1?", "2"]}},
        "1+1?",
        "2",
        PLAIN,
    ),
    "a prompt of turns with a text for an answer": (
        {"prompt": [system("Be brief."), user("1+1?")], "answer": 2},
        "Be brief.\n\n1+1?",
        "2",
        [system("Be brief."), user("1+1?"), assistant("2")],
    ),
    "a preference pair": ({"prompt": "1+1?", "chosen": "2", "rejected": "3"}, "1+1?", "2", PLAIN),
    "a preference pair of turns": (
        {"prompt": "1+1?", "chosen": [user("1+1?"), assistant("2")], "rejected": [user("1+1?"), assistant("3")]},
        "1+1?",
        "2",
        PLAIN,
    ),
    "a preference pair of replies as turns": (
        {"prompt": [user("1+1?")], "chosen": [assistant("2")], "rejected": [assistant("3")]},
        "1+1?",
        "2",
        PLAIN,
    ),
    "a preference pair without a prompt": (
        {"chosen": [user("1+1?"), assistant("2")], "rejected": [user("1+1?"), assistant("3")]},
        "1+1?",
        "2",
        PLAIN,
    ),
    "a preference pair of dialogues as text": (
        {"chosen": "\n\nHuman: Hi\n\nAssistant: Hello.\n\nHuman: 1+1?\n\nAssistant: 2", "rejected": "\n\nHuman: Hi"},
        "User: Hi\n\nAssistant: Hello.\n\nUser: 1+1?",
        "2",
        EARLIER,
    ),
    "OpenAI's preference pair": (
        {
            "input": {"messages": [user("1+1?")], "tools": []},
            "preferred_output": [assistant("2")],
            "non_preferred_output": [assistant("3")],
        },
        "1+1?",
        "2",
        PLAIN,
    ),
    "a passage": ({"question": "Who?", "passage": "Anna wrote.", "answer": "Anna"}, "Who?\n\nAnna wrote.", "Anna", PLAIN),
    "passages": (
        {"question": "Who?", "contexts": ["Anna wrote.", "Bert read."], "answer": "Anna"},
        "Who?\n\nAnna wrote.\nBert read.",
        "Anna",
        PLAIN,
    ),
    "SQuAD's answers": (
        {"question": "Who?", "context": "Anna.", "answers": {"text": ["Anna", "Anna"], "answer_start": [0, 0]}},
        "Who?\n\nAnna.",
        "Anna",
        PLAIN,
    ),
    "choices with a number": (
        {"question": "Even?", "choices": ["one", "two"], "answer": 1},
        "Even?\n\nA. one\nB. two",
        "two",
        PLAIN,
    ),
    "choices with labels": (
        {"question": "Even?", "choices": {"text": ["one", "two"], "label": ["1", "2"]}, "answerKey": "2"},
        "Even?\n\n1. one\n2. two",
        "2",
        PLAIN,
    ),
    "choices by letters": (
        {"question": "Even?", "options": {"A": "one", "B": "two"}, "answer": "B"},
        "Even?\n\nA. one\nB. two",
        "B",
        PLAIN,
    ),
    "choices as JSON text": (
        {"question": "Even?", "options": '["one", "two"]', "answer": "two"},
        "Even?\n\nA. one\nB. two",
        "two",
        PLAIN,
    ),
    "choices as objects": (
        {"question": "Even?", "choices": [{"label": "x", "text": "one"}, {"label": "y", "text": "two"}], "answer": "y"},
        "Even?\n\nx. one\ny. two",
        "y",
        PLAIN,
    ),
    "a number for an answer": ({"question": "1+1?", "answer": 2}, "1+1?", "2", PLAIN),
    "a fraction": ({"problem": "1/2?", "solution": 0.5}, "1/2?", "0.5", PLAIN),
    "a truth value": ({"question": "Is 2 even?", "answer": True}, "Is 2 even?", "true", PLAIN),
    "a NaN input": ({"instruction": "Red?", "input": float("nan"), "output": "Yes."}, "Red?", "Yes.", PLAIN),
}  # fmt: skip


def read(row):
    """(layout, reading) of one row."""
    items = list(rows.placed([row]))
    layout = rows.find_layout(items, "f")
    return layout, rows.read_examples(items, layout, "train")


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_read_whole(kind):
    row, prompt, completion, turns, *tools = KINDS[kind]
    _, reading = read(row)
    expected = {"id": "train-000000", "prompt": prompt, "completion": completion}
    expected |= {} if turns is PLAIN else {"turns": turns}
    expected |= {"tools": tools[0]} if tools else {}
    assert (reading.broken, reading.examples) == ([], [expected])


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"question": "Even?", "choices": ["one", "two"], "answer": 2}, "is 2, which is not an index (from 0)"),
        ({"question": "Even?", "choices": "one, two {", "answer": 3}, "must hold choices, it is text: 'one, two {'"),
        ({"question": "1+1?", "answer": "2", "history": ["a"]}, "the history holds 1 texts"),
        ({"question": "1+1?", "answer": "2", "history": "soon"}, "the history is text, but not JSON: 'soon'"),
        ({"question": "1+1?", "answer": "2", "history": {"a": 1}}, "the history must be a list, it is a dict"),
        ({"question": "1+1?", "answer": "2", "tools": "add"}, "the column of tools is text, but not JSON: 'add'"),
        ({"question": "1+1?", "answer": "2", "tools": [3]}, "the tools must be objects, found a int"),
        ({"question": "1+1?", "answer": "2", "tools": [None]}, "the tools must be objects, found a NoneType"),
        ({"question": "1+1?", "answer": {"a": 1}}, "column 'answer' must be text, it is a dict"),
        ({"question": "1+1?", "answer": "2", "system": ["x"]}, "column 'system' must be text, it is a list"),
        ({"messages": [user("q"), assistant("", tool_calls=[{"id": 1}])]}, "turn 2 has a tool call without a name"),
        ({"messages": [user("q"), assistant("", tool_calls="x")]}, "turn 2: the tool call is text, but not JSON: 'x'"),
        ({"messages": [user("q"), assistant("", reasoning="Hm.")]}, "the completion is empty"),
        ({"messages": [system("s"), assistant("a")]}, "no user turn before the last reply"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_says_why(row, problem):
    _, reading = read(row)
    assert len(reading.broken) == 1
    assert problem in reading.broken[0]
    assert reading.examples == []


def test_what_was_found_is_counted_once_with_its_first_place():
    items = list(rows.placed([{"question": "q", "answer": answer} for answer in ("a", 1, 2)]))
    reading = rows.read_examples(items, rows.find_layout(items, "f"), "train")
    assert reading.found == {
        "hold a number (or date) in column 'answer', which is read as its text": (2, "row 2")
    }
    _, reading = read({"messages": SUM, "tools": [{"name": "add"}]})
    assert [text.split(",")[0].split(":")[0] for text in reading.found] == [
        "are conversations of several turns",
        "have tools",
        "have tool calls",
    ]


def test_the_layout_names_every_part():
    row = {
        "id": 1,
        "system": "s",
        "history": [],
        "question": "q",
        "choices": ["a"],
        "answer": "a",
        "cot": "c",
        "x": 0,
    }
    layout, _ = read(row)
    assert str(layout) == (
        "shape question_answer: prompt = question + choices, completion = answer, id = id, system = system, "
        "history = history, reasoning = cot"
    )
    layout, _ = read({"prompt": "p", "chosen": "c", "rejected": "r"})
    assert str(layout).endswith(
        "the preferred answer of each pair is read, 'rejected' is only kept in selected_rows.jsonl"
    )


def test_two_columns_of_turns_ask_for_a_choice():
    row = {"a": [user("q"), assistant("a")], "b": [user("q"), assistant("b")]}
    with pytest.raises(
        UserError, match=r"have several conversations \('a', 'b'\): data.columns.conversation=COLUMN"
    ):
        read(row)
    items = list(rows.placed([row]))
    layout = rows.find_layout(items, "f", chosen={"conversation": "b"})
    assert rows.read_examples(items, layout, "train").examples[0]["completion"] == "b"


def test_people_name_any_part_and_then_no_other_is_guessed():
    row = {"q": "q", "a": "a", "who": "Be brief.", "system": "not this", "key": 7}
    items = list(rows.placed([row]))
    layout = rows.find_layout(
        items, "f", chosen={"prompt": "q", "completion": "a", "system": "who", "own_id": "key"}
    )
    assert rows.read_examples(items, layout, "train").examples[0]["prompt"] == "Be brief.\n\nq"
    assert rows.own_id(row, layout) == 7
    bare = rows.find_layout(items, "f", chosen={"prompt": "q", "completion": "a"})
    assert rows.read_examples(items, bare, "train").examples[0]["prompt"] == "q"


# Damage done to the kinds, at any depth: values emptied, nested or of another type, fields dropped or renamed.

DAMAGES = (
    lambda _: None,
    lambda _: "",
    lambda _: [],
    lambda _: float("nan"),
    lambda value: {"inner": value},
    lambda value: [value],
    lambda value: json.dumps(value),
    lambda value: json.dumps(value)[:-1],
)


def damaged(value, rng):
    """A copy of a row, or of a part of one, with one damage at a place that chance decides."""
    copy = value.copy()
    if not copy:
        return copy
    key = rng.choice(list(copy) if isinstance(copy, dict) else range(len(copy)))
    if isinstance(copy[key], dict | list) and rng.random() < 0.6:
        copy[key] = damaged(copy[key], rng)
    elif rng.random() < 0.3:
        del copy[key]
    elif isinstance(copy, dict) and rng.random() < 0.3:
        copy[f"{key}_x"] = copy.pop(key)
    else:
        copy[key] = rng.choice(DAMAGES)(copy[key])
    return copy


def end_of(row):
    """(how reading a row ends, all that is said of what is wrong with it)."""
    try:
        _, reading = read(row)
    except UserError as error:
        return "unclear", str(error)
    if reading.broken:
        return "broken", reading.broken[0]
    [example] = reading.examples
    assert all(example[part].strip() for part in ("prompt", "completion")), row
    json.dumps(example, allow_nan=False)
    return "read", ""


def test_a_thousand_damaged_rows_end_right_or_in_a_message_with_their_place():
    rng = random.Random(0)
    ends = Counter()
    for _ in range(1000):
        row = rng.choice(list(KINDS.values()))[0]
        for _ in range(rng.randint(1, 3)):
            row = damaged(row, rng)
        end, told = end_of(row)
        assert {"read": "", "broken": "row 1: ", "unclear": "columns"}[end] in told, (row, told)
        ends[end] += 1
    assert min(ends["read"], ends["broken"], ends["unclear"]) > 50, ends


# The whole command on files, as the table in the data folder says.


@pytest.fixture
def own(compose, tmp_path):
    """Select every row of a path; the selected rows in the data's order, and what was said."""

    def selected(path, *overrides):
        fixed = [f"data.path='{path}'", f"paths.root={tmp_path / 'out'}", "selector=random", "budget=1.0"]
        told = io.StringIO()
        outcome = pipeline.run(parse(compose("+experiment=own_data", *fixed, *overrides)), Console(told))
        found = [read_jsonl(outcome.folder / name) for name in ("selected.jsonl", "selected_rows.jsonl")]
        pairs = sorted(zip(*found, strict=True), key=lambda pair: pair[0]["id"])
        return [pair[0] for pair in pairs], [pair[1] for pair in pairs], told.getvalue()

    return selected


# file -> (number of rows, a part of the first prompt, of the first completion, of what is said)
FILES = {
    "tools_sharegpt.json": (3, 'Use the tools you are given.\n\nTools:\n{"name": "area"', "It is 15 sq", "tools = tools"),
    "tools_last_turn_is_a_call.json": (2, "Convert 3 miles", '{"name": "convert", "arguments": {"miles": 3}}', "tool calls"),
    "tools_openai.jsonl": (3, 'Tools:\n{"name": "weather"', "It rains in Oslo", "tools = tools"),
    "system_beside_conversations.json": (2, "Speak like a pirate.\n\nHow are", "Arr", "system = system"),
    "system_prompt_column.jsonl": (3, "You teach biology.\n\nWhat is", "The smallest", "system = system_prompt"),
    "alpaca_history.json": (3, "Answer in one word.\n\nUser: Where is", "Lima.", "history = history"),
    "reasoning_fields.jsonl": (2, "What is the area", "Width times height: 5*3=15.\n\n15", "have reasoning"),
    "system_in_the_middle.jsonl": (2, "System: From now on answer in French.\n\nUser", "Le café", "which stays there"),
    "conversation_under_another_name.jsonl": (3, "Name a fruit that begins with a.", "Apple", "conversations in 'dialog'"),
    "preference_texts.jsonl": (3, "Say 1 in words.", "One", "completion = chosen"),
    "preference_turns.jsonl": (3, "Say 1 in words.", "One", "completion = chosen"),
    "context_column.jsonl": (3, "Who wrote the letter?\n\nThe letter of 1801", "Anna", "question + context"),
    "choices_column.jsonl": (3, "Which of these is even?\n\nA. 1\nB. 2\nC. 3", "2", "question + choices"),
    "integer_answers.jsonl": (5, "What is 1 plus 1?", "2", "5 of 5 rows hold a number"),
    "null_and_nan_inputs.jsonl": (3, "Name a colour.", "Red.", "instruction + input"),
    "huge_integer_in_an_unread_column.jsonl": (3, "Add 1 and 1.", "2", "not read: 'seed'"),
    "compact.json": (5, "Add 0 and 1.", "1", "because their completion is empty (data.drop_empty; first: row 4)"),
    "columns_as_lists.json": (2, "Add 1 and 1.", "2", "2 rows"),
    "one_row_with_a_list_called_samples.jsonl": (1, "What is 1 plus 1?", "2", "not read: 'samples'"),
    "hub_layout": (3, "train_sft 0", "reply 0", "train_sft-00000-of-00001.jsonl: 3 rows"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_the_table_of_cases(own, data_dir, name):
    n, prompt, completion, told = FILES[name]
    chosen, originals, text = own(data_dir / "cases" / name)
    assert (len(chosen), len(originals)) == (n, n)
    assert prompt in chosen[0]["prompt"]
    assert chosen[0]["completion"].startswith(completion)
    assert told in text
    assert all(row["source"] and row["row"] for row in chosen)


def test_missing_shards_are_refused_unless_they_are_allowed(own, data_dir):
    folder = data_dir / "cases" / "shards_with_one_missing"
    for path in (folder, f"{folder}/train-*"):
        with pytest.raises(
            UserError, match=r"1 of 3 shards are missing: train-00001-of-00003.*allow_missing_shards"
        ):
            own(path)
    chosen, _, _ = own(folder, "data.allow_missing_shards=true")
    assert [row["completion"] for row in chosen] == ["answer 00", "answer 01", "answer 20", "answer 21"]
    assert [(row["source"], row["row"]) for row in chosen][2] == ("train-00002-of-00003.jsonl", 1)


def test_of_a_preference_pair_the_other_answer_is_kept_with_the_row(own, data_dir):
    _, originals, _ = own(data_dir / "cases" / "preference_texts.jsonl")
    assert {row["rejected"] for row in originals} == {"I do not know."}


def test_tools_and_turns_are_kept_in_the_subset_and_any_trainer_reads_it(own, tmp_path):
    from datasets import load_dataset

    mixed = [
        {
            "messages": [user("q"), assistant("", tool_calls=[call("f", {"x": value})])],
            "tools": [{"name": "f"}],
        }
        for value in (1, "one", None, [1], {"y": 2})
    ]
    path = tmp_path / "a.jsonl"
    path.write_text(
        "".join(json.dumps(row) + "\n" for row in [*mixed, {"messages": [user("q"), assistant("a")]}])
    )
    chosen, _, _ = own(path)
    assert chosen[0]["turns"][1]["tool_calls"] == [call("f", {"x": 1})]
    assert "turns" not in chosen[-1]
    file = next((tmp_path / "out" / "runs").rglob("selected.jsonl"))
    table = load_dataset("json", data_files=str(file), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(table) == len(chosen)


@pytest.mark.parametrize("make", ["list", "dataset", "dict", "pandas", "arrow", "path"])
def test_rows_in_memory_are_read_as_those_in_files(make, tmp_path):
    import datasets
    import pandas
    import pyarrow

    items = [
        {"question": "1+1?", "input": None, "answer": 2, "turns": [{"a": 1}]},
        {"question": "2+2?", "answer": 4},
    ]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in items))
    table = pyarrow.Table.from_pylist(items)
    data = {
        "list": lambda: items,
        "dataset": lambda: datasets.Dataset.from_list(items),
        "dict": lambda: datasets.DatasetDict(train=datasets.Dataset.from_list(items)),
        "pandas": lambda: table.to_pandas(),
        "arrow": lambda: table,
        "path": lambda: path,
    }[make]()
    assert isinstance(data, pandas.DataFrame) == (make == "pandas")
    reading = as_examples(data)
    assert [(one["prompt"], one["completion"]) for one in reading.examples] == [("1+1?", "2"), ("2+2?", "4")]
    assert [one.number for one in reading.rows] == [1, 2]
    with pytest.raises(UserError, match="the data is a int: give a list of dicts"):
        as_examples(3)
