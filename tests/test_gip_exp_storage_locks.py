"""A lock is the kernel's or it is refused: nobody waits for the dead, and nobody works without one."""

import errno
import fcntl
import os

import pytest

from gip_exp.errors import UserError
from gip_exp.storage.locks import held


def never():
    raise AssertionError("nobody holds the lock")


def test_what_is_written_in_a_lock_file_and_its_age_do_not_matter(tmp_path):
    path = tmp_path / "a.lock"
    for stamp in (0, 4_102_444_800):  # 1970, 2100
        path.write_text("12345\nanother-host\n")
        os.utime(path, (stamp, stamp))
        with held(path, never):
            pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        pytest.raises(UserError, match=r"no file locks \(flock\).*choose another folder"),
        held(tmp_path / "a.lock", never),
    ):
        raise AssertionError("worked without a lock")


def test_a_lock_file_of_another_user_is_named(tmp_path, monkeypatch):
    def denied(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", denied)
    with (
        pytest.raises(UserError, match=r"a\.lock cannot be opened \(Permission denied\).*umask 002"),
        held(tmp_path / "a.lock", never),
    ):
        raise AssertionError("worked without a lock")
