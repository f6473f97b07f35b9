"""People's rows in, examples out: every shape in every format, and a broken row is named with its place."""

import bz2
import codecs
import csv
import gzip
import io
import json
import lzma
from pathlib import Path

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


# Which files a path means.


@pytest.fixture
def folder(tmp_path):
    for name in ("train.jsonl", "test.parquet", "notes.txt"):
        written(tmp_path / "plain" / name, "x")
    for name in (
        "train-00001-of-00002.parquet",
        "train-00000-of-00002.parquet",
        "test-00000-of-00001.parquet",
    ):
        written(tmp_path / "hub" / "data" / name, "x")
    written(tmp_path / "hub" / "README.md", "x")
    for place in ("main", "socratic"):
        for split in ("train", "test"):
            written(tmp_path / "sets" / place / f"{split}-00000-of-00001-a09b74b3ef9c3b56.parquet", "x")
    for name in ("default/train/0000.parquet", "default/train/0001.parquet", "default/test/0000.parquet"):
        written(tmp_path / "converted" / name, "x")
    for name in ("train_sft", "train_gen", "test_gen", "test_sft", "validation"):
        written(tmp_path / "chat" / "data" / f"{name}-00000-of-00001.parquet", "x")
    for name in ("train.json", "train.jsonl"):
        written(tmp_path / "twice" / name, "x")
    for name in ("train.json", "data/train-00000-of-00001.parquet"):
        written(tmp_path / "both" / name, "x")
    for name in ("train_a.jsonl", "train_b.jsonl"):
        written(tmp_path / "splits" / name, "x")
    for number in ("00000-of-00003", "00002-of-00003"):
        written(tmp_path / "gap" / f"train-{number}.parquet", "x")
    for end in ("aaaaaaaa", "bbbbbbbb"):
        written(tmp_path / "copies" / f"train-00000-of-00001-{end}.parquet", "x")
    written(tmp_path / "one file" / "my rows.jsonl.gz", "x")
    for name in ("a.jsonl", "b.jsonl"):
        written(tmp_path / "many" / name, "x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "many" / "a.jsonl")
    (tmp_path / "dead.jsonl").symlink_to("nowhere")
    return tmp_path


@pytest.mark.parametrize(
    ("path", "train", "test"),
    [
        ("plain", ["train.jsonl"], ["test.parquet"]),
        ("plain/train.jsonl", ["train.jsonl"], []),
        (
            "hub",
            ["train-00000-of-00002.parquet", "train-00001-of-00002.parquet"],
            ["test-00000-of-00001.parquet"],
        ),
        ("sets/main", *[[f"{split}-00000-of-00001-a09b74b3ef9c3b56.parquet"] for split in ("train", "test")]),
        ("converted", ["0000.parquet", "0001.parquet"], ["0000.parquet"]),
        ("chat", ["train_sft-00000-of-00001.parquet"], ["test_sft-00000-of-00001.parquet"]),
        ("one file", ["my rows.jsonl.gz"], []),
        ("many/*.jsonl", ["a.jsonl", "b.jsonl"], []),
        ("**/[ab].jsonl", ["a.jsonl", "b.jsonl"], []),
        ("link.jsonl", ["link.jsonl"], []),
    ],
)
def test_a_path_means_files(folder, path, train, test):
    found = rows.find_files(folder / path)
    assert ([file.name for file in found.train], [file.name for file in found.test]) == (train, test)


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("absent", "does not exist: give one file, a folder"),
        ("empty", "has no training file .*it contains nothing"),
        ("plain/notes.txt", "cannot read '.txt' files; use one of .jsonl"),
        ("many", r"has no training file .* but a.jsonl, b.jsonl: give one of them .*many/\*.jsonl"),
        ("many/*.csv", "no file matches"),
        ("dead.jsonl", "is a link to nowhere, which does not exist"),
        ("sets", r"has several data sets \(main, socratic\): give one, e.g. data.path=.*/sets/main"),
        ("twice", r"has the same split several times \(train.json, train.jsonl\): remove all but one"),
        ("copies", r"has the same split several times"),
        ("both", "has training files in it and in its data/"),
        ("splits", r"has several training splits \(train_a, train_b\): give one as a pattern"),
        ("gap", r"1 of 3 shards are missing: train-00001-of-00003. Copy them here"),
        ("gap/train-*", r"1 of 3 shards are missing"),
    ],
)
def test_a_path_without_training_rows_says_what_to_give(folder, path, part):
    with pytest.raises(UserError, match=part):
        rows.find_files(folder / path)


