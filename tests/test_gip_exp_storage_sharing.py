"""Users who share a store through a group reuse each other's outputs; where they cannot, they read whose folder it is.

The tests with two users need root, which becomes either of them by number, and a Python that others may read.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from conftest import MICRO, ROOT, unavailable

from gip_exp.storage import sharing

ALICE, BOB, GROUP = 64101, 64102, 64100  # numbers suffice: they need no account
SECONDS = 300


@dataclass
class Users:
    """A folder that belongs to the group of two users, and commands as either of them."""

    folder: Path
    python: str

    def start(self, user: int, *words: object, umask: str = "002") -> subprocess.Popen[str]:
        return become(user, self.folder.parent / f"home-{user}", umask, self.python, "-m", "gip_exp", *words)

    def run(self, user: int, *words: object, umask: str = "002", code: int = 0) -> str:
        return said(self.start(user, *words, umask=umask), code)


def become(user: int, home: Path, umask: str, *words: object) -> subprocess.Popen[str]:
    environment = {
        "HOME": str(home), "USER": f"user{user}", "PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1", "WANDB_MODE": "offline", "TMPDIR": str(home), "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")]),
    }  # fmt: skip
    # The shell starts the command: a program that setpriv starts itself is still opened with root's rights.
    shell = ["sh", "-c", f'umask {umask}; exec "$@"', "sh", *map(str, words)]
    return subprocess.Popen(
        ["setpriv", f"--reuid={user}", f"--regid={user}", f"--groups={GROUP}", *shell],
        env=environment, cwd=home, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def said(process: subprocess.Popen[str], code: int = 0) -> str:
    text, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == code, text
    assert "Traceback" not in text
    return text


@pytest.fixture
def users() -> Iterator[Users]:
    if os.geteuid() != 0 or not shutil.which("setpriv"):
        unavailable("users", "needs root and setpriv, to become two users")
    with tempfile.TemporaryDirectory() as place:  # tmp_path is below a folder that only its owner may enter
        Path(place).chmod(0o755)
        shared = Path(place) / "shared"
        shared.mkdir()
        os.chown(shared, ALICE, GROUP)
        shared.chmod(0o2775)
        for user in (ALICE, BOB):
            (home := Path(place) / f"home-{user}").mkdir()
            os.chown(home, user, user)
        yield Users(shared, _python(Path(place) / f"home-{BOB}"))


def _python(home: Path) -> str:
    """An interpreter of this version that another user may start, with the packages of this one."""
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, system):
        probe = become(BOB, home, "002", python, "-c", "import torch")
        probe.communicate(timeout=SECONDS)
        if probe.returncode == 0:
            return python
    unavailable("users", f"neither {sys.executable} nor {system} can be started by another user")
    raise AssertionError


def reused(text: str) -> set[str]:
    return set(re.findall(r"^  (\S+): reused", text, re.MULTILINE))


def test_two_users_work_on_one_store_at_once_and_then_reuse_what_the_other_made(users):
    root = users.folder / "outputs"
    axes = [*MICRO, f"paths.root={root}", "selector=mp_ma", "untuned=false"]
    # At once: locks of either user hold up the other, and every output is made by one of them.
    texts = [said(process) for process in [users.start(user, *axes) for user in (ALICE, BOB)]]
    made = [name for text in texts for name in re.findall(r"^  (\S+): [\d.]+ s$", text, re.MULTILINE)]
    assert sorted(made) == sorted(set(made))
    assert {"base", "train"} <= set(made)
    # One after the other: a sweep of each.
    users.run(ALICE, "-m", *axes, "selector=random", "seed=0,1")
    text = users.run(BOB, "-m", *axes, "selector=random", "seed=0,1", "budget=0.2")
    assert {"data", "base"} <= reused(text)
    assert not re.search(r"^  base: [\d.]+ s$", text, re.MULTILINE)
    owners = {path.stat().st_uid for path in (root / "store").glob("*/*/manifest.json")}
    assert owners == {ALICE, BOB}
    closed = [path for path in root.rglob("*") if path.stat().st_mode & 0o060 != 0o060]
    assert closed == []
    shown = users.run(BOB, "status", root)
    assert "5 runs: 5 done" in shown


def test_a_training_that_one_user_left_half_done_is_finished_by_the_other(users):
    root = users.folder / "outputs"
    axes = [*MICRO, f"paths.root={root}", "selector=random", "train.steps=300", "train.checkpoint_steps=25"]
    killed = users.start(ALICE, *axes)
    while not list((root / "store" / "train").glob("*.partial/work/checkpoint-*/complete")):
        assert killed.poll() is None, killed.communicate()[0]
        time.sleep(0.05)
    killed.kill()
    killed.communicate()
    text = users.run(BOB, *axes)
    assert {"data", "base", "rank"} <= reused(text)
    assert "begins again" not in text
    losses = (path for path in (root / "store" / "train").glob("*/losses.jsonl"))
    assert next(losses).stat().st_uid == BOB


def test_what_is_not_shared_names_its_owner_and_the_remedy(users):
    root = users.folder / "outputs"
    axes = [*MICRO, f"paths.root={root}", "until=data"]
    assert "umask 002 before the command" in users.run(ALICE, *axes, umask="022")
    # Bob may read what is there, and cannot write beside it.
    text = users.run(BOB, *axes, "seed=1", code=2)
    assert f"paths.root={root} cannot be written" in text
    assert f"it belongs to user {ALICE}: share it through a group" in text
    # What he may not even read is an error, too, not an output that is missing.
    for path in (root / "store").rglob("*"):
        path.chmod(0o700)
    assert f"it belongs to user {ALICE}" in users.run(BOB, *axes, code=2)


def test_files_get_the_permissions_of_their_folder(tmp_path):
    tmp_path.chmod(0o2775)
    (tmp_path / "inner").mkdir(mode=0o700)
    (weights := tmp_path / "inner" / "weights").touch(mode=0o600)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    sharing.allow_by_umask(tmp_path)
    assert (weights.stat().st_mode & 0o7777, weights.parent.stat().st_mode & 0o7777) == (0o664, 0o2775)
    tmp_path.chmod(0o700)
    (private := tmp_path / "private").touch(mode=0o600)
    sharing.allow_by_umask(tmp_path)
    assert private.stat().st_mode & 0o777 == 0o600


def test_a_umask_that_closes_a_shared_folder_is_told(tmp_path):
    before = os.umask(0o022)
    try:
        assert sharing.closed_to_group(tmp_path / "outputs") == ""  # of one user
        tmp_path.chmod(0o2775)
        assert "umask 022" in sharing.closed_to_group(tmp_path / "outputs")
        os.umask(0o002)
        assert sharing.closed_to_group(tmp_path / "outputs") == ""
    finally:
        os.umask(before)
