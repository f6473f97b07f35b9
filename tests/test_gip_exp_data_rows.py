"""People's rows in, examples out: every shape in every format, and a broken row is named with its place."""

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gip_exp.data import rows
from gip_exp.errors import UserError


def jsonl(items):
    return "".join((item if isinstance(item, str) else json.dumps(item)) + "\n" for item in items)


def written(path, content, encoding="utf-8"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode(encoding))
    return path


def examples_of(path, shape="auto", **options):
    """(layout, reading) of a file, as the data stage reads it."""
    read = list(rows.read_rows(path))
    layout = rows.find_layout(read, path.name, shape)
    return layout, rows.read_examples(read, layout, "train", **options)


def placed(*items):
    """Rows as they are read from a file of lines."""
    return [rows.Placed(f"line {i}", item, "f", i) for i, item in enumerate(items, 1)]


def user(text):
    return {"role": "user", "content": text}


def assistant(text):
    return {"role": "assistant", "content": text}


# What people have: (their row, shape, prompt, completion).
PEOPLE = {
    "question, answer": ({"question": "1+1?", "answer": "2"}, "question_answer", "1+1?", "2"),
    "instruction": ({"instruction": "Add", "output": "2"}, "instruction", "Add", "2"),
    "instruction, input": (
        {"instruction": "Add", "input": "1, 1", "output": "2"},
        "instruction",
        "Add\n\n1, 1",
        "2",
    ),
    "empty input": ({"instruction": "Add", "input": "", "output": "2"}, "instruction", "Add", "2"),
    "dolly": (
        {"instruction": "Add", "context": "1, 1", "response": "2", "category": "sum"},
        "instruction",
        "Add\n\n1, 1",
        "2",
    ),
    "input, response": (
        {"instruction": "Add", "input": "1, 1", "response": "2"},
        "instruction",
        "Add\n\n1, 1",
        "2",
    ),
    "prompt": ({"prompt": "1+1?", "completion": "2"}, "prompt_completion", "1+1?", "2"),
    "response": ({"prompt": "1+1?", "response": "2"}, "prompt_completion", "1+1?", "2"),
    "input, output": ({"input": "1+1?", "output": "2"}, "prompt_completion", "1+1?", "2"),
    "capitals": ({"Question ": "1+1?", "ANSWER": "2"}, "question_answer", "1+1?", "2"),
    "further columns": (
        {"id": "a7", "prompt": "1+1?", "completion": "2", "source": "x"},
        "prompt_completion",
        "1+1?",
        "2",
    ),
    "messages": ({"messages": [user("1+1?"), assistant("2")]}, "messages", "1+1?", "2"),
    "ShareGPT": (
        {"conversations": [{"from": "human", "value": "1+1?"}, {"from": "gpt", "value": "2"}]},
        "messages",
        "1+1?",
        "2",
    ),
    "system": (
        {"messages": [{"role": "system", "content": "Be brief."}, user("1+1?"), assistant("2")]},
        "messages",
        "Be brief.\n\n1+1?",
        "2",
    ),
    "several turns": (
        {"messages": [user("Hi"), assistant("Hello."), user("1+1?"), assistant("2")]},
        "messages",
        "User: Hi\n\nAssistant: Hello.\n\nUser: 1+1?",
        "2",
    ),
    "a tool": (
        {
            "messages": [
                user("1+1?"),
                {"role": "assistant", "content": None, "tool_calls": [{"name": "add"}]},
                {"role": "tool", "content": "2"},
                assistant("It is 2."),
            ]
        },
        "messages",
        'User: 1+1?\n\nAssistant: {"name": "add", "arguments": {}}\n\nTool: 2',
        "It is 2.",
    ),
    "parts": (
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "1+1"}, {"type": "text", "text": "?"}]},
                assistant([{"type": "text", "text": "2"}]),
            ]
        },
        "messages",
        "1+1\n?",
        "2",
    ),
    "conversational prompt": (
        {"prompt": [user("1+1?")], "completion": [assistant("2")]},
        "prompt_completion",
        "1+1?",
        "2",
    ),
}


