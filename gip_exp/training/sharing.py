"""Training in several processes that see every row exactly once an epoch, as one process does.

Processes take micro-batches in turn, so each needs the same number of them. transformers and accelerate fill the last
batch of an epoch with rows from its beginning, which are then learnt twice. Here it is filled with rows of one token
without a loss. Losses are means over the tokens of the whole batch, so the filling changes no loss and no gradient. What
is left between one process and several is rounding, and with dropout other random masks.
"""

import math
from collections.abc import Iterator
from typing import Any

from accelerate.data_loader import SeedableRandomSampler
from datasets import Dataset, concatenate_datasets
from torch.utils.data import Sampler
from trl import SFTTrainer

from gip_exp.training.tokens import IGNORED


class SharingTrainer(SFTTrainer):
    """TRL's trainer for several processes.

    Attributes:
        n_rows: Rows to learn, after packing.
        n_filling: Rows of one token added behind them, at the end of each epoch.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        rows = self.train_dataset
        assert isinstance(rows, Dataset)
        self.n_rows = len(rows)
        self.n_filling = -self.n_rows % (self.args.train_batch_size * self.args.world_size)
        self.train_dataset = filled(rows, self.n_filling)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler:  # noqa: ARG002
        assert self.args.data_seed is not None
        return _FillingLast(self.n_rows, self.n_filling, self.args.data_seed)


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


def filling_seen(trainer: SharingTrainer, first: int, last: int) -> int:
    """Return the tokens of filling in the steps after `first`, up to `last`: one per row, at the end of each epoch."""
    batch = trainer.args.train_batch_size * trainer.args.gradient_accumulation_steps * trainer.args.world_size
    steps = math.ceil(trainer.n_rows / batch)
    return trainer.n_filling * (last // steps - first // steps)


class _FillingLast(Sampler):
    """The rows in the order in which one process sees them, then the filling."""

    def __init__(self, n_rows: int, n_filling: int, seed: int) -> None:
        self._rows = SeedableRandomSampler(
            range(n_rows), data_seed=seed
        )  # what accelerate makes of any other
        self._filling = range(n_rows, n_rows + n_filling)

    def __iter__(self) -> Iterator[int]:
        yield from self._rows
        yield from self._filling

    def __len__(self) -> int:
        return len(self._rows) + len(self._filling)

    def set_epoch(self, epoch: int) -> None:
        self._rows.set_epoch(epoch)
