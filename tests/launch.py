"""Processes that a test kills, forked from one that has the heavy libraries loaded already.

A plain `python -m gip_exp` spends seconds on importing torch, transformers and trl before the first line of the run.
A test that kills a run in the middle needs a real process, but not that import. The parent of the forks is
multiprocessing's fork server: it has imported and done nothing else, so no thread, lock or model of the tests' own
process is inherited. What hangs on a plain start (exit codes, output, what is imported) is tested with one.
"""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Iterable
from multiprocessing.process import BaseProcess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "matplotlib.figure",
        "sklearn.feature_extraction.text",
        "lm_eval.evaluator",
        "peft",
        "trl.trainer.sft_trainer",
    ]
)


def start(arguments: Iterable[object], log: Path) -> BaseProcess:
    """A running `python -m gip_exp` in the checkout; what it prints goes to the file `log`."""
    process = FORKS.Process(
        target=_main, args=([str(word) for word in arguments], str(log), dict(os.environ))
    )
    process.start()
    return process


def _main(words: list[str], log: str, environment: dict[str, str]) -> None:
    """In the fork: become the command, with its environment, folder and output."""
    with open(log, "ab") as target:
        for descriptor in (1, 2):
            os.dup2(target.fileno(), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(ROOT)
    sys.argv = ["gip_exp", *words]
    runpy.run_module("gip_exp", run_name="__main__", alter_sys=True)
