"""The bad-input campaign: what people do wrong, and how each of it must end.

`python tests/bad_input_campaign.py [--subprocess] [--only WORDS,...] [--limit 10] [--show]`. Every case must end in under
ten seconds with exit code 2, one message that names the key, row or file and says what to do, no traceback, nothing on stdout and
nothing left on disk. A command runs in a forked child of one process that has imported everything (the same code as
`python -m MODULE`, without the seconds of importing); `--subprocess` starts each of them as people do.
"""

import argparse
import gc
import io
import os
import random
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]  # like pytest, when started as a script

from bad_input_cases import CALLS, CASES  # noqa: E402
from bad_input_files import Case, Templates  # noqa: E402
from bad_input_generated import generated  # noqa: E402

LIMIT = 10.0  # seconds
REMEDY = re.compile(
    r"\b(use|give|choose|must|should|allowed|check|remove|set|write|needs?|raise|lower|fix|mend|rename|known are|"
    r"usage|copy|download|weigh|"
    r"make|save|run|plan|try|one of|did you mean|append|quote|list them|expected|required|keep|"
    r"replace|unset|convert|start again)\b",
    re.IGNORECASE,
)
WARM = (  # what the commands import while they compose, check and refuse
    "gip_exp.cli.hydra_app gip_exp.cli.run gip_exp.pipeline gip_exp.plan gip_exp.sweep.expand gip_exp.sweep.estimate "
    "gip_exp.status gip_exp.report.write gip_exp.cli.hydra_errors gip_exp.models.weights "
    "gip_exp.ablations.perform gip_exp.llm.rubric gip_exp.llm.estimate gip_exp.llm.server hydra.main torch "
    "hydra._internal.core_plugins.basic_launcher huggingface_hub pyarrow.parquet eval.bbh eval.mt_bench_files "
    "transformers.models.auto.configuration_auto safetensors"
)
Streams = tuple[IO[bytes], IO[bytes]]  # stdout, stderr
QUIET = ("WANDB", "OPENAI", "AZURE_OPENAI", "HF_TOKEN", "HYDRA", "SLURM", "GIP_")


@dataclass(frozen=True)
class Ending:
    """How a command ended: exit code (None: killed at the limit), what it took, what it printed, what it left behind."""

    code: int | None
    seconds: float
    work: float  # seconds of processor time
    out: str
    err: str
    left: tuple[str, ...]
    limit: float = LIMIT  # seconds

    def faults(self, case: Case) -> list[str]:
        """What is wrong with it."""
        both = self.out + self.err
        found = []
        if self.code != 2:
            found.append(f"exit code {self.code}")
        if self.seconds >= self.limit:
            found.append(f"{self.seconds:.1f} s")
        if "Traceback (most recent call last)" in both:
            found.append("a traceback")
        found += [f"does not say {text!r}" for text in case.says if text not in both]
        if not REMEDY.search(self.err):
            found.append("no remedy")
        if printed := self.out.strip():
            found.append(f"stdout: {printed[:80]!r}")
        left = [
            name
            for name in self.left
            if not f"{name}/".startswith(case.keeps) and not case.keeps.startswith(f"{name}/")
        ]
        left = left if case.keeps else list(self.left)
        if left:
            found.append(f"left behind: {', '.join(left)[:300]}")
        return found


def run(
    case: Case, folder: Path, templates: Templates, *, fresh: bool = False, limit: float = LIMIT
) -> Ending:
    """One case in a folder of its own, as a command of its own (`fresh`) or in a forked child."""
    case.prepare(folder, templates)
    before = _contents(folder)
    arguments = [text.replace("{work}", str(folder)) for text in case.arguments]
    environment = {key: value for key, value in os.environ.items() if not key.startswith(QUIET)}
    environment |= {
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        **case.environment,
    }
    environment["PYTHONPATH"] = str(ROOT)
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        if fresh or case.fresh:
            pid = _started(case.command, arguments, folder, environment, (out, err))
        else:
            pid = _forked(case.command, arguments, folder, environment, (out, err))
        code, work = _ended(pid, start, limit)
        seconds = time.perf_counter() - start
        texts = [_text(stream) for stream in (out, err)]
    left = tuple(sorted(name for name, what in _contents(folder).items() if before.get(name) != what))
    return Ending(code, seconds, work, texts[0], texts[1], left, limit)


def _started(
    module: str, arguments: Sequence[str], folder: Path, environment: dict[str, str], streams: Streams
) -> int:
    command = [sys.executable, "-m", module, *arguments]
    out, err = streams
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err
    )
    return process.pid


