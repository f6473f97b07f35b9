"""The store: an entry that exists is complete; nothing is made twice; a dead owner leaves no lock and no half entry."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gip_exp.errors import UserError
from gip_exp.storage import manifest
from gip_exp.storage import store as store_module
from gip_exp.storage.files import digest, file_digest, write_text
from gip_exp.storage.store import MANIFEST, Store

ROOT = Path(__file__).resolve().parent.parent


def build_text(text, calls=None):
    def build(draft):
        (draft.folder / "out.txt").write_text(text)
        draft.facts["length"] = len(text)
        draft.notes.append("mind the gap")
        if calls is not None:
            calls.append(text)

    return build


def test_an_entry_is_made_once_and_reused_with_its_facts_and_notes(tmp_path):
    calls = []
    store = Store(tmp_path)
    first = store.produce("data", {"a": 1}, build_text("hello", calls))
    again = Store(tmp_path).produce("data", {"a": 1}, build_text("other", calls))
    assert calls == ["hello"]
    assert (first.cached, again.cached) == (False, True)
    assert again.folder == first.folder == tmp_path / "store" / "data" / first.key
    assert (again.facts, again.notes) == ({"length": 5}, ["mind the gap"])


def test_the_manifest_says_what_went_in_and_what_came_out(tmp_path):
    entry = Store(tmp_path).produce("data", {"version": 3, "inputs": {"x": "k"}}, build_text("hello"))
    manifest = json.loads((entry.folder / MANIFEST).read_text())
    assert manifest["version"] == 3
    assert manifest["inputs"] == {"x": "k"}
    assert manifest["files"]["out.txt"] == {"bytes": 5, "sha256": file_digest(entry.folder / "out.txt")}
    assert manifest["seconds"] >= 0
    assert manifest["peak_memory_bytes"] > 0
    assert manifest["versions"]["python"] == sys.version.split()[0]


def test_another_identity_or_stage_is_another_entry(tmp_path):
    store = Store(tmp_path)
    keys = {
        store.produce(stage, {"a": a}, build_text("x")).key for stage in ("data", "embed") for a in (1, 2)
    }
    assert len(keys) == 4


def test_the_key_does_not_depend_on_the_order_of_settings():
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 1.5})


def test_a_failed_build_leaves_nothing(tmp_path):
    def build(draft):
        (draft.folder / "half.txt").write_text("half")
        raise RuntimeError("broken")

    store = Store(tmp_path)
    with pytest.raises(RuntimeError, match="broken"):
        store.produce("data", {}, build)
    assert [path for path in (tmp_path / "store" / "data").iterdir() if path.is_dir()] == []
    assert store.produce("data", {}, build_text("x")).cached is False


def test_a_resumable_stage_finds_its_shards_again(tmp_path):
    seen = []

    def build(draft):
        seen.append(sorted(path.name for path in draft.folder.iterdir()))
        (draft.folder / f"shard-{len(seen)}").write_text("x")
        if len(seen) == 1:
            raise RuntimeError("killed")

    store = Store(tmp_path)
    with pytest.raises(RuntimeError):
        store.produce("judge", {}, build, resumable=True)
    entry = store.produce("judge", {}, build, resumable=True)
    assert seen == [[], ["shard-1"]]
    assert sorted(entry.manifest["files"]) == ["shard-1", "shard-2"]


def test_a_resumable_stage_killed_just_before_its_rename_is_whole_afterwards(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    store = Store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            store.produce("judge", {}, build_text("hello"), resumable=True)
    entry = store.produce("judge", {}, build_text("hello"), resumable=True)
    assert sorted(entry.manifest["files"]) == ["out.txt"]
    assert store.produce("judge", {}, build_text("other"), resumable=True).cached


@pytest.mark.parametrize(
    ("harm", "part"),
    [
        (lambda folder: (folder / "out.txt").write_text("hell"), "has 4 bytes instead of 5"),
        (
            lambda folder: (folder / "out.txt").write_text("hellp"),
            "out.txt has changed since it was written",
        ),
        (lambda folder: (folder / "out.txt").unlink(), "out.txt is missing"),
        (lambda folder: [path.unlink() for path in folder.iterdir()], "manifest.json cannot be read"),
        (
            lambda folder: (shutil.rmtree(folder), folder.write_text("in the way")),
            "manifest.json cannot be read",
        ),
        (lambda folder: (folder / MANIFEST).write_text("{"), "manifest.json cannot be read"),
        (lambda folder: (folder / MANIFEST).write_text("[]"), "manifest.json cannot be read"),
    ],
)
def test_a_damaged_entry_is_set_aside_and_made_again(tmp_path, harm, part):
    said = []
    store = Store(tmp_path, on_wait=said.append)
    entry = store.produce("data", {}, build_text("hello"))
    harm(entry.folder)
    again = store.produce("data", {}, build_text("hello"))
    assert again.cached is False
    assert (again.folder / "out.txt").read_text() == "hello"
    assert entry.folder.with_name(entry.key + ".damaged-1").exists()
    assert part in said[0]


def test_looking_for_an_entry_moves_nothing(tmp_path):
    """Only under the lock: else the moved one could be what another process has just made."""
    store = Store(tmp_path)
    entry = store.produce("data", {}, build_text("hello"))
    (entry.folder / "out.txt").write_text("hell")
    assert store.find("data", entry.key) is None
    assert entry.folder.is_dir()


def test_large_outputs_are_compared_by_size_and_small_ones_by_content(tmp_path, monkeypatch):
    def build(draft):
        (draft.folder / "small").write_text("small")
        (draft.folder / "large").write_text("large" * 10)

    store = Store(tmp_path)
    entry = store.produce("data", {}, build)
    monkeypatch.setattr(manifest, "HASHED", 20)
    (entry.folder / "large").write_text("LARGE" * 10)
    assert store.find("data", entry.key)
    assert store.find("data", entry.key, contents=False)
    (entry.folder / "small").write_text("SMALL")
    assert store.find("data", entry.key) is None
    assert store.find("data", entry.key, contents=False)


def test_a_file_that_cannot_be_read_for_another_reason_is_no_damage(tmp_path, monkeypatch):
    """Too many open files, a disk that fails: the output may be whole, and nothing is moved."""
    store = Store(tmp_path)
    entry = store.produce("data", {}, build_text("hello"))

    def failing(*_, **__):
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", failing)
        with pytest.raises(OSError, match="Too many open files"):
            store.produce("data", {}, build_text("hello"))
    assert store.produce("data", {}, build_text("hello")).folder == entry.folder


def test_what_was_finished_before_the_kill_is_not_made_again(tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    calls = []
    store = Store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", killed)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # a killed process tidies nothing
        with pytest.raises(KeyboardInterrupt):
            store.produce("data", {}, build_text("hello", calls))
    entry = store.produce("data", {}, build_text("hello", calls))
    assert (calls, entry.cached, entry.facts) == (["hello"], True, {"length": 5})
    assert (entry.folder / "out.txt").read_text() == "hello"


def test_what_a_stage_goes_on_from_outlives_a_kill_until_the_output_is_whole(tmp_path, monkeypatch):
    seen = []

    def build(draft):
        shards = draft.scratch("shards")
        seen.append(shards.is_dir())
        shards.mkdir(exist_ok=True)
        (shards / "0.npy").write_text("x")
        (draft.folder / "out.txt").write_text("whole")
        (draft.folder / ".left.json.123.tmp").write_text("of a killed writer") if len(seen) == 1 else None

    store = Store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(store_module, "write_json", lambda *_: 1 / 0)  # ended before there is a manifest
        with pytest.raises(ZeroDivisionError):
            store.produce("embed", {}, build, resumable=True)
    entry = store.produce("embed", {}, build, resumable=True)
    assert seen == [False, True]
    assert sorted(path.name for path in entry.folder.rglob("*")) == [MANIFEST, "out.txt"]
    assert sorted(entry.manifest["files"]) == ["out.txt"]


def test_a_full_disk_is_a_message_with_a_remedy_and_leaves_nothing(tmp_path):
    def build(draft):
        (draft.folder / "half").write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match=r"no space left below .*stage 'data'.*paths.root"):
        Store(tmp_path).produce("data", {}, build)
    assert [path for path in (tmp_path / "store" / "data").iterdir() if path.is_dir()] == []


def test_a_root_that_cannot_be_made_says_so(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"paths.root=.*cannot be written"):
        Store(tmp_path / "file").produce("data", {}, build_text("x"))


WORKER = """
import sys, time
from pathlib import Path
from gip_exp.storage.store import Store
root = Path(sys.argv[1])
def build(draft):
    with open(root / "builds", "a") as log:
        log.write("x")
    (draft.folder / "half").write_text("half")
    while not (root / "release").exists():
        time.sleep(0.01)
    (draft.folder / "out.txt").write_text("done")
