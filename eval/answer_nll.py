"""Negative log-likelihood of the reference answers: a smooth companion of exact match for every model.

Per row: the mean over the tokens of the completion (including the end-of-sequence token) and over its *number
tokens*, those that overlap a run of digits. The final answer alone mostly measures copying; number tokens
measure the arithmetic.

Tokens are those of training (TRL's prompt/completion format): prompt + completion + end of sequence is
tokenised as one text, and the completion starts at the first token that differs from the tokenised prompt.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from eval.results import EvalResult, Prediction, check_rows, listed
from eval.statistics import mean_interval

if TYPE_CHECKING:
    import torch

DIGITS = re.compile(r"\d+")


@dataclass(frozen=True)
class EncodedRow:
    """A tokenised row.

    Attributes:
        input_ids: token ids of prompt and completion.
        start: position at which the completion starts.
        numbers: for each token of the completion, whether it overlaps a run of digits.
    """

    input_ids: list[int]
    start: int
    numbers: list[bool]


@dataclass(frozen=True)
class AnswerNLL(EvalResult):
    """Result in nats per token; `metrics` averages the means of the rows.

    Attributes:
        per_token: the same metrics with every token weighted equally.
        without_numbers: rows whose completion has no digit; they are left out of `answer_nll/numbers`.
    """

    per_token: dict[str, float] = field(default_factory=dict)
    without_numbers: int = 0


def answer_nll(
    model: Any, tokenizer: Any, rows: Sequence[Mapping[str, Any]], *, batch_size: int = 8
) -> AnswerNLL:
    """Compute `answer_nll/completion` and `answer_nll/numbers` of a causal language model.

    Args:
        model: a model of transformers or PEFT. It stays on its device, is run in evaluation mode, and its
            mode is restored.
        tokenizer: its fast tokenizer, with an end-of-sequence token.
        rows: mappings with `id`, `prompt` and `completion`, texts rendered exactly as for training.
        batch_size: rows per forward pass; rows are batched by length.

    Returns:
        AnswerNLL, lower is better.

    Raises:
        ValueError: bad rows, a tokenizer without offsets, rows longer than the model's context, or
            likelihoods that are not finite.

    Example:
        A model with zero weights gives each of 8 tokens the same probability, ln 8 = 2.079 nats.

        >>> import torch
        >>> from tokenizers import Tokenizer, models, pre_tokenizers
        >>> from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
        >>> words = Tokenizer(models.WordLevel({"</s>": 0, "2": 1, "+": 2, "=": 3, "4": 4}, "</s>"))
        >>> words.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>")
        >>> shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "head_dim": 8}
        >>> config = Qwen3Config(vocab_size=8, num_attention_heads=1, num_key_value_heads=1, **shape)
        >>> model = Qwen3ForCausalLM(config)
        >>> _ = torch.nn.init.zeros_(model.lm_head.weight)
        >>> rows = [{"id": "1", "prompt": "2 + 2 =", "completion": " 4"}]
        >>> round(answer_nll(model, tokenizer, rows).metrics["answer_nll/numbers"].value, 3)
        2.079
    """
    import torch

    check_rows(rows, ("prompt", "completion"), "row")
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; give at least 1")
    encoded = [encode(tokenizer, row["prompt"], row["completion"]) for row in rows]
    _check_lengths(model, rows, encoded)
    losses: list[torch.Tensor] = [torch.empty(0)] * len(rows)
    longest_first = sorted(range(len(rows)), key=lambda i: (-len(encoded[i].input_ids), i))
    with _evaluating(model), torch.inference_mode():
        for at in range(0, len(rows), batch_size):
            batch = longest_first[at : at + batch_size]
            for i, loss in zip(batch, _batch_losses(model, [encoded[i] for i in batch]), strict=True):
                losses[i] = loss
    _check_finite(rows, losses)
    return _result(rows, encoded, losses)


def encode(tokenizer: Any, prompt: str, completion: str) -> EncodedRow:
    """Tokenise a prompt/completion pair as `SFTTrainer` of TRL 1.16 does.

    Args:
        tokenizer: a fast tokenizer with an end-of-sequence token.
        prompt: the rendered prompt.
        completion: the rendered completion; the end-of-sequence token is appended if it is missing.

    Returns:
        EncodedRow.

    Raises:
        ValueError: the tokenizer has no character offsets or no end-of-sequence token.

    Example:
        >>> from tokenizers import Tokenizer, models, pre_tokenizers
        >>> from transformers import PreTrainedTokenizerFast
        >>> words = Tokenizer(models.WordLevel({"</s>": 0, "2": 1, "+": 2, "=": 3, "4": 4}, "</s>"))
        >>> words.pre_tokenizer = pre_tokenizers.Whitespace()
        >>> tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>")
        >>> encode(tokenizer, "2 + 2 =", " 4")
        EncodedRow(input_ids=[1, 2, 1, 3, 4, 0], start=4, numbers=[True, False])
    """
    if not getattr(tokenizer, "is_fast", False) or not tokenizer.eos_token:
        raise ValueError(
            f"the tokenizer {type(tokenizer).__name__} must give character offsets (a fast tokenizer) "
            "and have an eos_token"
        )
    if not completion.endswith(tokenizer.eos_token):
        completion += tokenizer.eos_token
    text = prompt + completion
    whole = tokenizer(text, return_offsets_mapping=True)
    ids, offsets = whole["input_ids"], whole["offset_mapping"]
    alone = tokenizer(prompt)["input_ids"]
    start = next((i for i, (a, b) in enumerate(zip(alone, ids, strict=False)) if a != b), len(alone))
    digits = [False] * len(text)
    # The end-of-sequence token may itself contain digits ("<|eot_1|>"), which are not part of the answer.
    for run in DIGITS.finditer(text, len(prompt), len(text) - len(tokenizer.eos_token)):
        digits[run.start() : run.end()] = [True] * (run.end() - run.start())
    return EncodedRow(ids, start, [any(digits[low:high]) for low, high in offsets[start:]])


def _batch_losses(model: Any, rows: Sequence[EncodedRow]) -> list[torch.Tensor]:
    """Return the losses of the completion tokens of each row, float64 on the CPU."""
    import torch

    width = max(len(row.input_ids) for row in rows)
    input_ids = torch.zeros((len(rows), width), dtype=torch.long)
    attention_mask = torch.zeros_like(input_ids)
    for i, row in enumerate(rows):
        input_ids[i, : len(row.input_ids)] = torch.tensor(row.input_ids)
        attention_mask[i, : len(row.input_ids)] = 1
    # Logits over a large vocabulary dominate memory: compute them only from the first completion token on.
    kept = width - (min(row.start for row in rows) - 1)
    logits = model(
        input_ids=input_ids.to(model.device),
        attention_mask=attention_mask.to(model.device),
        logits_to_keep=kept,
        use_cache=False,
    ).logits  # (rows, kept, vocabulary)
    losses = []
    for i, row in enumerate(rows):
        first = row.start - 1 - (width - kept)  # a token is predicted at the position before it
        targets = torch.tensor(row.input_ids[row.start :], device=logits.device)
        predicted = logits[i, first : first + len(targets)].float()
        losses.append(torch.nn.functional.cross_entropy(predicted, targets, reduction="none").double().cpu())
    return losses


def _result(
    rows: Sequence[Mapping[str, Any]], encoded: Sequence[EncodedRow], losses: Sequence[torch.Tensor]
) -> AnswerNLL:
    import torch

    flags = [torch.tensor(row.numbers) for row in encoded]
    parts = {
        "answer_nll/completion": list(losses),
        "answer_nll/numbers": [loss[flag] for loss, flag in zip(losses, flags, strict=True)],
    }
    predictions = {
        name: tuple(
            Prediction(str(row["id"]), float(part.mean()), "", row["completion"])
            for row, part in zip(rows, scored, strict=True)
            if part.numel()
        )
        for name, scored in parts.items()
    }
    predictions = {name: outcomes for name, outcomes in predictions.items() if outcomes}
    return AnswerNLL(
        metrics={name: mean_interval([p.value for p in out]) for name, out in predictions.items()},
        predictions=predictions,
        per_token={name: float(torch.cat(parts[name]).mean()) for name in predictions},
        without_numbers=sum(not flag.any() for flag in flags),
    )


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    was_training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(was_training)


def _check_lengths(model: Any, rows: Sequence[Mapping[str, Any]], encoded: Sequence[EncodedRow]) -> None:
    longest = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    problems = []
    for row, tokens in zip(rows, encoded, strict=True):
        if longest is not None and len(tokens.input_ids) > longest:
            problems.append(
                f"row {row['id']!r} has {len(tokens.input_ids)} tokens, but the model's context is {longest}"
            )
        if tokens.start == 0:
            problems.append(f"row {row['id']!r}: no token of the prompt comes before the completion")
    if problems:
        raise ValueError(listed(problems) + "; shorten these rows or leave them out")


def _check_finite(rows: Sequence[Mapping[str, Any]], losses: Sequence[torch.Tensor]) -> None:
    bad = [f"row {row['id']!r}" for row, loss in zip(rows, losses, strict=True) if not loss.isfinite().all()]
    if bad:
        raise ValueError(
            f"the likelihood is not finite for {len(bad)} of {len(rows)} rows: {listed(bad)}; "
            "the model has diverged or its precision overflows"
        )
