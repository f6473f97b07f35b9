"""A run folder's files by name, and where run folders are: for those who make them and for those who only look."""

import os
from collections.abc import Iterator
from pathlib import Path

SELECTED_ROWS = "selected_rows.jsonl"  # the rows of selected.jsonl as people's data has them
RESULT, CONFIG, SELECTED, PREDICTIONS = "result.json", "config.yaml", "selected.jsonl", "predictions"
RUN_LOCK = "run_lock"  # run_lock.json and run_lock.lock: the process at work on the run
# Never searched for runs: stage outputs (large), what runs, reports and ablations keep for themselves.
SKIPPED = frozenset({"store", PREDICTIONS, "report", "ablations", "wandb", ".git"})


def below(root: Path) -> Iterator[Path]:
    """Every run folder below `root` (or `root` itself), sorted: one that holds a result or a config."""
    for place, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        if RESULT in files or CONFIG in files:
            folders.clear()  # a run holds no other runs
            yield Path(place)