entry = Store(root, on_wait=lambda text: print(text, flush=True)).produce("slow", {}, build)
print((entry.folder / "out.txt").read_text(), entry.cached, flush=True)
"""


def worker(root):
    """A process that makes an entry and finishes it once `release` is there."""
    return subprocess.Popen(
        [sys.executable, "-c", WORKER, str(root)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def wait_for(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.02)


def test_two_processes_that_want_the_same_entry_make_it_once(tmp_path):
    first = worker(tmp_path)
    wait_for((tmp_path / "builds").exists)
    second = worker(tmp_path)
    assert "another process is making slow/" in second.stdout.readline()
    (tmp_path / "release").touch()
    assert first.communicate(timeout=60)[0].strip() == "done False"
    assert second.communicate(timeout=60)[0].strip() == "done True"
    assert (tmp_path / "builds").read_text() == "x"


def test_a_killed_owner_holds_no_lock_and_leaves_no_entry(tmp_path):
    first = worker(tmp_path)
    wait_for((tmp_path / "builds").exists)
    second = worker(tmp_path)
    assert "another process is making slow/" in second.stdout.readline()
    os.kill(first.pid, signal.SIGKILL)
    first.wait(timeout=60)
    (tmp_path / "release").touch()
    assert second.communicate(timeout=60)[0].strip() == "done False"
    assert (tmp_path / "builds").read_text() == "xx"
    assert not list((tmp_path / "store" / "slow").glob("*.partial"))


def test_text_is_replaced_whole(tmp_path):
    path = tmp_path / "a.json"
    write_text(path, "old")
    write_text(path, "new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_text_that_cannot_be_written_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_text(path, "old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
