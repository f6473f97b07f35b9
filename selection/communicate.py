"""The collective operations of a sharded selection, and their trivial form for one process."""

from __future__ import annotations

from typing import Any

import torch

from selection.checks import Problems


class Alone:
    """One process that holds the whole pool."""

    rank = 0
    size = 1

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """Return the sum of the tensor over processes."""
        return value

    def min(self, value: torch.Tensor) -> torch.Tensor:
        """Return the smallest entries over processes."""
        return value

    def max(self, value: torch.Tensor) -> torch.Tensor:
        """Return the largest entries over processes."""
        return value

    def largest(self, value: float) -> float:
        """Return the largest of one number per process."""
        return value

    def lowest(self, value: int) -> int:
        """Return the lowest of one int per process."""
        return value

    def gather(self, value: Any) -> list[Any]:
        """Return one picklable object per process, in rank order."""
        return [value]

    def broadcast(self, value: torch.Tensor | None, owner: int, length: int) -> torch.Tensor:  # noqa: ARG002
        """Return the owner's float64 tensor (length,) on every process."""
        assert value is not None
        return value

    def agree(self, problems: Problems) -> None:
        """Raise ValueError on every process if any noted a problem."""
        problems.raise_if_any()


class Group(Alone):
    """The processes of a torch.distributed group; tensors must be on `device` (a GPU for nccl)."""

    def __init__(self, group: Any, device: torch.device) -> None:
        import torch.distributed as dist

        self.dist, self.group, self.device = dist, group, device
        self.rank, self.size = dist.get_rank(group), dist.get_world_size(group)

    def _reduce(self, value: torch.Tensor, operation: Any) -> torch.Tensor:
        result = value.to(self.device, copy=True).contiguous()
        self.dist.all_reduce(result, op=operation, group=self.group)
        return result.to(value.device)

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        """Return the sum of the tensor over processes, by all_reduce."""
        return self._reduce(value, self.dist.ReduceOp.SUM)

    def min(self, value: torch.Tensor) -> torch.Tensor:
        """Return the smallest entries over processes, by all_reduce."""
        return self._reduce(value, self.dist.ReduceOp.MIN)

    def max(self, value: torch.Tensor) -> torch.Tensor:
        """Return the largest entries over processes, by all_reduce."""
        return self._reduce(value, self.dist.ReduceOp.MAX)

    def largest(self, value: float) -> float:
        """Return the largest of one number per process, compared in float64."""
        return float(self.max(torch.tensor([value], dtype=torch.float64, device=self.device)))

    def lowest(self, value: int) -> int:
        """Return the lowest of one int per process, compared in int64."""
        return int(self.min(torch.tensor([value], dtype=torch.int64, device=self.device)))

    def gather(self, value: Any) -> list[Any]:
        """Return one picklable object per process, in rank order, by all_gather_object."""
        everything: list[Any] = [None] * self.size
        self.dist.all_gather_object(everything, value, group=self.group)
        return everything

    def broadcast(self, value: torch.Tensor | None, owner: int, length: int) -> torch.Tensor:
        """Return the owner's float64 tensor (length,); other processes pass None."""
        if value is None:
            value = torch.empty(length, dtype=torch.float64, device=self.device)
        self.dist.broadcast(value, src=self._global_rank(owner), group=self.group)
        return value

    def _global_rank(self, rank: int) -> int:
        return rank if self.group is None else self.dist.get_global_rank(self.group, rank)

    def agree(self, problems: Problems) -> None:
        """Raise ValueError on every process if any noted a problem; messages about rows name the process."""
        together = Problems()
        for rank, messages in enumerate(self.gather(problems.messages)):
            for message in messages:
                if message not in together.messages:
                    # Row numbers in a message count within the shard of that process.
                    told = f"(process {rank}) {message}" if " row " in message else message
                    together.messages.append(told)
        together.raise_if_any()


ALONE = Alone()
