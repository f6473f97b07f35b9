"""Whether an adapter changes what a model says at all: one that is not applied would be evaluated as the base, unnoticed.

A few prompts are asked twice, with and without the adapter. Not the texts are compared but the probabilities, which any
adapter that was trained moves.
"""

from collections.abc import Sequence
from typing import Any

from gip_exp.errors import UserError

QUESTIONS = ("What is 2 + 2?", "Name three colours of the rainbow.", "Why is the sky blue?")
LEAST = 1e-6  # nats; a server gives back rounded numbers


def check_loaded(model: Any, tokenizer: Any, prompts: Sequence[str], adapter: str) -> None:
    """Raise UserError when a PEFT model in this process answers as its base does."""
    import torch

    with torch.inference_mode():
        for prompt in prompts:
            tokens = tokenizer(prompt, return_tensors="pt").input_ids.to(model.device)
            tuned = model(input_ids=tokens).logits
            with model.disable_adapter():
                if not torch.equal(tuned, model(input_ids=tokens).logits):
                    return
    raise _unapplied(adapter, len(prompts))


def check_served(server: Any, name: str, prompts: Sequence[str], adapter: str) -> None:
    """Raise UserError when a vLLM server goes on under `name` as under its model's own name."""
    base = server.settings.served_name
    for prompt in prompts:
        if _differ(server.continuation(base, prompt), server.continuation(name, prompt)):
            return
    raise _unapplied(adapter, len(prompts))


def _differ(one: Sequence[dict[str, float]], other: Sequence[dict[str, float]]) -> bool:
    if len(one) != len(other):
        return True
    return any(
        a.keys() != b.keys() or any(abs(a[token] - b[token]) > LEAST for token in a)
        for a, b in zip(one, other, strict=True)
    )


def _unapplied(adapter: str, n: int) -> UserError:
    return UserError(
        f"the adapter {adapter} changes no probability on any of {n} prompts: it is not applied, or training left it "
        "at zero (the first step of a warm-up has rate 0, so train.steps=1 learns nothing). Train longer; to evaluate "
        "it all the same, engine.check_adapter=false"
    )
