"""TRL's trainer with three changes that leave the losses as they are, but for rounding.

- The rows of a batch are sorted by length before they are divided into micro-batches and among processes, so that
  little is padded. Which rows make a batch stays the same.
- Several processes see every row once an epoch (`sharing.py`).
- On a processor, logits are computed only where a token is learnt. TRL does so on a GPU; elsewhere it computes them for
  every position of prompt and padding as well, twice, with entropies that nobody reads.
"""

from typing import Any

from datasets import Dataset
from torch.nn.functional import cross_entropy
from torch.utils.data import Sampler
from trl import SFTTrainer

from gip_exp.training.sharing import BatchesByLength, filled
from gip_exp.training.tokens import IGNORED

LARGEST = 2**28  # logits held at once, 1 GiB in float32; TRL computes more than that in tiles


class LoraTrainer(SFTTrainer):
    """TRL's trainer.

    Attributes:
        n_rows: Rows to learn, after packing.
        n_filling: Rows of one token added behind them, at the end of each epoch; none for one process.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        rows = self.train_dataset
        assert isinstance(rows, Dataset)
        self.n_rows = len(rows)
        world = self.args.world_size
        self.n_filling = -self.n_rows % (self.args.train_batch_size * world) if world > 1 else 0
        self.train_dataset = filled(rows, self.n_filling)

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler:  # noqa: ARG002
        assert self.args.data_seed is not None
        assert isinstance(self.train_dataset, Dataset)
        parts = self.args.gradient_accumulation_steps * self.args.world_size
        batch = self.args.train_batch_size * parts if parts > 1 else 1  # an undivided batch stays in order
        lengths = [len(ids) for ids in self.train_dataset["input_ids"]]
        return BatchesByLength(lengths, self.n_filling, batch, self.args.data_seed)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the summed loss of the micro-batch, divided by the learnt tokens of the whole batch."""
        targets = inputs["labels"][:, 1:]
        learnt = targets != IGNORED
        own: Any = self.model  # unlike `model`, not wrapped for several processes
        head = own.get_output_embeddings()
        whole = learnt.sum() * head.weight.shape[0] > LARGEST
        if learnt.is_cuda or whole or return_outputs or num_items_in_batch is None or self.aux_loss_enabled:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        self._count_tokens(inputs)
        kept = head.register_forward_pre_hook(lambda _, hidden: (hidden[0][:, :-1][learnt],))
        try:
            logits = model(**{**inputs, "labels": None, "use_cache": False}).logits
        finally:
            kept.remove()
        total = cross_entropy(logits.float(), targets[learnt], reduction="sum")
        # DDP takes the mean of the processes.
        return total / num_items_in_batch * self.accelerator.num_processes

    def _count_tokens(self, inputs: Any) -> None:
        """Count prompt and completion in TRL's `num_tokens`."""
        counts = self.accelerator.gather_for_metrics(inputs["attention_mask"].sum())
        self._total_train_tokens += int(counts.sum())
        self._metrics["train"]["num_tokens"] = [self._total_train_tokens]
