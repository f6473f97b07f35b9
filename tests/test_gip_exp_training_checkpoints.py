"""Only a checkpoint that is whole, byte for byte, is gone on from."""

import pytest

from gip_exp.training import checkpoints

CONDITIONS = {"processes": 1}


@pytest.fixture
def folder(tmp_path):
    """Two sealed checkpoints and one that was never finished."""
    assert checkpoints.resumable(tmp_path, CONDITIONS) is None
    for step in (5, 10, 15):
        checkpoint = tmp_path / f"checkpoint-{step}"
        (checkpoint / "part").mkdir(parents=True)
        (checkpoint / "part" / "optimizer.pt").write_bytes(b"moments" * step)
        if step < 15:
            checkpoints.mark_complete(checkpoint)
    return tmp_path


def test_the_last_whole_one_is_gone_on_from_and_half_ones_are_removed(folder):
    last = checkpoints.resumable(folder, CONDITIONS)
    assert last == folder / "checkpoint-10"
    assert checkpoints.numbered(folder) == [folder / "checkpoint-5", last]


@pytest.mark.parametrize("content", [b"", b"moments" * 9, b"nonsens" * 10])
def test_a_file_that_was_cut_or_changed_after_the_seal_makes_it_no_checkpoint(folder, content):
    (folder / "checkpoint-10" / "part" / "optimizer.pt").write_bytes(content)
    assert checkpoints.resumable(folder, CONDITIONS) == folder / "checkpoint-5"
    assert not (folder / "checkpoint-10").exists()


@pytest.mark.parametrize("mark", ["", "{", "[]"])
def test_a_mark_that_cannot_be_read_marks_nothing(folder, mark):
    for step in (5, 10):
        (folder / f"checkpoint-{step}" / checkpoints.MARK).write_text(mark)
    assert checkpoints.resumable(folder, CONDITIONS) is None


def test_under_other_conditions_the_folder_starts_afresh(folder):
    assert checkpoints.resumable(folder, {"processes": 2}) is None
    assert checkpoints.numbered(folder) == []
