"""The longest prefix of a ranking within a number of tokens, counted as the fine-tuning sees them."""

from collections.abc import Iterator

import numpy as np

from gip_exp.config.train import LoraTrain
from gip_exp.data import split
from gip_exp.data.rows import Example
from gip_exp.errors import UserError
from gip_exp.models import loading
from gip_exp.models.prompts import renderer
from gip_exp.stage import Job
from gip_exp.storage.row_table import RowTable
from gip_exp.training.tokens import training_rows

CHUNK = 1000  # rows tokenised at a time


def prefix(job: Job, ranked: np.ndarray, pool: RowTable) -> tuple[int, int]:
    """Return (rows, tokens) of the longest prefix of the ranking within `budget` tokens.

    A share is one of the tokens of the whole pool. Rows without a loss train nothing and count no tokens; longer rows
    count `train.max_length`, as the fine-tuning cuts them there.

    Args:
        job: The job of the stage `select`.
        ranked: (m,) row numbers, best first.
        pool: All training rows.

    Raises:
        UserError: the first row has more tokens than the budget, or the ranking ends before the budget.
    """
    budget = job.config.budget
    if isinstance(budget, float):
        rows = split.split(len(pool), job.config.target).pool
        budget = int(budget * sum(_lengths(job, pool, rows)))
    tokens, count = 0, 0
    for count, length in enumerate(_lengths(job, pool, ranked)):  # noqa: B007, the number of rows before this one
        if tokens + length > budget:
            break
        tokens += length
    else:
        count = len(ranked)
        job.note(f"the ranking ends at {count:,} rows and {tokens:,} tokens, below the budget of {budget:,}")
    if not count:
        raise UserError(
            f"budget={job.config.budget} with budget_unit=tokens is {budget:,} tokens, fewer than the first row has: "
            "raise it"
        )
    return count, tokens


def _lengths(job: Job, pool: RowTable, rows: np.ndarray) -> Iterator[int]:
    """Yield the tokens of each row."""
    train = job.config.train
    assert isinstance(train, LoraTrain)
    tokenizer = loading.load_tokenizer(loading.location(job.config, job.inputs))
    render = renderer(job.config.model.prompt, tokenizer)
    for start in range(0, len(rows), CHUNK):
        examples: list[Example] = list(pool.take(rows[start : start + CHUNK]))
        found = training_rows(examples, render, tokenizer, train)
        yield from np.where(found.lost, 0, np.minimum(found.lengths[:, 1], train.max_length)).tolist()