def test_a_folder_of_several_data_sets_gives_the_one_that_is_asked_for(folder):
    found = rows.find_files(folder / "sets", config="socratic")
    assert [file.parent.name for file in (*found.train, *found.test)] == ["socratic", "socratic"]
    allowed = rows.find_files(folder / "gap", allow_missing=True)
    assert [file.name[6:11] for file in allowed.train] == ["00000", "00002"]


def test_splits_that_are_not_read_are_said(folder):
    assert rows.find_files(folder / "chat").left_out == (
        "chat: training rows are from the split train_sft, test rows from test_sft; not read: test_gen, train_gen, validation"
    )
    assert rows.find_files(folder / "hub").left_out == ""


def test_what_datasets_saves_is_read(tmp_path):
    from datasets import Dataset, DatasetDict

    items = [{"question": f"{n}?", "answer": str(n), "messages": None} for n in range(5)]
    table = Dataset.from_list(items).remove_columns("messages")
    table.save_to_disk(str(tmp_path / "one"), num_shards=2)
    DatasetDict(train=table, test=table.select([0]), other=table).save_to_disk(str(tmp_path / "splits"))
    found = rows.find_files(tmp_path / "one")
    assert [one.row["question"] for one in rows.read_files(found.train)] == [f"{n}?" for n in range(5)]
    assert list(rows.read_files(found.train))[4].place == "data-00001-of-00002.arrow row 2"
    splits = rows.find_files(tmp_path / "splits")
    assert [len(list(rows.read_files(files))) for files in (splits.train, splits.test)] == [5, 1]
    assert "not read: other" in splits.left_out
    found.train[1].unlink()
    with pytest.raises(
        UserError, match=r"data-00001-of-00002.arrow of the saved data set \(state.json\) are missing"
    ):
        rows.find_files(tmp_path / "one")
    (tmp_path / "one" / "state.json").write_text("{")
    with pytest.raises(UserError, match=r"state.json: cannot be read"):
        rows.find_files(tmp_path / "one")


def test_arrow_files_are_read_in_both_forms(tmp_path):
    table = pa.Table.from_pylist([GOOD] * 3)
    for name, writer in (
        ("a.arrow", pa.ipc.new_stream),
        ("b.arrow", pa.ipc.new_file),
        ("c.feather", pa.ipc.new_file),
    ):
        with writer(str(tmp_path / name), table.schema) as out:
            out.write_table(table)
        assert [one.row for one in rows.read_rows(tmp_path / name)] == [GOOD] * 3
    with pytest.raises(UserError, match="not an Arrow file"):
        list(rows.read_rows(written(tmp_path / "d.arrow", "nonsense")))


def test_columns_that_python_has_no_value_for_hide_no_row(tmp_path):
    far = pa.array([10**15, None], pa.timestamp("s"))
    table = pa.table({"question": ["q", "r"], "answer": ["a", "b"], "until": far})
    pq.write_table(table, tmp_path / "a.parquet")
    _, reading = examples_of(tmp_path / "a.parquet")
    assert [one["completion"] for one in reading.examples] == ["a", "b"]
    assert rows.as_json(reading.rows[0].row).startswith(
        '{"question": "q", "answer": "a", "until": "<value out of range'
    )


