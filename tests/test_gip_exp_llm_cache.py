"""A reply that was received is on disk, whole, for every process, whatever happened to the writer."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from gip_exp.llm.cache import Cache
from gip_exp.llm.errors import LLMError
from gip_exp.llm.request import Reply, Request, Schema, cache_key
from gip_exp.llm.settings import EndpointSettings, Sampling

REPLY = Reply("four \u2028 \u00fc \n lines", prompt_tokens=3, completion_tokens=2, model="m")


def key(i: int) -> str:
    return f"{i:032x}"


def file_of(folder: Path) -> Path:
    (found,) = folder.glob("*.jsonl")
    return found


def test_a_reply_comes_back_unchanged_and_marked_cached(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        cache.put(key(1), REPLY)
        assert cache.get(key(1)) == replace(REPLY, cached=True)
    assert Cache(tmp_path).get(key(1)) == replace(REPLY, cached=True)
    assert Cache(tmp_path).get(key(2)) is None


def test_a_file_cut_at_any_byte_costs_at_most_the_last_reply(tmp_path: Path) -> None:
    with Cache(tmp_path / "whole") as cache:
        for i in range(4):
            cache.put(key(i), replace(REPLY, text=f"reply {i}"))
    data = file_of(tmp_path / "whole").read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == 10]
    (tmp_path / "cut").mkdir()
    for size in range(len(data) + 1):
        (tmp_path / "cut" / "replies-x.jsonl").write_bytes(data[:size])
        assert len(Cache(tmp_path / "cut")) == sum(end <= size for end in ends)


def test_a_damaged_line_in_the_middle_costs_only_itself(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        for i in range(3):
            cache.put(key(i), REPLY)
    lines = file_of(tmp_path).read_bytes().splitlines(keepends=True)
    lines[1] = b"\x00" * (len(lines[1]) - 1) + b"\n"
    file_of(tmp_path).write_bytes(b"".join(lines))
    cache = Cache(tmp_path)
    assert [cache.get(key(i)) is not None for i in range(3)] == [True, False, True]
    assert cache.torn_lines == 1


@pytest.mark.parametrize(
    "line",
    ['{"key": 5}', '{"key": "zz", "text": "", "time": 1}', "[]", '{"gave_up": 3}', '{"gave_up": {"a": "b"}}'],
)
def test_a_foreign_line_is_passed_over(tmp_path: Path, line: str) -> None:
    (tmp_path / "replies-x.jsonl").write_text(line + "\n")
    assert len(Cache(tmp_path)) == 0


def test_the_earlier_of_two_replies_counts_for_every_reader(tmp_path: Path) -> None:
    entry = {"key": key(1), "finish_reason": "stop", "time": 2.0, "text": "late"}
    (tmp_path / "replies-a.jsonl").write_text(json.dumps(entry) + "\n")
    (tmp_path / "replies-b.jsonl").write_text(json.dumps(entry | {"time": 1.0, "text": "early"}) + "\n")
    found = Cache(tmp_path).get(key(1))
    assert found is not None
    assert found.text == "early"


def test_another_writer_s_replies_are_found_while_both_are_open(tmp_path: Path) -> None:
    one, two = Cache(tmp_path, refresh_s=0), Cache(tmp_path, refresh_s=0)
    one.put(key(1), REPLY)
    assert two.get(key(1)) is not None
    two.put(key(2), REPLY)
    one.put(key(3), REPLY)
    assert one.get(key(2)) is not None
    assert two.get(key(3)) is not None


def _write_many(folder: Path, start: int) -> None:
    with Cache(folder) as cache:
        for i in range(start, start + 300):
            cache.put(key(i), replace(REPLY, text=f"{i} " * 500))


def test_processes_writing_at_once_lose_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(tmp_path, 1000 * i)) for i in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    cache = Cache(tmp_path)
    assert cache.torn_lines == 0
    replies = [cache.get(key(1000 * i + j)) for i in range(3) for j in range(300)]
    assert all(reply is not None for reply in replies)


def test_a_killed_writer_leaves_whole_lines_but_the_last(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writer = context.Process(target=_write_many, args=(tmp_path, 0))
    writer.start()
    end = time.monotonic() + 60
    while not list(tmp_path.glob("*.jsonl")) and time.monotonic() < end:
        time.sleep(0.001)
    writer.kill()
    writer.join()
    cache = Cache(tmp_path)
    lines = file_of(tmp_path).read_bytes().count(b"\n")
    assert cache.torn_lines == 0
    assert len(cache) == lines


def test_a_full_disk_stops_the_job_and_the_next_line_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path)
    cache.put(key(1), REPLY)
    write = os.write

    def half_then_full(fd: int, data: bytes) -> int:
        if len(data) < 60:
            raise OSError(28, "No space left on device")
        return write(fd, data[:-50])

    monkeypatch.setattr(os, "write", half_then_full)
    with pytest.raises(LLMError, match=r"cannot be written .No space left on device.*Free space"):
        cache.put(key(2), REPLY)
    monkeypatch.setattr(os, "write", write)
    cache.put(key(3), REPLY)
    assert cache.get(key(3)) is not None
    again = Cache(tmp_path)
    assert [again.get(key(i)) is not None for i in (1, 2, 3)] == [True, False, True]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LLMError, match=r"reply cache .*file/cache cannot be created"):
        Cache(tmp_path / "file" / "cache")


def test_attempts_given_up_are_remembered_and_only_grow(tmp_path: Path) -> None:
    with Cache(tmp_path) as cache:
        cache.give_up({key(1): 3})
        cache.give_up({key(1): 6, key(2): 3})
        cache.give_up({})
        assert (cache.gave_up(key(1)), cache.gave_up(key(2)), cache.gave_up(key(3))) == (6, 3, 0)
    assert Cache(tmp_path).gave_up(key(1)) == 6


BASE = EndpointSettings(model="m", base_url="http://127.0.0.1:1/v1")
ASKED = Request(
    messages=({"role": "user", "content": "hi"},),
    schema=Schema("s", {"type": "object"}),
    sampling=Sampling(seed=1),
)


def test_whatever_can_change_the_reply_changes_the_key() -> None:
    variants = [
        (ASKED, BASE),
        (ASKED, replace(BASE, model="n")),
        (ASKED, replace(BASE, identity="weights")),
        (ASKED, replace(BASE, structured="none")),
        (ASKED, replace(BASE, extra_body={"a": 1})),
        (ASKED, replace(BASE, system_role=False)),
        (ASKED, replace(BASE, reasoning_model=True)),
        (replace(ASKED, messages=({"role": "user", "content": "ho"},)), BASE),
        (replace(ASKED, messages=({"role": "system", "content": "hi"},)), BASE),
        (replace(ASKED, messages=(), prompt="hi"), BASE),
        (replace(ASKED, schema=None), BASE),
        (replace(ASKED, schema=Schema("s", {"type": "array"})), BASE),
        (replace(ASKED, repetition=1), BASE),
        (replace(ASKED, attempt=1), BASE),
        *[
            (replace(ASKED, sampling=replace(ASKED.sampling, **change)), BASE)
            for change in (
                {"temperature": 0.5},
                {"temperature": None},
                {"top_p": 0.5},
                {"max_tokens": 9},
                {"seed": 2},
                {"stop": ("x",)},
            )
        ],
    ]
    keys = [cache_key(request, endpoint) for request, endpoint in variants]
    assert len(set(keys)) == len(keys)


def test_whatever_cannot_change_the_reply_stays_out_of_the_key() -> None:
    moved = replace(
        BASE,
        base_url="http://127.0.0.1:2/v1",
        concurrency=3,
        timeout_s=1,
        attempts=2,
        max_cost_usd=4,
        backoff_s=9,
    )
    assert cache_key(ASKED, moved) == cache_key(ASKED, BASE)


def test_a_reasoning_model_s_key_ignores_the_sampling_it_never_gets() -> None:
    endpoint = replace(BASE, model="gpt-5-mini")
    warm = replace(ASKED, sampling=replace(ASKED.sampling, temperature=0.9, top_p=0.3))
    assert cache_key(warm, endpoint) == cache_key(ASKED, endpoint)


def test_a_request_needs_messages_or_a_prompt() -> None:
    with pytest.raises(ValueError, match="exactly one"):
        Request()
    with pytest.raises(ValueError, match="exactly one"):
        Request(messages=ASKED.messages, prompt="hi")
