"""Products of the whole pool with a few vectors, by BLAS, and how far their rounding reaches."""

from __future__ import annotations

import torch

from selection.torch_settings import threads

# Rows a product: their part of the pool stays in the cache while BLAS rearranges it. One product with all rows
# at once takes 1.5 times as long for 24 vectors.
TILE = 1024
TILES = 512  # at a time, so that their products, which are rearranged, take little memory


def pool_products(rows: torch.Tensor, vectors: torch.Tensor, out: torch.Tensor, workers: int) -> None:
    """out[t, j] = rows[j] . vectors[t] for rows (n, d), vectors (m, d), out (m, n), on that many threads."""
    whole = len(rows) - len(rows) % TILE
    with threads(workers):
        for start in range(0, whole, TILE * TILES):
            part = slice(start, min(whole, start + TILE * TILES))
            tiles = rows[part].view(-1, TILE, rows.shape[1])
            products = torch.bmm(vectors.expand(len(tiles), *vectors.shape), tiles.transpose(1, 2))
            out[:, part].view(len(vectors), -1, TILE).copy_(products.transpose(0, 1))
    out[:, whole:] = vectors @ rows[whole:].T


def dot_error(d: int, dtype: torch.dtype) -> float:
    """gamma_d: a dot product of length d is wrong by at most this times the product of the two lengths.

    It holds for any order of summation, with or without fused multiply-add (Higham, Accuracy and Stability of
    Numerical Algorithms, 3.1), so for every BLAS that works in `dtype` (`own_precision` sees to that).
    """
    share = d * torch.finfo(dtype).eps / 2
    return share / (1 - share)