def test_keys_that_arrow_filled_in_are_no_part_of_a_row(tmp_path):
    tools = [[{"name": "f", "parameters": {"x": "int"}}], [{"name": "g", "parameters": {"y": "int"}}]]
    items = [{"messages": [user("q"), assistant("a")], "tools": one} for one in tools]
    _, reading = examples_of(written(tmp_path / "a.parquet", as_parquet(items)))
    assert [one["tools"][0]["function"] for one in reading.examples] == [one[0] for one in tools]


@pytest.mark.parametrize(
    "content",
    [
        {"question": ["1?", "2?"], "answer": ["1", "2"]},
        {"question": {"0": "1?", "1": "2?"}, "answer": {"0": "1", "1": "2"}},
        {"index": [0, 1], "columns": ["question", "answer"], "data": [["1?", "1"], ["2?", "2"]]},
        {"rows": [{"question": "1?", "answer": "1"}, {"question": "2?", "answer": "2"}]},
        {"mine": [{"question": "1?", "answer": "1"}, {"question": "2?", "answer": "2"}], "version": 2},
        {"a1": {"question": "1?", "answer": "1"}, "a2": {"question": "2?", "answer": "2"}},
    ],
)
def test_an_object_that_holds_the_rows_is_opened(tmp_path, content):
    for name in ("a.json", "a.jsonl"):
        _, reading = examples_of(written(tmp_path / name, json.dumps(content)))
        assert [one["prompt"] for one in reading.examples] == ["1?", "2?"]


def test_what_an_object_holds_beside_its_rows_is_said(tmp_path):
    told = []
    path = written(tmp_path / "a.json", json.dumps({"train": [GOOD], "test": [GOOD], "version": 1}))
    assert len(list(rows.read_rows(path, told.append))) == 1
    assert told == ["a.json: the rows are those in 'train'; not read: 'test'"]
    path = written(tmp_path / "b.json", json.dumps({"question": ["a", "b"], "answer": ["a"]}))
    with pytest.raises(
        UserError, match=r"b.json: an object of columns of different lengths \('question' 2, 'answer' 1\)"
    ):
        list(rows.read_rows(path))
    path = written(tmp_path / "c.json", json.dumps({"messages": [user("q"), assistant("a")]}))
    assert len(list(rows.read_rows(path))) == 1  # a list of turns is no list of rows


def test_home_is_understood_and_a_folder_that_may_not_be_read_is_a_message(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert rows.find_files(Path("~/link.jsonl")).train == (folder / "link.jsonl",)

    def denied(_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.iterdir", denied)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
        rows.find_files(folder / "plain")


def test_rows_of_several_files_say_which(tmp_path):
    paths = [written(tmp_path / name, jsonl([GOOD])) for name in ("a.jsonl", "b.jsonl")]
    assert [one.place for one in rows.read_files(paths)] == ["a.jsonl line 1", "b.jsonl line 1"]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("owner/name", "owner/name"),
        ("owner/name.v2", "owner/name.v2"),
        ("owner/rows.jsonl", None),  # a file that is not there
        ("plain/absent", None),  # its folder is there
        ("hub", None),
        ("a/b/c", None),
        ("/owner/name", None),
        ("name", None),
    ],
)
def test_a_name_on_the_hub_is_told_from_a_path(folder, monkeypatch, path, name):
    monkeypatch.chdir(folder)
    assert rows.hub_name(path) == name


def test_real_gsm8k_reads_whole(data_dir):
    files = rows.find_files(data_dir / "gsm8k")
    layout, reading = examples_of(files.train[0])
    assert (layout.shape, len(reading.examples), reading.broken) == ("question_answer", 7473, [])
    assert all("####" in example["completion"] for example in reading.examples)
    assert len(list(rows.read_files(files.test))) == 1319


def test_real_alpaca_is_instructions_and_four_rows_have_no_answer(data_dir):
    layout, reading = examples_of(data_dir / "alpaca" / "alpaca_9k.json", drop_empty=True)
    assert layout == rows.Layout("instruction", ("instruction", "input"), "output")
    assert (len(reading.examples), reading.broken) == (9225, [])
    assert reading.empty == ["row 1462", "row 3588", "row 6235", "row 8991"]
