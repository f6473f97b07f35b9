"""Gradients of each example's own loss with respect to LoRA weights, a whole batch in one backward pass.

For a linear layer y = W x the gradient of one example's loss is the sum over its tokens of (dL/dy) x^T, and
the rows of a batch do not mix. So one backward pass of the sum of the examples' losses, with the layer's
inputs x (b, l, in) and output gradients (b, l, out) caught by hooks, gives every example's gradient as one
batched product.

Columns follow the order of the parameter names asked for, never the order of the model's modules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

Sink = Callable[[str, Tensor], None]
IGNORED = -100  # label of a token that is not trained on


def lora_parameters(model: nn.Module) -> list[str]:
    """Names of the model's LoRA weights (`...lora_A...weight`, `...lora_B...weight`), sorted.

    Raises ValueError if there is none, or if a LoRA parameter is not the weight of a linear layer.
    """
    names = sorted(n for n, _ in model.named_parameters() if ".lora_" in f".{n}")
    if not names:
        raise ValueError(
            "model: has no LoRA parameters (none is named lora_A or lora_B); load the adapter with peft"
        )
    _layers(model, names)
    return names


def per_example_gradients(model: nn.Module, batch: Mapping[str, Tensor], parameters: Sequence[str]) -> Tensor:
    """Gradient of each example's mean token loss: (b, p) float32 on the model's device.

    Args:
        model: a causal language model with LoRA (peft). It is run in evaluation mode (no dropout) and left
            in the mode it was in; its `.grad` fields are not touched.
        batch: `input_ids`, `attention_mask` and `labels`, each (b, l), padded on the right; labels are the
            token ids where the loss counts and -100 elsewhere, and are shifted here (position t predicts
            token t + 1).
        parameters: names of weights of linear layers; p is the sum of their sizes and columns come in this
            order, each weight (out, in) row by row.

    Raises:
        ValueError: unknown parameters, or an example without any token to predict.
    """
    sizes = {name: layer.weight.numel() for name, layer in _layers(model, parameters).items()}
    starts, total = {}, 0
    for name in parameters:
        starts[name] = total
        total += sizes[name]
    device = next(model.parameters()).device
    result = torch.zeros(len(batch["input_ids"]), total, device=device)

    def write(name: str, block: Tensor) -> None:
        result[:, starts[name] : starts[name] + sizes[name]] += block

    stream_gradients(model, batch, parameters, write)
    return result


def stream_gradients(
    model: nn.Module, batch: Mapping[str, Tensor], parameters: Sequence[str], sink: Sink
) -> None:
    """Call `sink(name, gradients)` with gradients (b, size) float32, one parameter after the other.

    As `per_example_gradients`, but the (b, p) matrix never exists: 2 GB a batch of four for an 8B model
    with rank 128. Parameters come in the order of the backward pass.
    """
    layers = _layers(model, parameters)
    device = next(model.parameters()).device
    batch = {key: value.to(device) for key, value in batch.items()}
    counts = (batch["labels"][:, 1:] != IGNORED).sum(dim=1)
    if bool((counts == 0).any()):
        row = int((counts == 0).nonzero()[0])
        raise ValueError(f"batch: row {row} has no token to predict (every label after the first is -100)")
    with _evaluation(model), _caught(model, layers, len(counts), sink) as anchors:
        loss = _summed_loss(model, batch, counts)
        # Asking only for the embedding's gradient spares the engine the weights' own (summed) gradients.
        torch.autograd.backward(loss, inputs=anchors)


def _layers(model: nn.Module, names: Sequence[str]) -> dict[str, nn.Linear]:
    """The linear layer behind each weight name."""
    modules = dict(model.named_modules())
    found, bad = {}, []
    for name in names:
        layer = modules.get(name.removesuffix(".weight")) if name.endswith(".weight") else None
        if isinstance(layer, nn.Linear):
            found[name] = layer
        else:
            bad.append(name)
    if bad:
        raise ValueError(
            f"parameters: {bad[0]!r} ({len(bad)} such) is not the weight of a linear layer of this model; "
            "LESS needs plain LoRA on linear layers (no DoRA, no embeddings)"
        )
    if not found:
        raise ValueError("parameters: is empty; name at least one LoRA weight (see lora_parameters)")
    return found


def _summed_loss(model: nn.Module, batch: Mapping[str, Tensor], counts: Tensor) -> Tensor:
    """Sum over the batch of each example's mean token loss (nats). Only positions with a label get logits."""
    targets = batch["labels"][:, 1:]
    trained = targets != IGNORED
    positions = trained.any(dim=0).nonzero().squeeze(1)
    logits = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        logits_to_keep=positions,
        use_cache=False,
    ).logits
    kept = trained[:, positions]
    losses = nn.functional.cross_entropy(logits[kept].float(), targets[:, positions][kept], reduction="none")
    return (losses / counts[:, None].expand_as(kept)[kept]).sum()


@contextmanager
def _evaluation(model: nn.Module) -> Iterator[None]:
    """Evaluation mode: no dropout, no gradient checkpointing; every module's mode is put back afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.enable_grad():
            yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def _caught(
    model: nn.Module, layers: Mapping[str, nn.Linear], rows: int, sink: Sink
) -> Iterator[list[Tensor]]:
    """Hooks that hand per-example weight gradients to `sink`; yields the tensors that start the graph."""
    anchors: list[Tensor] = []

    def start_graph(_module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
        anchors.append(output.detach().requires_grad_())
        return anchors[-1]

    def catch(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def forward(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            x = inputs[0].detach()
            if x.ndim != 3 or len(x) != rows:
                raise ValueError(
                    f"parameters: {name!r} sees inputs of shape {tuple(x.shape)}, not ({rows}, l, in)"
                )

            def backward(gradient: Tensor) -> None:
                block = torch.bmm(gradient.float().transpose(1, 2), x.float())
                sink(name, block.reshape(rows, -1))

            output.register_hook(backward)

        return forward

    embeddings: Any = model.get_input_embeddings()  # type: ignore[operator]
    handles = [embeddings.register_forward_hook(start_graph)]
    handles += [layer.register_forward_hook(catch(name)) for name, layer in layers.items()]
    try:
        yield anchors
    finally:
        for handle in handles:
            handle.remove()
