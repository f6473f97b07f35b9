"""The order of the rows, for one process and for several that see every row exactly once an epoch, as one does.

Processes take micro-batches in turn, so each needs the same number of them. transformers and accelerate fill the last
batch of an epoch with rows from its beginning, which are then learnt twice. Here it is filled with rows of one token
without a loss. Losses are means over the tokens of the whole batch, so the filling changes no loss and no gradient. What
is left between one process and several is rounding, and with dropout other random masks.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from accelerate.data_loader import SeedableRandomSampler
from datasets import Dataset, concatenate_datasets
from torch.utils.data import Sampler

from gip_exp.training.tokens import IGNORED


def filled(rows: Dataset, n: int) -> Dataset:
    """Return the rows, followed by `n` rows of one token that has no loss.

    Args:
        rows: Tokenised rows, packed or not.
        n: Number of rows to add.
    """
    if not n:
        return rows
    one = {name: value[:1] for name, value in rows[0].items()}
    one["labels"] = [IGNORED]
    if "seq_lengths" in one:  # of packed rows
        one["seq_lengths"] = [1]
    return concatenate_datasets([rows, Dataset.from_list([one] * n, features=rows.features)])


def filling_seen(trainer: Any, first: int, last: int) -> int:
    """Return the tokens of filling in the steps after `first`, up to `last`: one per row, at the end of each epoch."""
    batch = trainer.args.train_batch_size * trainer.args.gradient_accumulation_steps * trainer.args.world_size
    steps = math.ceil(trainer.n_rows / batch)
    return trainer.n_filling * (last // steps - first // steps)


class BatchesByLength(Sampler):
    """The rows in a random order, then the filling; within each batch the longest first.

    Neighbours share a micro-batch, so they should be of similar length. The filling is shortest, and stays last.
    """

    def __init__(self, lengths: Sequence[int], n_filling: int, batch: int, seed: int) -> None:
        self._lengths, self._n_filling, self._batch = lengths, n_filling, batch
        # What accelerate makes of a random sampler: the order is that of TRL's own trainer.
        self._rows = SeedableRandomSampler(range(len(lengths) - n_filling), data_seed=seed)

    def __iter__(self) -> Iterator[int]:
        order = [*self._rows, *range(len(self._rows), len(self))]
        for start in range(0, len(order), self._batch):
            yield from sorted(order[start : start + self._batch], key=lambda row: -self._lengths[row])

    def __len__(self) -> int:
        return len(self._lengths)

    def set_epoch(self, epoch: int) -> None:
        """Draw another order in the next epoch."""
        self._rows.set_epoch(epoch)
