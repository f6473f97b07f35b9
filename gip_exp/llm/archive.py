"""The replies of a cache as one file, so that others get the same scores without the API, and after a judge's end.

A gzipped JSONL file: a header, then one line per reply (its key, text, counts and the model's name) and one line with the
attempts that finished runs gave up. It has no requests, no addresses and no keys of accounts: a reply is found by the
cache key of the request, which everybody can compute who has the same data and configuration.
"""

from __future__ import annotations

import gzip
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gip_exp.llm.cache import Cache, parse_entry, reply_of
from gip_exp.llm.errors import LLMError, secrets_in_environment
from gip_exp.storage.files import replacing

FORMAT = "gip-exp replies"
VERSION = 1


@dataclass(frozen=True)
class Counts:
    """What an archive holds; `new` counts the replies that the cache did not have (import)."""

    replies: int
    models: dict[str, int]
    new: int = 0


def export(cache_dir: Path, file: Path, model: str | None = None) -> Counts:
    """Write the replies of a cache to a file.

    Args:
        cache_dir: folder of the reply cache.
        file: where to write; replaced atomically.
        model: only replies of models whose name begins so.

    Returns:
        Counts.

    Raises:
        LLMError: there is no such reply, or one contains a secret of this environment.
    """
    if not cache_dir.is_dir():
        raise LLMError(
            f"there is no reply cache {cache_dir}: give the folder of the runs (--root), e.g. outputs."
        )
    secrets = secrets_in_environment()
    models: Counter[str] = Counter()
    with Cache(cache_dir) as cache:
        kept = [(key, reply) for key, reply in cache.items() if not model or reply.model.startswith(model)]
        if not kept:
            raise LLMError(
                f"the reply cache {cache_dir} has no replies" + (f" of {model}." if model else ".")
            )
        file.parent.mkdir(parents=True, exist_ok=True)
        with replacing(file) as raw, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0) as packed:
            packed.write(_line({"format": FORMAT, "version": VERSION, "replies": len(kept)}))
            for key, reply in kept:
                entry = {"key": key} | {k: v for k, v in asdict(reply).items() if k != "cached"}
                line = _line(entry)
                if any(secret in line.decode() for secret in secrets):
                    raise LLMError(
                        f"reply {key} contains a secret of this environment; nothing was exported."
                    )
                models[reply.model or "unnamed"] += 1
                packed.write(line)
            packed.write(_line({"gave_up": cache.marks()}))
    return Counts(len(kept), dict(sorted(models.items())))


def load(file: Path, cache_dir: Path) -> Counts:
    """Put the replies of an archive into a cache; what the cache has stays.

    Args:
        file: written by `export`.
        cache_dir: folder of the reply cache; created if needed.

    Returns:
        Counts.

    Raises:
        LLMError: the file is not a whole archive; nothing is imported then.
    """
    entries = list(_entries(file))
    models: Counter[str] = Counter()
    new = 0
    with Cache(cache_dir) as cache:
        for entry in entries:
            if "gave_up" in entry:
                cache.give_up(entry["gave_up"])
                continue
            reply = reply_of(entry)
            models[reply.model or "unnamed"] += 1
            if cache.get(entry["key"]) is None:
                cache.put(entry["key"], reply)
                new += 1
        cache.sync()
    return Counts(sum(models.values()), dict(sorted(models.items())), new)


def _entries(file: Path) -> Iterator[dict[str, Any]]:
    what = f"{file} is not a whole archive of replies"
    again = "get it again, or export it again."
    try:
        with gzip.open(file, "rb") as lines:
            header = json.loads(next(lines, b"{}"))
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                raise LLMError(f"{file} is not an archive of replies (gip-exp replies export): {again}")
            if header.get("version") != VERSION:
                raise LLMError(
                    f"{file} has format {header.get('version')}, this version reads {VERSION}: use a newer gip-exp."
                )
            found = 0
            for number, line in enumerate(lines, 2):
                entry = parse_entry({"time": 0} | json.loads(line))
                if entry is None:
                    raise LLMError(f"{what} (line {number} has no key or text): {again}")
                found += "key" in entry
                yield entry
    except OSError as error:
        raise LLMError(f"{what} ({error.strerror or error}): {again}") from error
    except (EOFError, ValueError, TypeError) as error:
        if isinstance(error, LLMError):
            raise
        raise LLMError(f"{what} ({type(error).__name__}): {again}") from error
    if found != header.get("replies"):
        raise LLMError(f"{what} ({found:,} of {header.get('replies')} replies): {again}")


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