def as_csv(items, delimiter=","):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(items[0]), delimiter=delimiter)
    writer.writeheader()
    cells = [{k: v if isinstance(v, str) else json.dumps(v) for k, v in item.items()} for item in items]
    writer.writerows(cells)
    return text.getvalue().encode()


def as_parquet(items):
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(items), sink)
    return sink.getvalue()


def two_of_a_name():
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array(["x"])] * 2, names=["a", "a"]), sink)
    return sink.getvalue()


def zstd(content):
    return pa.compress(content, "zstd", asbytes=True)


FORMATS = {
    "a.jsonl": lambda items: jsonl(items).encode(),
    "crlf.jsonl": lambda items: jsonl(items).replace("\n", "\r\n").encode(),
    "bom.jsonl": lambda items: codecs.BOM_UTF8 + jsonl(items).encode(),
    "utf16.jsonl": lambda items: jsonl(items).encode("utf-16"),
    "list.jsonl": lambda items: json.dumps(items, indent=1).encode(),
    "spread.jsonl": lambda items: "\n".join(json.dumps(item, indent=2) for item in items).encode(),
    "A.JSON": lambda items: json.dumps(items).encode(),
    "data.json": lambda items: json.dumps({"version": 1, "data": items}).encode(),
    "lines.json": lambda items: jsonl(items).encode(),
    "a.csv": as_csv,
    "semicolons.csv": lambda items: as_csv(items, ";"),
    "a.tsv": lambda items: as_csv(items, "\t"),
    "a.parquet": as_parquet,
    "a.jsonl.gz": lambda items: gzip.compress(jsonl(items).encode(), mtime=0),
    "a.csv.gz": lambda items: gzip.compress(as_csv(items), mtime=0),
    "a.jsonl.bz2": lambda items: bz2.compress(jsonl(items).encode()),
    "a.jsonl.xz": lambda items: lzma.compress(jsonl(items).encode()),
    "a.json.zst": lambda items: zstd(json.dumps(items).encode()),
    "a.csv.zst": lambda items: zstd(as_csv(items)),
}


CELLS = {name for name in FORMATS if ".csv" in name or ".tsv" in name}


@pytest.mark.parametrize("name", FORMATS)
def test_every_shape_is_found_and_read_in_every_format(tmp_path, name):
    for title, (row, shape, prompt, completion) in PEOPLE.items():
        if title == "conversational prompt" and name in CELLS:
            continue  # a cell holds text; only a column of messages is looked into
        layout, reading = examples_of(written(tmp_path / name, FORMATS[name]([row] * 2)))
        assert (title, layout.shape, reading.broken) == (title, shape, [])
        texts = [{name: one[name] for name in ("id", "prompt", "completion")} for one in reading.examples]
        assert texts == [
            {"id": f"train-{i:06d}", "prompt": prompt, "completion": completion} for i in range(2)
        ]


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(
    str.strip
)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=4))
def test_any_text_comes_back_as_it_was_written(tmp_path_factory, pairs):
    folder = tmp_path_factory.mktemp("rows")
    items = [{"prompt": prompt, "completion": completion} for prompt, completion in pairs]
    for name in ("a.jsonl", "utf16.jsonl", "list.jsonl", "a.csv", "a.tsv", "a.parquet"):
        _, reading = examples_of(written(folder / name, FORMATS[name](items)))
        assert [(one["prompt"], one["completion"]) for one in reading.examples] == pairs, name
    assert [json.loads(rows.as_json(one.row)) for one in reading.rows] == items


