"""The endpoint campaign: a judge whose endpoint misbehaves, through the whole command, and how each way must end.

`python tests/bad_endpoint_campaign.py [--only WORDS] [--sample N] [--processes 6] [--show]`. The cases are those of
`bad_endpoint_cases`, on a server of this machine. Every command must end within two minutes; either every row has the grades
that the server gave it, or the rows without are counted with their reason, or there is one message with exit code 2. The key
is in no output and no file and is sent nowhere else. Afterwards the endpoint is mended, and the command (with what its
message offers) must grade every row and ask for no reply that it has.
"""

import argparse
import json
import multiprocessing
import random
import subprocess
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bad_endpoint_cases import CASES, NAMES
from bad_endpoint_cases import Case as Misbehaviour
from bad_endpoint_server import grades
from bad_input_campaign import REMEDY, ROOT, Ending, run, warm_up
from bad_input_files import Case, Templates

KEY = "sk-proj-0123456789abcdefghijklmnopqrstuvwxyzABCDEF"
ROWS = 12
LIMIT = 120.0  # seconds; most end within 30
WARM = (
    "gip_exp.llm.judge gip_exp.llm.replicas gip_exp.llm.transcript openai httpx2 aiohttp gip_exp.cli.main "
    "gip_exp.signals.figure"
)
WAYS_OUT = {"later-another-model-midway": ["judge.mixed_models=true"]}  # as the message says
QUESTIONS = "".join(
    json.dumps({"question": f"What is the number of row R{row:04d}?", "answer": f"It is {row}."}) + "\n"
    for row in range(ROWS)
)


