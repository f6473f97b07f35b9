"""Loss and gradients of a small Qwen3 on a processor: those of Transformers' model to rounding, in less time.

- Two threads take half of the batch each, with half of the cores, which keeps them busier than sharing every small
  operation. More and smaller parts waited for Python's lock.
- Behind its attention, the last layer is computed only where the loss looks.
- The root mean square and its derivative in few passes over memory; rotations as complex products.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional

if TYPE_CHECKING:
    from transformers import Qwen3ForCausalLM

PARTS = 2


class Gradients:
    """Two threads that compute gradients of one model.

    A context manager; at its end torch's number of threads is what it was.
    """

    def __init__(self, model: Qwen3ForCausalLM) -> None:
        self._model, self._parameters = model, list(model.parameters())
        self._threads = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(
            min(PARTS, self._threads),
            initializer=torch.set_num_threads,
            initargs=(max(1, self._threads // PARTS),),
        )

    def __enter__(self) -> Gradients:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()
        torch.set_num_threads(self._threads)  # the initializer sets it for later threads of the process too

    def set(self, ids: torch.Tensor, labels: torch.Tensor) -> float:
        """Set the gradient of every parameter; return the mean loss of the labelled tokens.

        Args:
            ids: (rows, length) token ids.
            labels: (rows, length) the same ids, -100 where the loss does not look.
        """
        targets = functional.pad(labels[:, 1:], (0, 1), value=-100)
        count = int((targets != -100).sum())

        def of_part(ids: torch.Tensor, targets: torch.Tensor) -> tuple[float, Sequence[torch.Tensor]]:
            loss = _summed_loss(self._model, ids, targets) / max(1, count)
            return loss.item(), torch.autograd.grad(loss, self._parameters)

        parts = self._pool.map(of_part, ids.chunk(PARTS), targets.chunk(PARTS))
        losses, gradients = zip(*parts, strict=True)
        for other in gradients[1:]:
            torch._foreach_add_(gradients[0], other)
        for parameter, gradient in zip(self._parameters, gradients[0], strict=True):
            parameter.grad = gradient
        return sum(losses)


def _summed_loss(model: Qwen3ForCausalLM, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    learnt = targets != -100
    logits = functional.linear(hidden_states(model, ids, learnt), model.lm_head.weight)
    return functional.cross_entropy(logits, targets[learnt], reduction="sum")


def hidden_states(model: Qwen3ForCausalLM, ids: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """(count of kept, width) what `model.model` gives before the logits, at the positions that `kept` marks.

    Rows have no padding, as in `pack`.
    """
    inner = model.model
    x = functional.embedding(ids, inner.embed_tokens.weight)
    angles = torch.outer(torch.arange(ids.shape[1], dtype=torch.float32), inner.rotary_emb.inv_freq)
    turns = torch.polar(torch.ones_like(angles), angles)[:, None]  # (length, 1, half of a head)
    for number, layer in enumerate(inner.layers, 1):
        mixed = _attention(layer.self_attn, _norm(layer.input_layernorm, x), turns)
        if number == len(inner.layers):
            x, mixed = x[kept], mixed[kept]
        x = x + functional.linear(mixed, layer.self_attn.o_proj.weight)
        inputs = _norm(layer.post_attention_layernorm, x)
        gate = functional.linear(inputs, layer.mlp.gate_proj.weight)
        up = functional.linear(inputs, layer.mlp.up_proj.weight)
        x = x + functional.linear(functional.silu(gate) * up, layer.mlp.down_proj.weight)
    return _norm(inner.norm, x)


def _attention(attention: Any, x: torch.Tensor, turns: torch.Tensor) -> torch.Tensor:
    """(rows, length, heads * width of a head): causal attention before its output projection."""
    heads, own = attention.config.num_attention_heads, attention.config.num_key_value_heads
    query = _turned(attention.q_proj, attention.q_norm, x, heads, turns)
    key = _turned(attention.k_proj, attention.k_norm, x, own, turns)
    value = functional.linear(x, attention.v_proj.weight).unflatten(-1, (own, -1)).transpose(1, 2)
    mixed = functional.scaled_dot_product_attention(
        query, key, value, is_causal=True, enable_gqa=own != heads
    )
    return mixed.transpose(1, 2).flatten(2)


def _turned(linear: Any, norm: Any, x: torch.Tensor, heads: int, turns: torch.Tensor) -> torch.Tensor:
    """(rows, heads, length, width of a head): projected, normalised, and rotated by position.

    Transformers rotates the pairs (i, i + half of the width). The weights are reordered here so that the two are
    neighbours, as in a complex number; queries and keys alike, so their products are the same.
    """
    weight = linear.weight.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)
    scale = norm.weight.unflatten(0, (2, -1)).mT.flatten()
    projected = functional.linear(x, weight).unflatten(-1, (heads, -1))
    normed = _Norm.apply(projected, scale, norm.variance_epsilon)
    turned = torch.view_as_complex(normed.unflatten(-1, (-1, 2))) * turns
    return torch.view_as_real(turned).flatten(-2).transpose(1, 2)


def _norm(norm: Any, x: torch.Tensor) -> torch.Tensor:
    return _Norm.apply(x, norm.weight, norm.variance_epsilon)


class _Norm(torch.autograd.Function):
    """weight * x / root mean square of x over the last dimension."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        square = torch.linalg.vector_norm(x, dim=-1, keepdim=True).square_().div_(x.shape[-1])
        inverse = square.add_(epsilon).rsqrt_()
        normed = x * inverse
        ctx.save_for_backward(normed, inverse, weight)
        return normed * weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        normed, inverse, weight = ctx.saved_tensors
        product = (gradient * normed).flatten(0, -2)
        along = torch.mv(product, weight).div_(-weight.shape[0]).view_as(inverse)
        return (gradient * weight).addcmul_(normed, along).mul_(inverse), product.sum(0), None