@settings(max_examples=60, deadline=None)
@given(
    st.binary(max_size=80), st.sampled_from(["a.jsonl", "a.json", "a.csv", "a.tsv", "a.parquet", "a.csv.gz"])
)
def test_no_bytes_are_more_than_a_message(tmp_path_factory, content, name):
    path = written(tmp_path_factory.mktemp("bytes") / name, content)
    said = name
    try:
        examples_of(path)
    except UserError as error:
        said = str(error)
    assert name in said


def test_the_layout_says_which_columns_are_what(tmp_path):
    layout, _ = examples_of(written(tmp_path / "a.jsonl", jsonl([PEOPLE["dolly"][0]])))
    assert str(layout) == "shape instruction: prompt = instruction + context, completion = response"
    layout, _ = examples_of(written(tmp_path / "a.jsonl", jsonl([PEOPLE["ShareGPT"][0]])))
    assert str(layout) == "shape messages: conversations in 'conversations', the last reply is the completion"


GOOD = PEOPLE["question, answer"][0]


def test_every_broken_row_is_named_with_its_line(tmp_path):
    items = [
        GOOD,
        {"question": "q"},
        "{oops",
        {"question": ["3"], "answer": "a"},
        {**GOOD, "answer": " "},
        [],
        "7",
        '{"question": "cut',
    ]
    _, reading = examples_of(written(tmp_path / "t.jsonl", jsonl(items)))
    assert reading.broken == [
        "line 2: column 'answer' is missing (the row has 'question')",
        "line 3: not JSON (Expecting property name enclosed in double quotes at column 2): '{oops'",
        "line 4: column 'question' must be text, it is a list: \"['3']\"",
        "line 5: the completion is empty",
        "line 6: must be an object, it is a list",
        "line 7: must be an object, it is a int",
        'line 8: not JSON (Invalid control character at column 18): \'{"question": "cut\'',
    ]
    assert [one.place for one in reading.rows] == ["line 1"]


@pytest.mark.parametrize(
    ("turns", "problem"),
    [
        ("hello", "a conversation must be a list of turns, found a str"),
        ("[1", "the conversation is text, but not JSON"),
        ([], "the conversation has no turns"),
        (["hello"], "a conversation must be a list of turns, found a list with a str"),
        ([user("q"), assistant("a"), user("q")], "ends with a user turn, so there is no reply"),
        ([{"role": "system", "content": "s"}], "ends with a system turn"),
        ([assistant("a"), assistant("b")], "no user turn before the last reply"),
        (
            [{"role": "narrator", "content": "s"}],
            "turn 1 has the role 'narrator': rename it to one of system",
        ),
        ([user("q"), assistant({"a": 7})], "turn 2 must hold text, it is a dict"),
        ([user([{"type": "image_url"}]), assistant("a")], "turn 1 has a part that is of type 'image_url'"),
        ([user("q"), assistant("")], "the completion is empty"),
    ],
)
def test_a_conversation_without_a_reply_to_learn_from_is_refused_by_line(turns, problem):
    layout = rows.Layout("messages", ("messages",), None)
    reading = rows.read_examples([rows.Placed("line 7", {"messages": turns})], layout, "train")
    assert len(reading.broken) == 1
    assert reading.broken[0].startswith("line 7: ")
    assert problem in reading.broken[0]


def test_half_a_surrogate_pair_is_no_text_but_a_rows_other_columns_come_back(tmp_path):
    path = written(tmp_path / "r.jsonl", '{"question": "\\ud800", "answer": "a"}\n')
    assert examples_of(path)[1].broken == [
        "line 1: the prompt contains half of a surrogate pair, which is not text"
    ]
    odd = {"a": "\ud800", "b": float("nan"), "c": b"x", "d": [float("inf")]}
    assert json.loads(rows.as_json(odd)) == {"a": "\ud800", "b": None, "c": "eA==", "d": [None]}