@contextmanager
def endpoint() -> Iterator[int]:
    """The server, in a process of its own; its port."""
    command = [sys.executable, str(ROOT / "tests" / "bad_endpoint_server.py")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        yield int(server.stdout.readline())
        server.stdin.close()


class Account:
    """What the server says of a case."""

    def __init__(self, port: int, name: str, what: str = "account") -> None:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{what}/{name}", timeout=30) as answer:
            found = json.load(answer)
        self.asked, self.good = (
            {int(row): n for row, n in found[part].items()} for part in ("asked", "good")
        )
        self.elsewhere = int(found["elsewhere"])


def command(name: str, port: int, *more: str) -> Case:
    """The run of a case."""
    arguments = [
        "+experiment=own_data",
        "data.path={work}/rows.jsonl",
        "until=score",
        "selector=top_score",
        *more,
    ]
    arguments += ["judge=openai", "judge.model=judge", f"judge.base_url=http://127.0.0.1:{port}/{name}/v1"]
    arguments += ["judge.timeout_s=2", "judge.concurrency=8"]
    return Case(
        name, tuple(arguments), (), files={"rows.jsonl": QUESTIONS}, environment={"OPENAI_API_KEY": KEY}
    )


def play(port: int, scratch: Path, name: str) -> tuple[str, Ending, list[str]]:
    """One case: the run, and the run after the endpoint was mended; what was wrong with either."""
    case, folder = CASES[name], scratch / name
    folder.mkdir()
    templates = Templates(scratch / "templates")
    allowed = ["judge.max_unscored=1.0"] if case.end == "missing" else []
    ending = run(command(case.name, port, *allowed), folder, templates, limit=LIMIT)
    before = Account(port, case.name)
    found = [*_common(ending, folder), *_ended_right(case, ending, folder)]
    if before.elsewhere:
        found.append(f"followed to another address {before.elsewhere} times")
    if found or case.end == "scored":
        return name, ending, found
    Account(port, case.name, "mend")
    more = WAYS_OUT.get(name, ["judge.round=1"] if allowed else [])
    again = run(command(case.name, port, *more), folder, templates, limit=LIMIT)
    after = Account(port, case.name)
    found = _common(again, folder)
    found += _graded(folder, set(range(ROWS))) if again.code == 0 else [f"mended: {again.err[-300:]}"]
    twice = [row for row, n in before.good.items() if after.asked[row] > before.asked[row] and n]
    return name, ending, [*found, *([f"rows {twice} are bought again"] if twice else [])]


def _common(ending: Ending, folder: Path) -> list[str]:
    said = ending.out + ending.err
    found = [
        f"said {word!r}"
        for word in ("Traceback (most recent call last)", "Warning:", "\x1b[2J")
        if word in said
    ]
    found += [f"the key is in {what}" for what in ("the output",) if KEY in said]
    files = [path for path in folder.rglob("*") if path.is_file()]
    found += [f"the key is in {path.name}" for path in files if KEY.encode() in path.read_bytes()]
    return found + [f"left behind: {path.name}" for path in files if path.suffix in (".tmp", ".partial")]


def _ended_right(case: Misbehaviour, ending: Ending, folder: Path) -> list[str]:
    found = [f"does not say {text!r}" for text in case.says if text not in ending.err + ending.out]
    if case.end == "refused":
        found += [] if ending.code == 2 else [f"exit code {ending.code} after {ending.seconds:.0f} s"]
        found += [] if ending.err.count("error: ") == 1 else ["not one message"]
        found += [
            f"no {what}" for what in ("remedy", "kept") if not _says(what, ending.err.partition("error: ")[2])
        ]
        return found
    if ending.code != 0:
        return [f"exit code {ending.code} after {ending.seconds:.0f} s"]
    every = set(range(ROWS))
    if case.end == "scored":
        return found + _graded(folder, every)
    missing = {row for row in every if row % 3 == 0}
    found += (
        []
        if f"{len(missing)} of {ROWS} examples could not be scored" in ending.err
        else ["the missing are not counted"]
    )
    return found + _graded(folder, every - missing)


def _says(what: str, message: str) -> bool:
    return bool(REMEDY.search(message)) if what == "remedy" else what in message or "stored" in message


def _graded(folder: Path, rows: set[int]) -> list[str]:
    """Whether these rows have their grades in the newest table, and the others have none and a reason."""
    import pyarrow.parquet as pq

    place = max(
        folder.glob("outputs/store/score/*/manifest.json"), key=lambda path: path.stat().st_mtime_ns
    ).parent
    table = {int(row["id"][-6:]): row for row in pq.read_table(place / "scores.parquet").to_pylist()}
    reasons = {json.loads(line)["id"] for line in (place / "unscored.jsonl").read_text().splitlines()}
    expected = {row: {name: float(grade) for name, grade in grades(row).items()} for row in rows}
    scored = {
        row: {name: line[name] for name in NAMES} for row, line in table.items() if line[NAMES[0]] is not None
    }
    found = [] if scored == expected else [f"other grades than the server's: {_difference(scored, expected)}"]
    missing = {f"train-{row:06d}" for row in set(range(ROWS)) - rows}
    return found + (
        [] if reasons == missing else [f"reasons for {sorted(reasons)}, missing are {sorted(missing)}"]
    )


def _difference(scored: dict[int, Any], expected: dict[int, Any]) -> str:
    rows = [row for row in sorted({*scored, *expected}) if scored.get(row) != expected.get(row)]
    return f"rows {rows}, first {scored.get(rows[0])} instead of {expected.get(rows[0])}"


def campaign(
    cases: Sequence[Misbehaviour], processes: int
) -> Iterator[tuple[Misbehaviour, Ending, list[str]]]:
    """Every case with its ending and faults, several at a time: most of the time passes in waiting."""
    with (
        tempfile.TemporaryDirectory(prefix="gip-bad-endpoint-") as scratch,
        endpoint() as port,
        multiprocessing.get_context("fork").Pool(processes) as pool,
    ):
        work = partial(play, port, Path(scratch))
        for name, ending, wrong in pool.imap_unordered(work, [case.name for case in cases]):
            yield CASES[name], ending, wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--only", default="", help="cases whose name holds one of these texts, with commas between them"
    )
    parser.add_argument("--sample", type=int, help="so many cases, drawn with seed 0")
    parser.add_argument("--processes", type=int, default=6, help="so many at a time")
    parser.add_argument("--show", action="store_true", help="print how every command ends")
    options = parser.parse_args()
    cases = [case for case in CASES.values() if any(word in case.name for word in options.only.split(","))]
    cases = cases if options.sample is None else random.Random(0).sample(cases, options.sample)
    warm_up(WARM)
    ends: Counter[str] = Counter()
    bad, longest = 0, 0.0
    for case, ending, wrong in campaign(cases, options.processes):
        ends[case.end] += 1
        bad += bool(wrong)
        longest = max(longest, ending.seconds)
        if wrong or options.show:
            print(f"{'BAD ' if wrong else 'ok  '}{case.name} ({case.end}, {ending.seconds:.1f} s)")
            print("".join(f"       fault: {fault}\n" for fault in wrong[:5]), end="")
            print(
                "".join(f"    | {line[:400]}\n" for line in ending.err.strip().splitlines()[-8:]),
                end="",
                flush=True,
            )
    counts = ", ".join(f"{n} {end}" for end, n in sorted(ends.items()))
    print(f"{len(cases)} misbehaviours ({counts}), {bad} bad; longest {longest:.1f} s")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