def _forked(
    module: str, arguments: Sequence[str], folder: Path, environment: dict[str, str], streams: Streams
) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        for number, stream in enumerate(streams, 1):
            os.dup2(stream.fileno(), number)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.stdout, sys.stderr = (io.TextIOWrapper(os.fdopen(fd, "wb"), encoding="utf-8") for fd in (1, 2))
        code = _as_module(module, arguments)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # never back into the parent's work


def _as_module(module: str, arguments: Sequence[str]) -> int:
    """`python -m module arguments` in this process; its exit code."""
    sys.argv = [module, *arguments]
    name = f"{module}.__main__" if (ROOT / module.replace(".", "/")).is_dir() else module
    for old in (module, name):
        if hasattr(sys.modules.get(old), "main"):
            del sys.modules[old]  # runpy makes it anew, as __main__
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _ended(pid: int, start: float, limit: float) -> tuple[int | None, float]:
    """(exit code, or None for a child that had to be killed; its processor time)."""
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        if time.perf_counter() - start > limit:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return None, limit
        time.sleep(0.003)


def _text(stream: io.BufferedRandom) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", "replace")


def _contents(folder: Path) -> dict[str, tuple[int, int]]:
    """Everything below the folder, with size and time of change (folders: nothing but that they are there)."""
    return {
        str(path.relative_to(folder)): (0, 0)
        if path.is_dir()
        else (path.lstat().st_size, path.lstat().st_mtime_ns)
        for path in folder.rglob("*")
    }


def warm_up(more: str = "") -> None:
    """Import what the commands need, once. Nothing is computed: threads would not survive a fork."""
    os.environ["OMP_NUM_THREADS"] = "1"
    for name in f"{WARM} {more}".split():
        import_module(name)
    import_module("hydra.core.plugins").Plugins.instance()  # looks through all installed packages
    gc.collect()
    gc.freeze()  # children do not touch, and so copy, the pages of what is there


def all_cases(sample: int | None = None) -> list[Case]:
    """Hand-picked, then generated; `sample` of each kind, drawn with seed 0, where it is given."""
    kinds = [CASES, generated()]
    if sample is not None:
        kinds = [random.Random(0).sample(cases, sample) for cases in kinds]
    return [case for cases in kinds for case in cases]


def campaign(
    cases: Sequence[Case], *, fresh: bool = False, limit: float = LIMIT
) -> Iterator[tuple[Case, Ending]]:
    """Every case with its ending. Folders are temporary."""
    with tempfile.TemporaryDirectory(prefix="gip-bad-input-") as place:
        templates = Templates(Path(place) / "templates")
        for number, case in enumerate(cases):
            folder = Path(place) / f"{number:04d}"
            folder.mkdir()
            yield case, run(case, folder, templates, fresh=fresh, limit=limit)
            shutil.rmtree(folder, ignore_errors=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--subprocess", action="store_true", help="start every command as people do")
    parser.add_argument("--only", default="", help="cases whose cause or arguments hold one of these texts")
    parser.add_argument(
        "--sample", type=int, help="so many of the hand-picked and of the generated cases, drawn with seed 0"
    )
    parser.add_argument(
        "--limit", type=float, default=LIMIT, help="seconds for a command; more on a busy machine"
    )
    parser.add_argument("--show", action="store_true", help="print every message")
    options = parser.parse_args()
    cases = [
        case
        for case in all_cases(options.sample)
        if any(
            word in f"{case.cause} {case.command} {' '.join(case.arguments)}"
            for word in options.only.split(",")
        )
    ]
    warm_up()
    seconds, work, bad = [], [], 0
    for case, ending in campaign(cases, fresh=options.subprocess, limit=options.limit):
        seconds.append(ending.seconds)
        work.append(ending.work)
        faults = ending.faults(case)
        bad += bool(faults)
        if faults or options.show:
            print(
                f"{'BAD ' if faults else 'ok  '}{case.cause}: {case.command} {' '.join(case.arguments)[:300]}"
            )
            print("".join(f"       fault: {fault}\n" for fault in faults), end="")
            print(
                "".join(
                    f"    | {line[:400]}\n" for line in (ending.out + ending.err).strip().splitlines()[-12:]
                ),
                end="",
            )
    wrong_calls = [
        problem
        for call in CALLS
        if any(word in call.cause for word in options.only.split(",")) and (problem := call.fault())
    ]
    print("".join(f"BAD  {problem}\n" for problem in wrong_calls), end="")
    causes = Counter(case.cause for case in cases) + Counter(call.cause for call in CALLS)
    print(
        f"{len(cases)} commands and {len(CALLS)} calls, {len(causes)} causes, {bad + len(wrong_calls)} bad; "
        f"seconds: median {median(seconds):.2f}, most {max(seconds):.2f} (of the processor: {median(work):.2f}, {max(work):.2f})"
        if seconds
        else "no commands"
    )
    return 1 if bad or wrong_calls else 0


if __name__ == "__main__":
    sys.exit(main())