@pytest.mark.parametrize(
    ("name", "content", "places"),
    [
        ("a.json", '[\n{"question": "q", "answer": ""},\n\n  {"answer": ""}\n]', ["row 1", "row 2"]),
        ("a.csv", 'question,answer\n"q\nq",\n\nq,"a\na"\nq\n,a,b\n', ["line 2", "line 7", "line 8"]),
        ("a.parquet", as_parquet([{"question": "q", "answer": ""}] * 2), ["row 1", "row 2"]),
        ("a.json", '{"data": [{"question": "q", "answer": ""}]}', ["row 1 of 'data'"]),
    ],
)
def test_a_row_is_named_by_where_it_begins(tmp_path, name, content, places):
    _, reading = examples_of(written(tmp_path / name, content))
    assert [text.split(":")[0] for text in reading.broken] == places


@pytest.mark.parametrize(
    ("name", "content", "part"),
    [
        ("e.jsonl", "", "has no rows"),
        ("e.json", "[]", "has no rows"),
        ("e.csv", "question,answer\n", "has no rows"),
        ("e.json", "[1,", "line 1: not JSON"),
        ("e.json", '[{"a": 1},]', "not JSON"),
        ("e.json", '[{"a": 1} 2]', "line 1: not JSON"),
        ("e.json", '[\n{"a": 1}\n]\n[', "line 4: not JSON"),
        ("e.parquet", "nonsense", "not a parquet file"),
        ("e.parquet", two_of_a_name(), "has the column 'a' twice"),
        ("e.jsonl.gz", "nonsense", "cannot be read"),
        ("e.jsonl.gz", gzip.compress(jsonl([GOOD] * 9).encode(), mtime=0)[:-9], "damaged or truncated"),
        ("e.jsonl.zst", zstd(jsonl([GOOD] * 9).encode())[:-9], "cannot be read"),
        ("b.jsonl", b'{"question": "\xff"}\n', r"not UTF-8 text \(byte 0xff\): save the file as UTF-8"),
        ("q.csv", 'question,answer\na,b\n"open,b\nc,d\n', "line 3: not valid CSV.*unclosed quote"),
        ("t.csv", "question,answer,answer\na,b,c\n", "names the column 'answer' twice"),
    ],
)
def test_an_unreadable_file_says_why(tmp_path, name, content, part):
    with pytest.raises(UserError, match=part):
        list(rows.read_rows(written(tmp_path / name, content)))


def test_nesting_without_end_and_endless_cells_are_no_trouble(tmp_path):
    with pytest.raises(UserError, match="nested too deeply"):
        list(rows.read_rows(written(tmp_path / "deep.json", "[" * 100_000)))
    _, reading = examples_of(written(tmp_path / "long.csv", "question,answer\n" + "x" * 200_000 + ",a\n"))
    assert len(reading.examples[0]["prompt"]) == 200_000


def test_columns_of_no_shape_list_the_known_ones_and_the_way_out():
    with pytest.raises(UserError, match=r"f: the columns 'title', 'body' fit no known shape") as caught:
        rows.find_layout(placed({"title": "x", "body": "y"}), "f")
    for part in ("data.shape=question_answer: question/answer, ", "data.columns.prompt=COLUMN"):
        assert part in str(caught.value)
    with pytest.raises(UserError, match="Text without a prompt and a completion cannot be selected"):
        rows.find_layout(placed({"text": "x"}), "f")


def test_people_name_their_own_columns():
    items = placed({"title": "x", "body": "y", "tags": "z"})
    layout = rows.find_layout(items, "f", chosen={"prompt": ["tags", "title"], "completion": "body"})
    assert rows.read_examples(items, layout, "train").examples[0]["prompt"] == "z\n\nx"
    with pytest.raises(UserError, match="f has no column 'titel'; it has 'title', 'body', 'tags'"):
        rows.find_layout(items, "f", chosen={"prompt": ["titel"], "completion": "body"})


