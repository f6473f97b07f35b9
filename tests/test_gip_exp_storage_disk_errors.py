"""Whatever a library makes of a full or read-only disk, a person reads what is wrong and what to do."""

import errno

import pytest

from gip_exp.errors import UserError
from gip_exp.storage import disk_errors


def raised(error, root):
    with pytest.raises(UserError) as caught, disk_errors.explained(root, "writing stage 'train'"):
        raise error
    return str(caught.value)


class RustError(Exception):
    """As safetensors and tokenizers raise it."""


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EFBIG, "File too large"),
        RustError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_known_by_its_number_or_its_words(tmp_path, error):
    said = raised(error, tmp_path)
    assert said.startswith(f"no space left below {tmp_path} while writing stage 'train'")
    assert "free some space, or set paths.root to another disk" in said


def test_a_full_disk_is_known_through_the_errors_around_it(tmp_path):
    def wrapped():
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise KeyError("while saving") from error

    with pytest.raises(UserError, match="no space left"), disk_errors.explained(tmp_path, "saving"):
        wrapped()


@pytest.mark.parametrize(
    "error",
    [OSError("4096 requested and 1024 written"), RuntimeError("PytorchStreamWriter failed writing file")],
)
def test_where_the_error_says_nothing_the_disk_is_asked(tmp_path, error, monkeypatch):
    with pytest.raises(type(error)), disk_errors.explained(tmp_path, "saving"):
        raise error  # there is room, so this is something else
    monkeypatch.setattr(disk_errors, "_is_full", lambda _: True)
    assert "no space left" in raised(error, tmp_path)


def test_a_probe_of_the_disk_leaves_nothing(tmp_path):
    assert not disk_errors._is_full(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_below_the_root_is_told_and_elsewhere_is_not_ours(tmp_path):
    said = raised(OSError(errno.EROFS, "Read-only file system", str(tmp_path / "store")), tmp_path)
    assert f"paths.root={tmp_path} cannot be written (Read-only file system)" in said
    assert "choose another folder" in said
    with pytest.raises(PermissionError), disk_errors.explained(tmp_path / "out", "reading"):
        raise PermissionError(errno.EACCES, "Permission denied", str(tmp_path / "data.jsonl"))


def test_a_disk_that_fails_is_no_fault_of_the_program(tmp_path):
    assert "failed while writing stage 'train' (Input/output error): check it" in raised(
        OSError(errno.EIO, "x"), tmp_path
    )


def test_a_root_with_braces_in_its_name_is_shown_as_it_is(tmp_path):
    assert "{x}" in raised(OSError(errno.ENOSPC, ""), tmp_path / "{x}")


def test_a_folder_that_cannot_be_made_or_written_says_so(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"paths.root=.* cannot be written .*choose another folder"):
        disk_errors.make_folder(tmp_path / "file" / "store", tmp_path / "file")
    monkeypatch.setattr(disk_errors, "writable", lambda _: False)
    with pytest.raises(UserError, match="no permission for"):
        disk_errors.make_folder(tmp_path / "store", tmp_path)


def test_other_errors_pass_as_they_are(tmp_path):
    error = KeyError("a bug")
    with pytest.raises(KeyError) as caught, disk_errors.explained(tmp_path, "working"):
        raise error
    assert caught.value is error
