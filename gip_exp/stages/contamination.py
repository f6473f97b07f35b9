"""`contamination`: which test questions stand, wholly or in part, in the training rows.

Writes `matches.jsonl`: every pair of a test row and a training row that share eight words in a row or more, longest
first (test, test_part, row, row_part, words, whole, text). A question is *touched* at 8 or 13 words when its prompt
shares as many with a training row, or stands there whole; answers that share words are counted and shown beside it, as
worked answers share phrases without any question being known. Results are given with and without touched questions.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from gip_exp.artifacts import MATCHES, read_pool, read_test
from gip_exp.config import Config
from gip_exp.config.data import RowsData
from gip_exp.data.overlap import LENGTHS, Match, find_overlap
from gip_exp.stage import Job, Stage
from gip_exp.storage.files import write_jsonl


def _build(job: Job) -> None:
    pool, test = read_pool(job.inputs), read_test(job.inputs)
    matches = find_overlap(pool, test)
    named = (
        asdict(match) | {"test": test[match.test]["id"], "row": pool[match.row]["id"]}
        for match in sorted(matches, key=lambda match: -match.words)
    )
    write_jsonl(job.folder / MATCHES, list(named))
    questions = _counted(matches, "prompt")
    facts: dict[str, Any] = {
        "n_test": len(test),
        "whole": len({match.test for match in matches if match.whole}),
        "questions": questions,
        "answers": _counted(matches, "completion"),
    }
    job.draft.facts.update(facts)
    if questions[str(LENGTHS[0])]:
        job.note(_said(facts, next(match for match in matches if match.test_part == "prompt"), pool, test))


def _counted(matches: Iterable[Match], part: str) -> dict[str, int]:
    """Test rows of which this part is touched, by length."""
    return {
        str(length): len(
            {match.test for match in matches if match.test_part == part and match.counts(length)}
        )
        for length in LENGTHS
    }


def _said(facts: Mapping[str, Any], first: Match, pool: list[Any], test: list[Any]) -> str:
    shares = ", ".join(f"{count:,} share {length} words" for length, count in facts["questions"].items())
    return (
        f"of {facts['n_test']:,} test questions, {shares} in a row with a training row, {facts['whole']:,} stand there "
        f"whole (first: {test[first.test]['id']} and {pool[first.row]['id']}: {first.text!r}); results are given "
        "without them too, and data.contaminated=drop leaves such training rows out"
    )


def stages(config: Config) -> list[Stage]:
    """None for a pool made on the spot: its makers keep the test questions out of it."""
    return [STAGE] if isinstance(config.data, RowsData) else []


STAGE = Stage("contamination", lambda _: ("data",), lambda *_: {}, _build)
