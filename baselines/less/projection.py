"""Random projection of gradients without a projection matrix: a count sketch in contiguous blocks.

Symbols: x (p) a gradient, K the dimension of the sketch. Coordinate j of parameter q gets a random sign and a
bucket h(j) = (j + r) mod K, where r is drawn anew for every K coordinates of q. The sketch is y_b = sum of
sign(j) x_j over h(j) = b. Two coordinates share a bucket with probability 1 / K (0 within K neighbours) and
signs are independent, so E <y(x), y(z)> = <x, z>, with the variance of a count sketch (Charikar et al. 2002),
about that of a dense Rademacher projection (Johnson and Lindenstrauss) to K dimensions. Cost: one pass over
x, and one byte per coordinate for signs.

Signs and shifts come from a generator seeded by (seed, K, parameter name), so neither the order of parameters
nor the split into batches or processes changes a projection. The sum consists of contiguous pieces and needs
no atomic additions, so it is deterministic on a GPU too.
"""

from __future__ import annotations

from hashlib import sha256

import torch
from torch import Tensor


class CountSketch:
    """A random projection to `dim` dimensions, determined by `seed`; keeps the signs it has drawn (int8).

    Args:
        dim: dimensions of the projection, >= 1.
        seed: seed of signs and shifts.

    Raises:
        ValueError: `dim` is below 1.

    Example:
        >>> result = torch.zeros(2, 4)
        >>> CountSketch(dim=4, seed=0).add(result, "layer.weight", torch.ones(2, 100))
        >>> bool((result[0] == result[1]).all())
        True
    """

    def __init__(self, dim: int = 8192, seed: int = 0) -> None:
        if dim < 1:
            raise ValueError(f"dim: got {dim!r}; give an int >= 1")
        self.dim = dim
        self.seed = seed
        self._drawn: dict[tuple[str, torch.device], tuple[Tensor, Tensor]] = {}

    def add(self, result: Tensor, name: str, block: Tensor) -> None:
        """Add the sketch of one parameter's gradients to `result` in place.

        Args:
            result: (b, dim) float32, changed.
            name: the parameter's name, which determines signs and shifts.
            block: (b, size) gradients of the parameter.
        """
        signs, shifts = self._draw(name, block.shape[1], block.device)
        block, dim, done = block.float(), self.dim, 0
        if block.is_cuda:
            done = len(signs) // dim
            pieces = (block[:, : done * dim] * signs[: done * dim]).view(len(block), done, dim)
            result += rolled_sum(pieces, shifts[:done])
        for piece, shift in enumerate(shifts[done:].tolist(), start=done):
            part, sign = (values[..., piece * dim : (piece + 1) * dim] for values in (block, signs))
            first = min(part.shape[1], dim - shift)  # what follows begins again at bucket 0
            result[:, shift : shift + first].addcmul_(part[:, :first], sign[:first])
            result[:, : part.shape[1] - first].addcmul_(part[:, first:], sign[first:])

    def _draw(self, name: str, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return signs (size,) int8 on the device and one shift per `dim` coordinates, int64 on the CPU."""
        key = (name, device)
        if key not in self._drawn:
            digest = sha256(f"{self.seed}/{self.dim}/{name}".encode()).digest()
            generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
            signs = torch.randint(0, 2, (size,), generator=generator, dtype=torch.int8) * 2 - 1
            pieces = -(-size // self.dim)
            shifts = torch.randint(0, self.dim, (pieces,), generator=generator)
            self._drawn[key] = (signs.to(device), shifts)
        return self._drawn[key]


def rolled_sum(pieces: Tensor, shifts: Tensor) -> Tensor:
    """Return the sum over p of pieces (b, p, dim), piece i moved on by shifts[i], in two kernels: for a GPU.

    A CPU takes 8 times as long for it as for a loop over the pieces, which here would be thousands of kernels.

    Example:
        >>> rolled_sum(torch.tensor([[[1.0, 2.0, 3.0], [10.0, 0.0, 0.0]]]), torch.tensor([0, 1])).tolist()
        [[1.0, 12.0, 3.0]]
    """
    dim = pieces.shape[2]
    source = (torch.arange(dim) - shifts[:, None]) % dim  # bucket b holds coordinate b - shift
    return pieces.gather(2, source.to(pieces.device).expand_as(pieces)).sum(dim=1)
