"""Names, shares and inputs of the rounds of a re-selection, for the stages that are made once per round."""

from collections.abc import Mapping
from dataclasses import replace

from gip_exp.config import Config
from gip_exp.stage import Job


def named(stage: str, number: int, last: int) -> str:
    """Return the name of a stage in a round; that of the last round is the plain one.

    Example:
        >>> named("train", 1, 3), named("train", 3, 3)
        ('train/1', 'train')
    """
    return stage if number == last else f"{stage}/{number}"


def rescored(number: int) -> str:
    """Return the name of the stage that scores with the model tuned in a round."""
    return f"score/tuned-{number}"


def share(total: int, number: int, last: int) -> int:
    """Return how much of a total is reached after a round; all of it after the last.

    Example:
        >>> [share(187, number, 3) for number in (1, 2, 3)]
        [62, 125, 187]
    """
    return round(total * number / last)


def steps_of(total: int, number: int, last: int) -> int:
    """Return the optimiser steps of one round, at least 1.

    Example:
        >>> [steps_of(280, number, 3) for number in (1, 2, 3)]
        [93, 94, 93]
    """
    return max(1, share(total, number, last) - share(total, number - 1, last))


def plain(job: Job, names: Mapping[str, str]) -> Job:
    """Return the job with some inputs under other names: those that the code of a single selection reads.

    Args:
        job: The job.
        names: Name to read an input by -> its stage.
    """
    return replace(job, inputs={**job.inputs, **{name: job.inputs[stage] for name, stage in names.items()}})


def arm(config: Config) -> str:
    """Return the name of a run's method in folders and reports: the selector, and what is unusual about the run."""
    parts = [config.selector.name]
    if config.rounds > 1:
        parts.append(f"rounds{config.rounds}" + ("" if config.rescore == "ifd" else f"_{config.rescore}"))
    if config.distort.embeddings != "none":
        parts.append(config.distort.embeddings)
    if config.distort.scores != "none":
        parts.append(f"scores_{config.distort.scores}")
    return "_".join(parts)
