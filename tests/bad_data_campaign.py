"""The data campaign: files of rows with one thing wrong, through the whole command, and how each must end.

`python tests/bad_data_campaign.py [--files 200] [--only WORDS] [--show]`. The files are those of `cases` in the data folder
(`GIP_DATA`), each with mutations of `bad_data_files`. A command must end with exit code 0 and a selection that agrees with
the file as a second reader (`bad_data_reading`) reads it, or with exit code 2, one message and nothing half-written. If
the message offers `data.drop_broken=true`, that is tried too and must end in the same two ways.
"""

import argparse
import json
import os
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import bad_data_reading as reading
from bad_data_files import KINDS, mutated
from bad_input_campaign import REMEDY, ROOT, Ending, run, warm_up
from bad_input_files import Case, Templates

DATA = Path(os.environ.get("GIP_DATA", ROOT.parent / "shared" / "data")) / "cases"
LIMIT = 60.0  # seconds: a whole run, on a busy machine
BUDGETS = ("0.5", "1.0", "2")
WAY_OUT = "data.drop_broken=true"
WARM = (
    "sklearn.feature_extraction.text sklearn.decomposition sklearn.cluster pandas selection selection.select "
    "selection.torch_settings selection.self_compression matplotlib.backends.backend_svg gip_exp.signals.figure "
    "gip_exp.cli.main pyarrow.dataset gip_exp.handover.card"
)


@dataclass(frozen=True)
class Mutant:
    """A file, or a folder of files of which one is damaged: where it goes, and what was done to it."""

    number: int
    source: Path
    kind: str

    def write(self, folder: Path) -> Path:
        """Write it below `folder`; return what `data.path` names."""
        chance = random.Random(f"{self.number} {self.source.name} {self.kind}")
        if self.source.is_dir():
            place = folder / self.source.name
            shutil.copytree(self.source, place)
            original = min(path for path in place.rglob("train*"))
        else:
            place = original = folder / self.source.name
        rows = reading.rows_of(self.source if self.source.is_file() else original)
        ending, data = mutated(rows, self.kind, chance)
        original.unlink(missing_ok=True)
        damaged = original.with_name(original.name.partition(".")[0] + ending)
        damaged.write_bytes(data)
        return place if self.source.is_dir() else damaged


