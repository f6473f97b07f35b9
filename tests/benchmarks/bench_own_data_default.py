"""Which selector should `+experiment=own_data` use when nothing is said? Three pools with known flaws, no LLM judge.

    python -m tests.benchmarks.bench_own_data_default [--budgets 0.01 0.05 0.1]

Pools: the quickstart's arithmetic problems (a third flawed), Alpaca with a quarter of junk, and functions of Python's
standard library with their docstrings as prompts, a quarter of them with code that is cut off, shuffled or another
function's. Per selector and budget: share of clean rows, coverage (mean over the clean rows of the best cosine to a
clean pick), median characters of the replies. Data: the folder GIP_DATA, default ../shared/data.
"""

from __future__ import annotations

import argparse
import inspect
import pkgutil
import random
import statistics
import sys
import tempfile
import warnings
from contextlib import suppress
from importlib import import_module

import numpy as np

from gip_exp import select_rows
from gip_exp.models.embedders.tfidf import embed
from tests.benchmarks.bench_tfidf import Rows, alpaca_with_junk, coverage, quickstart

CHOICES: dict[str, list[str]] = {
    "random": ["selector=random"],
    "mp_sc": ["selector=mp_sc"],
    "mp_ma": ["selector=mp_ma"],
    "mp_ma_sc": ["selector=mp_ma_sc"],
    "top_score": ["selector=top_score"],
    "gate_random": ["selector=gate_random"],
}
SKIPPED = {"antigravity", "this", "idlelib", "test", "lib2to3", "turtledemo"}


def functions() -> list[dict[str, str]]:
    """Functions of the standard library: the first line of the docstring asks for the code."""
    found = {}
    for module in sorted(name for name in sys.stdlib_module_names if name not in SKIPPED and name[0] != "_"):
        for name in (module, *_submodules(module)):
            try:
                members = inspect.getmembers(import_module(name), inspect.isfunction)
            except Exception:
                continue  # for another system
            for _, function in members:
                text = (inspect.getdoc(function) or "").strip().split("\n")[0]
                if text and function.__module__ == name and function.__code__.co_filename.endswith(".py"):
                    prompt = f"Write the Python function {function.__name__} of {name}. {text}"
                    with suppress(OSError):  # made at run time
                        found[prompt] = inspect.getsource(function)
    return [{"prompt": prompt, "completion": code} for prompt, code in sorted(found.items())]


def _submodules(module: str) -> list[str]:
    try:
        path = getattr(import_module(module), "__path__", [])
    except Exception:
        return []
    return [
        f"{module}.{found.name}"
        for found in pkgutil.iter_modules(path)
        if "test" not in found.name and found.name != "__main__"
    ]


def code_with_junk() -> tuple[Rows, np.ndarray, str]:
    rng, rows = random.Random(0), functions()
    clean = np.ones(len(rows), dtype=bool)
    whole = [row["completion"] for row in rows]
    for at in rng.sample(range(len(rows)), len(rows) // 4):
        lines = whole[at].splitlines()
        rng.shuffle(lines)
        junk = ("\n".join(lines), whole[at][: len(whole[at]) // 2], whole[rng.randrange(len(rows))])
        rows[at] = {"prompt": rows[at]["prompt"], "completion": rng.choice(junk)}
        clean[at] = False
    return rows, clean, "instruction"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--budgets", type=float, nargs="+", default=[0.01, 0.05, 0.1])
    pools = {"quickstart": quickstart, "alpaca": alpaca_with_junk, "code": code_with_junk}
    parser.add_argument("--pools", nargs="+", choices=pools, default=list(pools))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(
        f"{'pool':<10} {'rows':>6} {'budget':>6}  {'selector':<12} {'clean':>6} {'coverage':>8} {'characters':>10}"
    )
    for name in options.pools:
        rows, clean, rubric = pools[name]()
        texts = [f"{row['prompt']}\n{row['completion']}" for row in rows]
        settings = {"dimensions": 256, "ngrams": 2, "min_count": 2, "max_ngrams": 65_536, "fit_rows": 20_000}
        features = embed(texts, lambda _: None, {}, lambda _: None, **settings)[clean]
        place = np.cumsum(clean) - 1
        with tempfile.TemporaryDirectory() as root:
            for budget in options.budgets:
                for label, chosen in CHOICES.items():
                    given = [*chosen, f"rubric={rubric}", "data.repeated=keep"]
                    picks = select_rows(rows, budget, settings=given, root=root).indices
                    length = statistics.median(len(rows[at]["completion"]) for at in picks)
                    covered = coverage(features, place[picks[clean[picks]]])
                    print(
                        f"{name:<10} {len(rows):>6} {budget:>6}  {label:<12} {clean[picks].mean():>6.3f} {covered:>8.3f} "
                        f"{length:>10.0f}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