def test_rows_that_fit_several_shapes_ask_for_a_choice():
    both = placed({**GOOD, "prompt": "p", "completion": "c"})
    with pytest.raises(UserError, match=r"fit several shapes \(question_answer, prompt_completion\)"):
        rows.find_layout(both, "f")
    assert rows.find_layout(both, "f", "prompt_completion").completion == "completion"
    with pytest.raises(UserError, match=r"do not fit data\.shape=messages"):
        rows.find_layout(both, "f", "messages")


def test_of_rows_of_several_shapes_the_first_decides_and_the_others_are_named():
    items = placed(GOOD, {"prompt": "p", "completion": "c"})
    layout = rows.find_layout(items, "f")
    assert layout.shape == "question_answer"
    assert (
        rows.read_examples(items, layout, "train")
        .broken[0]
        .startswith("line 2: column 'question' is missing")
    )


def test_one_odd_row_does_not_decide_the_shape_wherever_it_stands():
    many = [rows.Placed(f"line {i}", {"prompt": "q", "completion": "a"}) for i in range(2, 8)]
    odd = [rows.Placed("line 1", {"question": "q", "answer": "a", "messages": [], "system": "s"})]
    for found in (odd + many, many[:3] + odd + many[3:]):
        layout = rows.find_layout(found, "data.jsonl")
        assert (layout.shape, layout.system) == ("prompt_completion", "system")


USER, BOT = {"speaker": "human", "text": "Hi"}, {"speaker": "bot", "text": "Hello."}


@pytest.mark.parametrize(
    "line",
    [
        {"dialog": [USER, BOT]},
        {"dialog": [[USER, BOT]]},
        {"dialog": {"turns": [USER, BOT]}},
        {"dialog": json.dumps([USER, BOT])},
        {"messages": [["Hi", "Hello."]]},
        [USER, BOT],
    ],
    ids=["a list", "a list in a list", "an object", "JSON text", "pairs of texts", "the line itself"],
)
def test_a_conversation_is_found_however_it_is_wrapped(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_text(2 * (json.dumps(line) + "\n"))
    found = list(rows.read_rows(path))
    layout = rows.find_layout(found, path)
    examples = rows.read_examples(found, layout, "train").examples
    assert [(example["prompt"], example["completion"]) for example in examples] == 2 * [("Hi", "Hello.")]


def test_bytes_are_read_as_utf8_text_and_others_are_broken_rows():
    layout = rows.Layout("prompt_completion", ("prompt",), "completion")
    cells = [("größe".encode(), b"a"), (b"\xff", b"a")]
    found = [
        rows.Placed(f"row {i}", {"prompt": prompt, "completion": completion})
        for i, (prompt, completion) in enumerate(cells)
    ]
    reading = rows.read_examples(found, layout, "train")
    assert [example["prompt"] for example in reading.examples] == ["größe"]
    assert reading.broken == ["row 1: column 'prompt' must be text, its bytes are not UTF-8 (byte 0 is 0xff)"]


def test_a_first_row_that_is_broken_hides_no_shape():
    assert rows.find_layout(placed(rows.Broken("x"), {}, GOOD), "f").shape
    with pytest.raises(UserError, match="f: line 1: must be an object, it is a int"):
        rows.find_layout(placed(3), "f")


def test_rows_without_a_completion_are_counted_by_place():
    empty = {"question": "q", "answer": " "}
    items = placed(GOOD, empty, GOOD, {**empty, "answer": None})
    reading = rows.read_examples(items, rows.find_layout(items, "f"), "train", drop_empty=True)
    assert (len(reading.examples), reading.empty, reading.broken) == (2, ["line 2", "line 4"], [])
    assert [one["id"] for one in reading.examples] == ["train-000000", "train-000001"]


def test_the_first_ten_broken_rows_are_enough():
    error = rows.broken_rows("f", [f"line {i}: bad" for i in range(12)])
    assert "f: 12 broken rows; fix or remove them:" in str(error)
    assert "line 9: bad" in str(error)
    assert "... and 2 more" in str(error)
    assert "line 10: bad" not in str(error)