def mutants(n: int, folder: Path = DATA) -> list[Mutant]:
    """n of them: every kind of damage in turn, each time to the next file."""
    sources = sorted(path for path in folder.iterdir() if path.name != "README.md")
    kinds = len(KINDS)
    return [Mutant(i, sources[(i + i // kinds) % len(sources)], KINDS[i % kinds]) for i in range(n)]


def named(place: Path, message: str) -> bool:
    """Whether a message names the file, or the folder or one of its files."""
    paths = [place, *place.rglob("*")] if place.is_dir() else [place]
    return any(path.name.partition(".")[0] in message for path in paths)


def faults(ending: Ending, folder: Path, place: Path, budget: str) -> list[str]:
    """What is wrong with how a command ended."""
    if ending.code not in (0, 2):
        return [f"exit code {ending.code} after {ending.seconds:.0f} s"]
    said = ending.out + ending.err
    found = [f"said {word!r}" for word in ("Traceback (most recent call last)", "Warning:") if word in said]
    found += [
        f"left behind: {name}" for name in ending.left if re.search(r"\.partial\b|\.tmp$|\.damaged", name)
    ]
    if ending.code == 2:
        return found + _faults_of_refusal(ending, place)
    try:
        return found + _faults_of_selection(next(folder.glob("outputs/runs/*/*")), place, budget)
    except Exception as error:  # the second reader cannot read what the run has read, or a file is missing
        return [*found, f"a selection that cannot be checked ({type(error).__name__}: {error})"]


def _faults_of_refusal(ending: Ending, place: Path) -> list[str]:
    found = [] if ending.err.count("error: ") == 1 else ["not one message"]
    message = ending.err.partition("error: ")[2]
    if not REMEDY.search(message):
        found.append("no remedy")
    if not any("/store/data/" in name for name in ending.left):  # refused while reading: nothing is written
        found += [] if named(place, message) else ["the file is not named"]
        found += [f"left behind: {name}" for name in ending.left if not name.endswith((".lock", "outputs"))][
            :3
        ]
    return found


def _faults_of_selection(run_folder: Path, place: Path, budget: str) -> list[str]:
    import pyarrow.parquet as pq

    result = json.loads((run_folder / "result.json").read_text())
    facts = json.loads(next(run_folder.glob("../../../store/data/*/manifest.json")).read_text())["facts"]
    chosen, originals = (_lines(run_folder / name) for name in ("selected.jsonl", "selected_rows.jsonl"))
    rows = reading.rows_below(place)
    read = sum(map(len, rows.values()))
    left_out = sum(result["left_out"].values())
    expected = int(budget) if budget.isdigit() else max(1, round(float(budget) * result["n_pool"]))
    every = pq.read_table(run_folder / "scored.parquet")
    status = Counter(every["status"].to_pylist())
    counts = {
        "rows of the file and rows read": (read, facts["n_read"]),
        "rows read and pool + left out": (facts["n_read"], result["n_pool"] + left_out),
        "rows read and lines of scored.parquet": (facts["n_read"], len(every)),
        "left out here and in scored.parquet": (left_out, sum(n for name, n in status.items() if "left out" in name)),
        "selected here and in scored.parquet": (result["n_selected"], status["selected"]),
        "n_selected and lines of selected.jsonl": (result["n_selected"], len(chosen)),
        "selected.jsonl and selected_rows.jsonl": (len(chosen), len(originals)),
        "selected rows and their places": (len(chosen), len({(row["source"], row["row"]) for row in chosen})),
        "rows of the budget and selected rows": (expected, len(chosen)),
    }  # fmt: skip
    found = [f"{what}: {one} and {other}" for what, (one, other) in counts.items() if one != other]
    for row, original in zip(chosen, originals, strict=False):
        found += _faults_of_row(row, original, rows)
    return found


def _faults_of_row(row: dict[str, Any], original: Any, rows: dict[str, list[Any]]) -> list[str]:
    where = f"{row['source']} {row['row']}"
    if reading.standard(rows[row["source"]][row["row"] - 1]) != original:
        return [f"{where}: another row than {str(original)[:80]}"]
    parts = [text for text in reading.texts(rows[row["source"]][row["row"] - 1]) if text.strip()]
    missing = [part for part in ("prompt", "completion") if not any(text in row[part] for text in parts)]
    return [f"{where}: the {part} is not of the row: {row[part][:80]!r}" for part in missing]


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def campaign(chosen: list[Mutant]) -> Iterator[tuple[Mutant, str, Ending, list[str]]]:
    """(mutant, further arguments, ending, faults) of every command."""
    with tempfile.TemporaryDirectory(prefix="gip-bad-data-") as scratch:
        templates = Templates(Path(scratch) / "templates")
        for mutant in chosen:
            for more in ("", WAY_OUT):
                folder = Path(scratch) / f"{mutant.number:04d}{more[:1]}"
                folder.mkdir()
                place = mutant.write(folder)
                budget = BUDGETS[mutant.number % len(BUDGETS)]
                arguments = ["+experiment=own_data", f"data.path={place}", "until=select", f"budget={budget}"]
                arguments += ["data.allow_missing_shards=true", *more.split()]
                arguments += (
                    ["selector=mp_sc"] if mutant.source.stem == "chinese" else []
                )  # no rules for its script
                case = Case(mutant.kind, tuple(arguments), ())
                ending = run(case, folder, templates, limit=LIMIT)
                yield mutant, more, ending, faults(ending, folder, place, budget)
                shutil.rmtree(folder)
                if ending.code != 2 or WAY_OUT not in ending.err:
                    break


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--files", type=int, default=200, help="so many files")
    parser.add_argument(
        "--only",
        default="",
        help="files whose number, name or damage holds one of these texts, with commas between them",
    )
    parser.add_argument("--show", action="store_true", help="print how every command ends")
    options = parser.parse_args()
    chosen = [
        one
        for one in mutants(options.files)
        if any(word in f"{one.number} {one.source.name} {one.kind}" for word in options.only.split(","))
    ]
    warm_up(WARM)
    ends: Counter[str] = Counter()
    seconds, bad = [], 0
    for mutant, more, ending, wrong in campaign(chosen):
        ends[("again, " if more else "") + {0: "selected", 2: "refused"}.get(ending.code or 0, "failed")] += 1
        seconds.append(ending.seconds)
        bad += bool(wrong)
        if wrong or options.show:
            print(f"{'BAD ' if wrong else 'ok  '}{mutant.number} {mutant.source.name}, {mutant.kind} {more}")
            print("".join(f"       fault: {fault}\n" for fault in wrong[:5]), end="")
            told = ending.err if ending.code == 2 else ending.err[-1500:]
            print(
                "".join(f"    | {line[:300]}\n" for line in told.strip().splitlines()[-12:]),
                end="",
                flush=True,
            )
    counts = ", ".join(f"{n} {end}" for end, n in sorted(ends.items()))
    print(f"{len(chosen)} files, {len({one.kind for one in chosen})} kinds of damage: {counts}; {bad} bad; "
          f"seconds: median {median(seconds):.2f}, most {max(seconds):.2f}")  # fmt: skip
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
