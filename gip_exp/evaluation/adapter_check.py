"""Check that an adapter has an effect: if it were not applied, the base model would be evaluated unnoticed.

Token probabilities on a few prompts are compared with and without the adapter; every trained adapter changes them, even
if it does not change the generated text.
"""

from collections.abc import Sequence
from typing import Any

from gip_exp.errors import UserError

QUESTIONS = ("What is 2 + 2?", "Name three colours of the rainbow.", "Why is the sky blue?")
TOLERANCE = 1e-6  # nats; servers return rounded log-probabilities


def check_loaded(model: Any, tokenizer: Any, prompts: Sequence[str], adapter: str) -> None:
    """Raise UserError if a PEFT model in this process has the same logits as its base model."""
    import torch

    with torch.inference_mode():
        for prompt in prompts:
            tokens = tokenizer(prompt, return_tensors="pt").input_ids.to(model.device)
            tuned = model(input_ids=tokens).logits
            with model.disable_adapter():
                if not torch.equal(tuned, model(input_ids=tokens).logits):
                    return
    raise _no_effect(adapter, len(prompts))


def check_served(server: Any, name: str, prompts: Sequence[str], adapter: str) -> None:
    """Raise UserError if a vLLM server gives the same probabilities for the adapter `name` as for its base model."""
    base = server.settings.served_name
    for prompt in prompts:
        if _differ(server.continuation(base, prompt), server.continuation(name, prompt)):
            return
    raise _no_effect(adapter, len(prompts))


def _differ(one: Sequence[dict[str, float]], other: Sequence[dict[str, float]]) -> bool:
    if len(one) != len(other):
        return True
    return any(
        a.keys() != b.keys() or any(abs(a[token] - b[token]) > TOLERANCE for token in a)
        for a, b in zip(one, other, strict=True)
    )


def _no_effect(adapter: str, n: int) -> UserError:
    return UserError(
        f"the adapter {adapter} changes no probability on any of {n} prompts: it is not applied, or training did not "
        "change it (the first warm-up step has a learning rate of 0, so train.steps=1 learns nothing). Train longer, or "
        "set engine.check_adapter=false to evaluate it anyway"
    )
