"""People's rows in, examples out; a broken row is named with its line."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gip_exp import rows
from gip_exp.errors import UserError


def jsonl(folder, name, items):
    path = folder / name
    path.write_text("\n".join(item if isinstance(item, str) else json.dumps(item) for item in items) + "\n")
    return path


ROWS = {
    "question_answer": {"question": "1+1?", "answer": "#### 2"},
    "instruction": {"instruction": "Add", "input": "1, 1", "output": "2"},
    "prompt_completion": {"prompt": "1+1?", "completion": "2"},
    "messages": {"messages": [{"role": "user", "content": "1+1?"}, {"role": "assistant", "content": "2"}]},
}


@pytest.mark.parametrize("shape", ROWS)
def test_each_shape_is_found_and_read(tmp_path, shape):
    path = jsonl(tmp_path, "train.jsonl", [ROWS[shape]] * 2)
    read = rows.read_rows(path)
    assert rows.detect_shape(read, path) == shape
    examples = rows.to_examples(read, shape, path, "train")
    assert [example["id"] for example in examples] == ["train-000000", "train-000001"]
    assert all(example["prompt"] and example["completion"] for example in examples)


def test_an_instructions_input_follows_after_an_empty_line(tmp_path):
    examples = rows.to_examples([(1, ROWS["instruction"])], "instruction", "x", "train")
    assert examples[0]["prompt"] == "Add\n\n1, 1"
    bare = rows.to_examples([(1, {**ROWS["instruction"], "input": ""})], "instruction", "x", "train")
    assert bare[0]["prompt"] == "Add"


def test_json_csv_and_parquet_hold_the_same_rows_as_jsonl(tmp_path):
    items = [{"question": f"q{i}", "answer": f"a{i}, with a comma"} for i in range(3)]
    jsonl(tmp_path, "a.jsonl", items)
    (tmp_path / "a.json").write_text(json.dumps(items))
    (tmp_path / "a.csv").write_text(
        "question,answer\n" + "".join(f'{r["question"]},"{r["answer"]}"\n' for r in items)
    )
    pq.write_table(pa.Table.from_pylist(items), tmp_path / "a.parquet")
    read = [[dict(row) for _, row in rows.read_rows(tmp_path / f"a{suffix}")] for suffix in rows.SUFFIXES]
    assert read == [items] * 4


def test_every_broken_row_is_named_with_its_line(tmp_path):
    good = ROWS["question_answer"]
    path = jsonl(
        tmp_path,
        "t.jsonl",
        [good, {"question": "q"}, good, {"question": 3, "answer": "a"}, {**good, "answer": " "}, []],
    )
    read = rows.read_rows(path)
    with pytest.raises(UserError) as caught:
        rows.to_examples(read, "question_answer", path, "train")
    message = str(caught.value)
    assert "4 broken rows" in message
    for part in (
        "line 2: column 'answer' is missing (the row has question)",
        "line 4: the prompt must be text, it is a int: '3'",
        "line 5: the completion is empty",
        "line 6: must be an object, it is a list",
    ):
        assert part in message


def test_lines_that_are_not_json_are_named_and_the_first_ten_are_enough(tmp_path):
    path = jsonl(tmp_path, "t.jsonl", ['{"question": '] * 12 + [ROWS["question_answer"]])
    with pytest.raises(UserError) as caught:
        rows.read_rows(path)
    message = str(caught.value)
    assert "12 broken rows" in message
    assert "line 1: not JSON" in message
    assert "... and 2 more" in message


@pytest.mark.parametrize(
    ("make", "part"),
    [
        (lambda d: d / "absent", "does not exist"),
        (lambda d: d, "holds no training file"),
        (lambda d: jsonl(d, "rows.txt", ["x"]), "cannot read '.txt' files"),
    ],
)
def test_a_path_without_training_rows_says_what_to_give(tmp_path, make, part):
    with pytest.raises(UserError, match=part):
        rows.find_files(make(tmp_path))


def test_a_folder_gives_train_and_test(tmp_path):
    train, test = jsonl(tmp_path, "train.jsonl", ["{}"]), jsonl(tmp_path, "test.jsonl", ["{}"])
    assert rows.find_files(tmp_path) == (train, test)
    assert rows.find_files(train) == (train, None)


@pytest.mark.parametrize(
    ("name", "text", "part"),
    [
        ("e.jsonl", "", "holds no rows"),
        ("e.json", '{"a": 1}', "must hold a JSON list"),
        ("e.json", "[1,", "not JSON"),
        ("e.parquet", "nonsense", "not a parquet file"),
    ],
)
def test_an_unreadable_file_says_why(tmp_path, name, text, part):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=part):
        rows.read_rows(tmp_path / name)


def test_bytes_that_are_no_text_are_named(tmp_path):
    (tmp_path / "b.jsonl").write_bytes(b'{"question": "\xff"}\n')
    with pytest.raises(UserError, match="not UTF-8 text"):
        rows.read_rows(tmp_path / "b.jsonl")


def test_unknown_columns_list_the_known_shapes(tmp_path):
    with pytest.raises(
        UserError, match=r"columns \['text'\] fits no known shape.*data.shape=question_answer"
    ):
        rows.detect_shape([(1, {"text": "x"})], "f")


def test_columns_of_two_shapes_ask_for_a_choice():
    both = {**ROWS["question_answer"], **ROWS["prompt_completion"]}
    with pytest.raises(UserError, match="fits several shapes"):
        rows.detect_shape([(1, both)], "f")


def test_a_conversation_of_several_turns_is_refused_by_line():
    turns = [{"role": "system", "content": "s"}, *ROWS["messages"]["messages"]]
    with pytest.raises(UserError, match=r"line 7: messages must be one user turn"):
        rows.to_examples([(7, {"messages": turns})], "messages", "f", "train")


def test_real_gsm8k_reads_whole(data_dir):
    train, test = rows.find_files(data_dir / "gsm8k")
    examples = rows.to_examples(rows.read_rows(train), "question_answer", train, "train")
    assert (len(examples), len(rows.read_rows(test))) == (7473, 1319)
    assert all("####" in example["completion"] for example in examples)


def test_real_alpaca_is_found_to_be_instructions(data_dir):
    path = data_dir / "alpaca" / "alpaca_9k.json"
    read = rows.read_rows(path)
    assert rows.detect_shape(read, path) == "instruction"


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"question": "\\ud800", "answer": "a"}', "line 1: the prompt holds half of a surrogate pair"),
        ('{"messages": "hello"}', "line 1: messages must be a list of turns, found str"),
    ],
)
def test_rows_that_are_no_text_are_named(tmp_path, text, part):
    (tmp_path / "r.jsonl").write_text(text + "\n")
    read = rows.read_rows(tmp_path / "r.jsonl")
    with pytest.raises(UserError, match=part):
        rows.to_examples(read, rows.detect_shape(read, "r"), "r", "train")


def test_nesting_without_end_and_endless_cells_are_messages(tmp_path):
    (tmp_path / "deep.json").write_text("[" * 100_000)
    with pytest.raises(UserError, match="nested too deeply"):
        rows.read_rows(tmp_path / "deep.json")
    (tmp_path / "long.csv").write_text("question,answer\n" + "x" * 200_000 + ",a\n")
    assert len(rows.read_rows(tmp_path / "long.csv")[0][1]["question"]) == 200_000


def test_rows_without_a_completion_can_be_left_out_by_line(tmp_path):
    good = ROWS["instruction"]
    kept, dropped = rows.without_empty([(1, good), (2, {**good, "output": " "}), (3, [])], "instruction")
    assert (kept, dropped) == ([(1, good), (3, [])], [2])


def test_real_alpaca_has_four_rows_without_an_answer(data_dir):
    path = data_dir / "alpaca" / "alpaca_9k.json"
    kept, dropped = rows.without_empty(rows.read_rows(path), "instruction")
    assert dropped == [1462, 3588, 6235, 8991]
    assert len(rows.to_examples(kept, "instruction", path, "train")) == 9225
