"""`gip-exp submit DIR [--dry-run] [--max-jobs N]`: submit the unfinished runs of a plan as SLURM job arrays.

Exit code 2 if sbatch refuses a job; the remedy is printed, and the same command submits what is left.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from gip_exp.errors import UserError
from gip_exp.runs import sbatch, slurm
from gip_exp.storage.locks import held
from gip_exp.sweep import job_arrays, plan_folder, state
from gip_exp.sweep.cluster import Cluster, cluster, job_environment
from gip_exp.sweep.submission import Submission, fitting, groups

LOCK = "submit.lock"


def main(arguments: Sequence[str] | None = None) -> int:
    """Submit a plan; return the exit code: 2, with messages on stderr, if a job is refused."""
    options = _parser().parse_args(arguments)
    try:
        return _submit(options.folder, dry=options.dry_run, most=options.max_jobs)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gip-exp submit",
        description="Submit the unfinished runs of a plan as SLURM job arrays. Runs that are done, queued or running are "
        "not submitted again.",
        epilog="The variables GIP_... of the environment (account, partitions, GPUs) are described in slurm/README.md.",
    )
    parser.add_argument("folder", metavar="DIR", type=Path, help="folder written by gip-exp plan --write DIR")
    parser.add_argument("--dry-run", action="store_true", help="print the sbatch lines; submit nothing")
    parser.add_argument(
        "--max-jobs",
        metavar="N",
        type=_count,
        help="have at most N jobs in the queue, those of other plans included (default: the account's limit, if SLURM "
        "says it)",
    )
    return parser


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} must be a number of jobs above 0")
    return int(text)


def _submit(folder: Path, *, dry: bool, most: int | None) -> int:
    if not plan_folder.is_plan(folder):
        raise UserError(
            f"{folder} holds no plan ({plan_folder.PLAN}): give a folder written by gip-exp plan ... --write DIR"
        )
    plan_folder.read(folder)  # a damaged plan is refused before anything is written
    plan = folder.resolve()
    settings = cluster(os.environ)
    waiting = f"another process submits {folder}: waiting for it"
    with held(plan / LOCK, lambda: print(waiting, file=sys.stderr)):
        return _submit_alone(plan, settings, dry=dry, most=most)


def _submit_alone(plan: Path, settings: Cluster, *, dry: bool, most: int | None) -> int:
    """Submit what is left, while no other process does."""
    try:
        _complete_records(plan)
        survey = state.survey(plan)
        wanted = groups(survey, sbatch.max_array_size())
        kept, left = fitting(wanted, _room(settings, most))
    except slurm.NoAnswerError as error:
        raise UserError(f"nothing was submitted, because SLURM does not answer: {error}") from None
    if not wanted:
        print("nothing to submit: every run is done, queued or running")
        return 0
    environment, exported = job_environment(os.environ)
    submission = Submission(plan, settings, environment, exported, dry)
    submission.submit(kept)
    _report(submission, left, plan)
    return 2 if submission.refused else 0


def _complete_records(plan: Path) -> None:
    """Look up the arrays of a submission that was killed before it recorded sbatch's answer."""
    for array in job_arrays.read(plan):
        if array.job:
            continue
        if job := sbatch.named(array.name):
            job_arrays.record_answer(plan, array, job=job)
        else:
            job_arrays.record_answer(plan, array, refused="sbatch gave no answer, and SLURM has no such job")


def _room(settings: Cluster, most: int | None) -> int | None:
    """Return how many more jobs may be queued; None without a limit. Raises slurm.NoAnswerError."""
    limit = most or sbatch.max_submit_jobs(settings.account, settings.qos)
    return None if limit is None else max(0, limit - sbatch.queued_jobs())


def _report(submission: Submission, left: Sequence[int], plan: Path) -> None:
    for line in submission.lines or submission.done:
        print(line)
    if submission.exported:
        names = ", ".join(submission.exported)
        print(f"SBATCH_EXPORT={os.environ['SBATCH_EXPORT']}: the jobs get only {names}", file=sys.stderr)
    if left:
        print(
            f"{len(left)} runs do not fit into the limit on queued jobs ({job_arrays.as_array(left)}): repeat the command "
            "when jobs have ended"
        )
    for line in submission.refused:
        print(f"error: {line}", file=sys.stderr)
    if submission.refused:
        print("error: repeat the command once this is fixed; it submits what is missing", file=sys.stderr)
    if submission.done:
        print(f"watch with: gip-exp status {plan} --watch")


if __name__ == "__main__":
    from gip_exp.stdout import run_and_exit

    run_and_exit(main)
