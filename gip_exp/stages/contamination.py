"""`contamination`: test questions that overlap with training rows.

Writes `matches.jsonl`: every pair of a test row and a training row that share eight or more consecutive words, longest
first (test, test_part, row, row_part, words, whole, text). A test question overlaps at 8 or 13 words if its prompt
shares that many consecutive words with a training row, or is one of its prompts. Overlapping answers are counted
separately, because worked answers share phrases even if the questions differ. Results are reported with and without
overlapping questions.
"""

from collections.abc import Iterable, Mapping, Sequence
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
    matches = find_overlap(pool, test) if test else []
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
        job.note(_note(facts, next(match for match in matches if match.test_part == "prompt"), pool, test))


def _counted(matches: Iterable[Match], part: str) -> dict[str, int]:
    """Count the test rows of which this part overlaps, by number of words."""
    return {
        str(length): len(
            {match.test for match in matches if match.test_part == part and match.counts(length)}
        )
        for length in LENGTHS
    }


def _note(facts: Mapping[str, Any], first: Match, pool: Sequence[Any], test: Sequence[Any]) -> str:
    shares = ", ".join(f"{count:,} share {length}" for length, count in facts["questions"].items())
    return (
        f"of {facts['n_test']:,} test questions, {shares} consecutive words with a training row, {facts['whole']:,} are "
        f"identical to a training prompt (first: {test[first.test]['id']} and {pool[first.row]['id']}: {first.text!r}); "
        "metrics without them are reported too, and data.contaminated=drop leaves out such training rows"
    )


def stages(config: Config) -> list[Stage]:
    """Return the stage, except for a generated pool, which contains no test questions."""
    return [STAGE] if isinstance(config.data, RowsData) else []


STAGE = Stage("contamination", lambda _: ("data",), lambda *_: {}, _build)
