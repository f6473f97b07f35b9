"""Texts for evaluation and self-consistency, from a server or from a model in this process.

Both generators take conversations (lists of {"role", "content"}) and plain texts to continue, in any mixture, and
return one text for each, in order. A sample number above 0 draws another text for the same input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gip_exp.llm.client import ask_all
from gip_exp.llm.errors import LLMError
from gip_exp.llm.progress import Progress
from gip_exp.llm.request import Fault, Request
from gip_exp.llm.settings import EndpointSettings, Sampling, raise_problems

Input = str | Sequence[Mapping[str, str]]


class EndpointGenerator:
    """Texts from any OpenAI-compatible endpoint, cached like every other reply."""

    def __init__(
        self,
        endpoint: EndpointSettings,
        *,
        cache_dir: Path,
        stop: Sequence[str] = (),
        seed: int | None = None,
        progress: Progress | None = None,
    ) -> None:
        endpoint.check()
        self._endpoint, self._cache_dir, self._progress = endpoint, cache_dir, progress
        self._stop, self._seed = tuple(stop), seed

    def generate(
        self, inputs: Sequence[Input], *, temperature: float, max_tokens: int, sample: int = 0
    ) -> list[str]:
        """Return one text per input.

        Args:
            inputs: conversations or plain texts.
            temperature: sampling temperature; 0 is greedy.
            max_tokens: tokens per text.
            sample: number of the sample.

        Returns:
            Texts in the order of the inputs.

        Raises:
            LLMError: with the first reason, if any text is missing; the others are cached, and the next call asks
                only for the rest.
        """
        sampling = Sampling(temperature, max_tokens=max_tokens, stop=self._stop, seed=self._seed)
        raise_problems("generate", sampling.problems())
        requests = [
            Request(prompt=given, sampling=sampling, repetition=sample)
            if isinstance(given, str)
            else Request(messages=tuple(given), sampling=sampling, repetition=sample)
            for given in inputs
        ]
        outcomes, _ = ask_all(requests, self._endpoint, cache_dir=self._cache_dir, progress=self._progress)
        faults = [(i, o) for i, o in enumerate(outcomes) if isinstance(o, Fault)]
        if faults:
            row, fault = faults[0]
            raise LLMError(
                f"{len(faults)} of {len(inputs)} requests to {self._endpoint.model} failed, the first "
                f"is input {row}: {fault}. The other replies are kept; start again to request these."
            )
        return [outcome.text for outcome in outcomes if not isinstance(outcome, Fault)]


class LocalGenerator:
    """Texts from a transformers model in this process, for small models and machines without vLLM.

    model, tokenizer: loaded, on their device, adapter applied. seed: with the inputs, the sample and the
    batch size it fixes what is drawn. chat_kwargs: passed to the chat template (such as enable_thinking).
    on_rows: called after each batch with its number of texts.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        *,
        batch_size: int = 16,
        seed: int = 0,
        chat_kwargs: Mapping[str, Any] | None = None,
        on_rows: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._model, self._tokenizer, self._on_rows = model, tokenizer, on_rows
        self._batch_size, self._seed, self._chat_kwargs = batch_size, seed, dict(chat_kwargs or {})

    def generate(
        self, inputs: Sequence[Input], *, temperature: float, max_tokens: int, sample: int = 0
    ) -> list[str]:
        """Return one text per input, without special tokens; arguments as for `EndpointGenerator.generate`."""
        raise_problems("generate", Sampling(temperature, max_tokens=max_tokens).problems())
        rows = [self._tokens(given) for given in inputs]
        # Inputs of similar length share a batch, to pad little.
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        results = [""] * len(rows)
        for start in range(0, len(order), self._batch_size):
            batch = order[start : start + self._batch_size]
            seed = hash((self._seed, sample, start)) % 2**31
            drawn = self._batch([rows[i] for i in batch], temperature, max_tokens, seed)
            for row, text in zip(batch, drawn, strict=True):
                results[row] = text
            self._on_rows(len(batch))
        return results

    def _tokens(self, given: Input) -> list[int]:
        """Tokenise: plain text with the tokenizer's start token, as in training, and no end; a chat template as it is."""
        plain = isinstance(given, str)
        text = given if isinstance(given, str) else self._as_text(given)
        ids = list(self._tokenizer(text, add_special_tokens=plain)["input_ids"])
        return ids[:-1] if plain and len(ids) > 1 and ids[-1] == self._tokenizer.eos_token_id else ids

    def _as_text(self, given: Sequence[Mapping[str, str]]) -> str:
        if not getattr(self._tokenizer, "chat_template", None):
            raise LLMError(
                "this tokenizer has no chat template, so it cannot take conversations; pass plain texts."
            )
        return self._tokenizer.apply_chat_template(
            [dict(m) for m in given], tokenize=False, add_generation_prompt=True, **self._chat_kwargs
        )

    def _batch(self, rows: list[list[int]], temperature: float, max_tokens: int, seed: int) -> list[str]:
        import torch

        tokenizer, model = self._tokenizer, self._model
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        width = max(len(r) for r in rows)
        ids = torch.tensor([[pad] * (width - len(r)) + r for r in rows], device=model.device)
        mask = torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in rows], device=model.device)
        options: dict[str, Any] = {"do_sample": False}
        if temperature > 0:
            options = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
        devices = [model.device] if model.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices), torch.inference_mode():
            torch.manual_seed(seed)  # inside the fork, so that the caller's random state does not change
            out = model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=max_tokens, pad_token_id=pad, **options
            )
        return tokenizer.batch_decode(out[:, width:], skip_special_tokens=True)
