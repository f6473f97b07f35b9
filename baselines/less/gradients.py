"""Per-example gradients with respect to LoRA weights, a whole batch in one backward pass.

For a linear layer y = W x the gradient of the loss of one example is the sum over its tokens of (dL/dy) x^T,
and the rows of a batch do not mix. One backward pass of the sum of the losses, with the layer's inputs x
(b, l, in) and output gradients (b, l, out) caught by hooks, therefore gives the gradient of every example as
one batched product.

Columns follow the order of the requested parameter names, never the order of the model's modules.
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
    """Return the names of the model's LoRA weights (`...lora_A...weight`, `...lora_B...weight`), sorted.

    Args:
        model: a model with LoRA layers of peft.

    Returns:
        Parameter names as in `model.named_parameters()`.

    Raises:
        ValueError: there is none, or a LoRA parameter is not the weight of a linear layer.

    Example:
        >>> lora_parameters(nn.ModuleDict({"lora_A": nn.Linear(2, 1, bias=False)}))
        ['lora_A.weight']
    """
    names = sorted(n for n, _ in model.named_parameters() if ".lora_" in f".{n}")
    if not names:
        raise ValueError(
            "model: has no LoRA parameters (none is named lora_A or lora_B); load the adapter with peft"
        )
    _layers(model, names)
    return names


def per_example_gradients(model: nn.Module, batch: Mapping[str, Tensor], parameters: Sequence[str]) -> Tensor:
    """Compute the gradient of each example's mean token loss.

    Args:
        model: a causal language model with LoRA (peft). It is run in evaluation mode (no dropout) and left
            in the mode it was in; its `.grad` fields are not touched.
        batch: `input_ids`, `attention_mask` and `labels`, each (b, l), padded on the right; labels are the
            token ids where the loss counts and -100 elsewhere, and are shifted here (position t predicts
            token t + 1).
        parameters: names of weights of linear layers; p is the sum of their sizes and columns come in this
            order, each weight (out, in) row by row.

    Returns:
        (b, p) float32 on the model's device.

    Raises:
        ValueError: unknown parameters, or an example without any token to predict.

    Example:
        >>> from peft import LoraConfig, get_peft_model
        >>> from transformers import Qwen3Config, Qwen3ForCausalLM
        >>> shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "head_dim": 8}
        >>> config = Qwen3Config(vocab_size=8, num_attention_heads=1, num_key_value_heads=1, **shape)
        >>> model = get_peft_model(Qwen3ForCausalLM(config), LoraConfig(r=1, target_modules=["q_proj"]))
        >>> ids = torch.tensor([[0, 1, 2], [0, 3, 4]])
        >>> batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
        >>> per_example_gradients(model, batch, lora_parameters(model)).shape
        torch.Size([2, 16])

        Without the matrix, one parameter after the other:

        >>> stream_gradients(model, batch, lora_parameters(model), lambda name, block: print(block.shape))
        torch.Size([2, 8])
        torch.Size([2, 8])
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
    """Call `sink(name, gradients)` for one parameter after the other.

    Like `per_example_gradients`, without the (b, p) matrix, which would take 2 GB per batch of four for an 8B
    model with rank 128. Parameters come in the order of the backward pass.

    Args:
        model: as for `per_example_gradients`.
        batch: as for `per_example_gradients`.
        parameters: as for `per_example_gradients`.
        sink: called with a parameter's name and its gradients (b, size) float32.

    Raises:
        ValueError: unknown parameters, or an example without any token to predict.
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
        # Asking only for the gradient of the embedding avoids computing the summed gradients of the weights.
        torch.autograd.backward(loss, inputs=anchors)


def collate(examples: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, Tensor]:
    """Return examples as one batch, padded on the right: input_ids, attention_mask and labels, each (b, l) int64.

    Args:
        examples: one mapping per example with `input_ids` and `labels`.

    Returns:
        Mapping with `input_ids`, `attention_mask` (0 on padding) and `labels` (-100 on padding).

    Example:
        >>> collate([{"input_ids": [5, 6], "labels": [-100, 6]}, {"input_ids": [7], "labels": [7]}])["labels"]
        tensor([[-100,    6],
                [   7, -100]])
    """
    width = max(len(example["input_ids"]) for example in examples)
    batch = {
        "input_ids": torch.zeros(len(examples), width, dtype=torch.int64),
        "attention_mask": torch.zeros(len(examples), width, dtype=torch.int64),
        "labels": torch.full((len(examples), width), IGNORED, dtype=torch.int64),
    }
    for i, example in enumerate(examples):
        length = len(example["input_ids"])
        batch["input_ids"][i, :length] = torch.as_tensor(example["input_ids"])
        batch["labels"][i, :length] = torch.as_tensor(example["labels"])
        batch["attention_mask"][i, :length] = 1
    return batch


def _layers(model: nn.Module, names: Sequence[str]) -> dict[str, nn.Linear]:
    """Return the linear layer of each weight name."""
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
    """Return the sum over the batch of each example's mean token loss (nats); logits only at labelled positions."""
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
    """Switch to evaluation mode (no dropout, no gradient checkpointing); restore every module's mode afterwards."""
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
    """Install hooks that pass per-example weight gradients to `sink`; yields the tensors that start the graph."""
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
