"""Settings of an endpoint, its sampling and its price, as frozen dataclasses.

Keys are never part of settings; `api_key_env` names the environment variable that holds one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from gip_exp.llm.errors import LLMError
from gip_exp.llm.prices import Price
from gip_exp.redaction import secret_places

STRUCTURED = ("auto", "json_schema", "json_object", "none")
PROVIDERS = ("openai", "azure")
OPENAI_URL = "https://api.openai.com/v1"
URL_VARIABLE = "OPENAI_BASE_URL"  # of the openai package; refused, because it is in no config
_REASONING = re.compile(r"^(gpt-5|o[1-9])(?!\d)")


@dataclass(frozen=True)
class Sampling:
    """How a reply is sampled.

    Attributes:
        temperature: None for the endpoint's default.
        top_p: None for the endpoint's default.
        max_tokens: limit of the visible reply.
        seed: None sends none; a number gives every repetition and attempt its own derived seed. Not for vLLM on a
            CPU, whose engine dies of a seeded request at a temperature above 0.
        stop: at most 4 strings.
        reasoning_effort: for reasoning models only.
    """

    temperature: float | None = 0.0
    top_p: float | None = None
    max_tokens: int = 512
    seed: int | None = None
    stop: tuple[str, ...] = ()
    reasoning_effort: str | None = None

    def problems(self) -> list[str]:
        """Return the problems with these values, one sentence each."""
        found = []
        if self.temperature is not None and not 0.0 <= self.temperature <= 2.0:
            found.append(f"temperature is {self.temperature}; allowed: 0 to 2, or null")
        if self.top_p is not None and not 0.0 < self.top_p <= 1.0:
            found.append(f"top_p is {self.top_p}; allowed: above 0 up to 1, or null")
        if self.max_tokens < 1:
            found.append(f"max_tokens is {self.max_tokens}; allowed: 1 or more")
        if len(self.stop) > 4:
            found.append(f"stop has {len(self.stop)} strings; endpoints accept at most 4")
        return found


@dataclass(frozen=True)
class EndpointSettings:
    """An OpenAI-compatible endpoint and the limits of its use.

    Attributes:
        model: model name, adapter name (vLLM) or deployment name (Azure).
        base_url: None for api.openai.com; for Azure the address of the resource.
        more_urls: further addresses that serve the same model; requests are divided among all of them.
        provider: openai or azure.
        api_version: of Azure.
        api_key_env: environment variable of the key; None for the provider's usual one.
        identity: text that identifies the weights where `model` does not (a local server may serve anything as
            "base"); part of the cache key.
        concurrency: calls in flight.
        timeout_s: for a whole call, including slow streams.
        attempts: attempts per call on transport faults and invalid envelopes.
        backoff_s: first wait between attempts.
        backoff_max_s: longest wait between attempts.
        max_retry_after_s: longest wait that a provider may ask for; the job stops beyond it.
        max_held_back_s: longest time that requests wait for the provider's limit without a reply to any; the job stops beyond it.
        structured: how a schema is requested: auto, json_schema, json_object or none.
        system_role: whether the model takes a system message.
        reasoning_model: None decides by name (gpt-5*, o1, o3, ...).
        reasoning_tokens: added to max_tokens for reasoning models, whose hidden reasoning counts against the limit.
        prices: USD per million tokens by model name.
        batch_share: price of a reply from a batch, as a share of the price of a live one.
        offline: send nothing; what the reply cache cannot answer has no reply.
        max_cost_usd: the job stops before its calls cost more, including replies found in the cache.
        mixed_models: whether replies under more than one model name may be used together.
        extra_body: further fields of the request body; part of the cache key.
    """

    model: str
    base_url: str | None = None
    more_urls: tuple[str, ...] = ()
    provider: str = "openai"
    api_version: str = "2024-10-21"
    api_key_env: str | None = None
    identity: str = ""
    concurrency: int = 16
    timeout_s: float = 120.0
    attempts: int = 6
    backoff_s: float = 0.5
    backoff_max_s: float = 60.0
    max_retry_after_s: float = 600.0
    max_held_back_s: float = 900.0
    structured: str = "auto"
    system_role: bool = True
    reasoning_model: bool | None = None
    reasoning_tokens: int = 4096
    prices: Mapping[str, Price] = field(default_factory=dict)
    batch_share: float = 0.5
    offline: bool = False
    max_cost_usd: float | None = None
    mixed_models: bool = False
    extra_body: Mapping[str, Any] = field(default_factory=dict)

    @property
    def addresses(self) -> tuple[str, ...]:
        """All addresses; empty for the provider's own."""
        return () if self.base_url is None else (self.base_url, *self.more_urls)

    @property
    def key_variable(self) -> str:
        """Environment variable that holds the key."""
        default = "AZURE_OPENAI_API_KEY" if self.provider == "azure" else "OPENAI_API_KEY"
        return self.api_key_env or default

    @property
    def is_reasoning_model(self) -> bool:
        """Whether the model refuses sampling settings and requires `max_completion_tokens`."""
        if self.reasoning_model is not None:
            return self.reasoning_model
        return bool(_REASONING.match(self.model.rsplit("/", 1)[-1].lower()))

    def check(self) -> None:
        """Raise one LLMError that lists every problem with these settings."""
        raise_problems("LLM endpoint", self._value_problems() + self._address_problems())

    def _value_problems(self) -> list[str]:
        found = []
        if not self.model:
            found.append("model is empty; name the model to ask")
        if self.provider not in PROVIDERS:
            found.append(f"provider is {self.provider!r}; allowed: {', '.join(PROVIDERS)}")
        if self.structured not in STRUCTURED:
            found.append(f"structured is {self.structured!r}; allowed: {', '.join(STRUCTURED)}")
        for name in ("concurrency", "attempts"):
            if getattr(self, name) < 1:
                found.append(f"{name} is {getattr(self, name)}; allowed: 1 or more")
        for name in ("timeout_s", "backoff_s", "backoff_max_s", "max_retry_after_s", "max_held_back_s"):
            if not getattr(self, name) > 0:
                found.append(f"{name} is {getattr(self, name)}; allowed: above 0")
        if places := list(secret_places(self.extra_body, "extra_body")):
            found.append(
                f"{', '.join(places)} holds what looks like a secret; put the key into {self.key_variable}"
            )
        if self.max_cost_usd is not None and not self.max_cost_usd > 0:
            found.append(f"max_cost_usd is {self.max_cost_usd}; allowed: above 0, or null for no limit")
        return found

    def _address_problems(self) -> list[str]:
        if self.base_url is None:
            missing = "base_url is missing; for provider=azure give https://RESOURCE.openai.azure.com"
            return [missing] if self.provider == "azure" else []
        return [problem for url in self.addresses for problem in self._problems_of(url)]

    def _problems_of(self, url: str) -> list[str]:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            return [f"base_url is not an http(s) address (like http://127.0.0.1:8000/v1), it has "
                    f"scheme {parts.scheme!r}"]  # fmt: skip
        if parts.username or parts.password or parts.query:
            # The address is written into configs and logs, so it must not contain secrets.
            return [
                f"base_url must not carry a user, password or query; put the key into {self.key_variable}"
            ]
        return []


def raise_problems(what: str, problems: list[str]) -> None:
    """Raise an LLMError naming `what` and every problem, or return when there is none."""
    if problems:
        raise LLMError(f"{what}: " + "; ".join(problems) + ".")
