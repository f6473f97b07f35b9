"""Which files a path means, and the files in which rows come: saved data sets, Arrow, objects, the real ones."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_gip_exp_data_rows import GOOD, as_parquet, assistant, examples_of, jsonl, user, written

from gip_exp.data import rows
from gip_exp.errors import UserError


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
