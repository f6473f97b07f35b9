"""Names of the files in a run folder, and finding run folders."""

import os
from collections.abc import Iterator
from pathlib import Path

SELECTED_ROWS = "selected_rows.jsonl"  # the rows of selected.jsonl as in the user's data
# What the selection took and left: the page, the same as text, and every row of the data with its scores.
SELECTION_PAGE, SELECTION_TEXT, SCORED_ROWS = "selection.html", "selection.md", "scored.parquet"
RESULT, CONFIG, SELECTED, PREDICTIONS = "result.json", "config.yaml", "selected.jsonl", "predictions"
EXPORT = "export"  # the selected rows in the formats of trainers
RUN_LOCK = "run_lock"  # run_lock.json and run_lock.lock: the process that works on the run
# Never searched for runs: stage outputs (large), and the files of runs, reports and ablations.
SKIPPED = frozenset({"store", EXPORT, PREDICTIONS, "report", "ablations", "wandb", ".git"})


def below(root: Path) -> Iterator[Path]:
    """Yield every run folder below `root` (or `root` itself), sorted: folders with a result or a config."""
    for place, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if name not in SKIPPED)
        if RESULT in files or CONFIG in files:
            folders.clear()  # a run contains no other runs
            yield Path(place)
