"""MT-Bench's published questions, judge prompts and reference answers: from a folder, or downloaded once.

The files are FastChat's (Apache-2.0) at a pinned revision and are never copied into this project. Every read
checks their SHA-256: with an edited question or prompt the numbers are no longer MT-Bench's.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REVISION = "0e6d3e4beaab66f4d3f93db72541a4abab8af28d"
SOURCE = f"https://raw.githubusercontent.com/lm-sys/FastChat/{REVISION}/fastchat/llm_judge/data"


@dataclass(frozen=True)
class PublishedFile:
    """One of the published files.

    Attributes:
        name: its name in a data or cache folder.
        path: its path below SOURCE.
        sha256: digest of its content.
    """

    name: str
    path: str
    sha256: str


QUESTIONS = PublishedFile(
    "question.jsonl",
    "mt_bench/question.jsonl",
    "119565adbab82227089cefdb44c8d7e2cf04dc0a0ec233634c82e7d4e2a944f7",
)
JUDGE_PROMPTS = PublishedFile(
    "judge_prompts.jsonl",
    "judge_prompts.jsonl",
    "fd283293406d024f44c174b094ef48031d0687a4682fd3a56b29b138f80281b6",
)
REFERENCES = PublishedFile(
    "reference_answer_gpt-4.jsonl",
    "mt_bench/reference_answer/gpt-4.jsonl",
    "f957a5bc977badb66885ec970e6cd08527845780313f0995764260e5777b9b3f",
)


@dataclass(frozen=True)
class Question:
    """A two-turn question.

    Attributes:
        id: its published number.
        category: writing, roleplay, reasoning, math, coding, extraction, stem or humanities.
        turns: the two turns.
        reference: reference answers to both turns, for math, reasoning and coding.
    """

    id: int
    category: str
    turns: tuple[str, str]
    reference: tuple[str, str] | None = None


@dataclass(frozen=True)
class JudgePrompt:
    """A judge's system message and the template of its user message, with fields in braces."""

    system: str
    template: str


@dataclass(frozen=True)
class MTBench:
    """The 80 questions in their order, and the single-answer judge prompts by their published names."""

    questions: tuple[Question, ...]
    prompts: dict[str, JudgePrompt]


def load_mt_bench(
    data_dir: str | Path | None = None,
    *,
    cache_dir: str | Path | None = None,
    download: Callable[[str], bytes] | None = None,
) -> MTBench:
    """Read the three published files.

    Args:
        data_dir: folder that holds them.
        cache_dir: folder to keep downloaded files in, instead of `data_dir`; exactly one must be given.
        download: fetches a URL (default: HTTPS, 60 s).

    Returns:
        MTBench.

    Raises:
        ValueError: both or no folder given, a missing file, a file with another SHA-256, or a failed
            download.

    Example:
        >>> bench = load_mt_bench(cache_dir="downloads")  # doctest: +SKIP
        >>> len(bench.questions)  # doctest: +SKIP
        80
    """
    if (data_dir is None) == (cache_dir is None):
        raise ValueError(
            "give exactly one of data_dir (a folder with the published files) "
            "and cache_dir (where to keep the downloaded ones)"
        )
    contents = {}
    for file in (QUESTIONS, JUDGE_PROMPTS, REFERENCES):
        if data_dir is not None:
            contents[file] = _read(Path(data_dir) / file.name, file)
        else:
            contents[file] = _cached(Path(str(cache_dir)), file, download or _get)
    return _parse(*(_rows(contents[file]) for file in (QUESTIONS, JUDGE_PROMPTS, REFERENCES)))


def _parse(
    questions: list[dict[str, Any]], prompts: list[dict[str, Any]], references: list[dict[str, Any]]
) -> MTBench:
    answers = {row["question_id"]: tuple(row["choices"][0]["turns"]) for row in references}
    return MTBench(
        questions=tuple(
            Question(q["question_id"], q["category"], tuple(q["turns"]), answers.get(q["question_id"]))
            for q in questions
        ),
        prompts={
            p["name"]: JudgePrompt(p["system_prompt"], p["prompt_template"])
            for p in prompts
            if p["type"] == "single"
        },
    )


def _rows(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.split(b"\n") if line.strip()]


def _read(path: Path, file: PublishedFile) -> bytes:
    if not path.is_file():
        raise ValueError(
            f"{path} is missing; MT-Bench's data_dir holds {QUESTIONS.name}, {JUDGE_PROMPTS.name} and "
            f"{REFERENCES.name} (from {SOURCE}/{file.path})"
        )
    content = path.read_bytes()
    _check(content, file, str(path), "put the published file there, or remove it")
    return content


def _cached(folder: Path, file: PublishedFile, download: Callable[[str], bytes]) -> bytes:
    """Return the file from the cache; if it is missing, download and check it, then move it into place atomically."""
    path = folder / file.name
    if path.exists():
        return _read(path, file)
    url = f"{SOURCE}/{file.path}"
    try:
        content = download(url)
    except OSError as error:
        raise ValueError(
            f"could not download {url}: {error}; on a machine without a network give data_dir"
        ) from error
    _check(content, file, url, "the download is broken or was tampered with; try again or give data_dir")
    folder.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=folder, prefix=file.name)
    with os.fdopen(handle, "wb") as out:
        out.write(content)
    os.replace(temporary, path)
    return content


def _check(content: bytes, file: PublishedFile, where: str, remedy: str) -> None:
    found = hashlib.sha256(content).hexdigest()
    if found != file.sha256:
        raise ValueError(f"{where} has sha256 {found}, the published {file.name} has {file.sha256}; {remedy}")


def _get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as reply:
        return reply.read()
