"""Metrics over the test questions that do not overlap with training rows, from the stored outcomes per question."""

from collections.abc import Mapping
from typing import Any

from gip_exp.artifacts import MATCHES, read_test
from gip_exp.data.overlap import LENGTHS
from gip_exp.runs.folder import PREDICTIONS
from gip_exp.storage.files import read_jsonl
from gip_exp.storage.store import Entry


def overlapping(entry: Entry) -> dict[str, set[str]]:
    """Return, by number of shared words, the ids of the test questions that overlap with a training row."""
    matches = [match for match in read_jsonl(entry.folder / MATCHES) if match["test_part"] == "prompt"]
    return {
        str(length): {match["test"] for match in matches if match["whole"] or match["words"] >= length}
        for length in LENGTHS
    }


def summary(entries: Mapping[str, Entry]) -> dict[str, Any]:
    """Return the counts of overlapping test questions and answers, and the metrics without these questions.

    Metrics whose questions are not the test rows of the data (MT-Bench, BBH) are not in `metrics_without`.
    """
    entry = entries.get("contamination")
    if entry is None or not entry.facts["n_test"]:
        return {}
    tests = {row["id"] for row in read_test(entries)}
    ids = overlapping(entry)
    without = {length: _metrics_without(ids[length], tests, entries) for length in ids if ids[length]}
    facts = {name: entry.facts[name] for name in ("n_test", "whole", "questions", "answers")}
    return {**facts, "metrics_without": {length: metrics for length, metrics in without.items() if metrics}}


def _metrics_without(
    excluded: set[str], tests: set[str], entries: Mapping[str, Entry]
) -> dict[str, dict[str, Any]]:
    metrics = {}
    for entry in entries.values():
        for name in entry.facts["metrics"] if entry.stage == "evaluate" else ():
            path = entry.folder / PREDICTIONS / f"{name}.jsonl"
            outcomes = {row["id"]: row["value"] for row in read_jsonl(path)} if path.is_file() else {}
            left = [value for question, value in outcomes.items() if question not in excluded]
            if outcomes and outcomes.keys() <= tests and 0 < len(left) < len(outcomes):
                metrics[name] = _interval(left)
    return metrics


def _interval(values: list[float]) -> dict[str, Any]:
    """Return the interval as the evaluations do: Wilson's for a proportion, the bootstrap's for other means."""
    from eval.statistics import mean_interval, wilson

    if set(values) <= {0.0, 1.0}:
        return wilson(int(sum(values)), len(values)).as_dict()
    return mean_interval(values).as_dict()
