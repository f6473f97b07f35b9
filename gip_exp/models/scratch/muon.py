"""Muon in float32, all matrices of one shape at once.

The same steps as `torch.optim.Muon`, which orthogonalises each matrix alone and in bfloat16: on a processor without
bfloat16 units that took longer than the model's forward and backward pass together (128 x 344: 4.8 ms a product, float32 0.14).
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch

STEPS = 5
COEFFICIENTS = 3.4445, -4.7750, 2.0315  # of the quintic Newton-Schulz iteration (Jordan et al. 2024)


def orthogonalized(matrices: torch.Tensor) -> torch.Tensor:
    """Return about U V^T for each matrix U S V^T; its singular values are 0.5 to 1.5 instead of 1, which suffices for Muon.

    Args:
        matrices: (count, rows, columns) float32.

    Example:
        >>> import torch
        >>> values = torch.linalg.svdvals(orthogonalized(torch.randn(2, 8, 16)))
        >>> bool(((values > 0.5) & (values < 1.5)).all())
        True
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = matrices.mT if tall else matrices
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, then the nearest orthogonal matrix as the step (Jordan et al. 2024); weight decay is decoupled.

    Args:
        params: Matrices. Each must have a gradient at every step.
        lr: Step size; of tall matrices times the root of rows over columns.
        weight_decay: Share of the weights taken away per step, times `lr`.
        momentum: Weight of the earlier gradients.
    """

    def __init__(
        self, params: Iterable[torch.Tensor], lr: float, weight_decay: float, momentum: float = 0.95
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Change the weights once. Raises ValueError for a closure, which nothing here needs."""
        if closure is not None:
            raise ValueError("closure is not supported: call backward first")
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[torch.Tensor]] = {}
            for matrix in group["params"]:
                by_shape.setdefault(matrix.shape, []).append(matrix)
            for matrices in by_shape.values():
                self._step(matrices, group)

    def _step(self, matrices: list[torch.Tensor], group: dict[str, Any]) -> None:
        gradients = torch.stack([matrix.grad for matrix in matrices if matrix.grad is not None])
        state = self.state[matrices[0]]
        if not state:
            state["momentum"] = torch.zeros_like(gradients)
        momentum = state["momentum"].lerp_(gradients, 1 - group["momentum"])
        steps = orthogonalized(gradients.lerp(momentum, group["momentum"]))
        rows, columns = matrices[0].shape
        rate = group["lr"] * max(1.0, rows / columns) ** 0.5
        for matrix, step in zip(matrices, steps.unbind(), strict=True):
            matrix.mul_(1 - group["lr"] * group["weight_decay"]).sub_(step, alpha=rate)
