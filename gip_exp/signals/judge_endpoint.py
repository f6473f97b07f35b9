"""The endpoint of a judge as the client sees it: settings from the config, and the judge's own vLLM server."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gip_exp import device
from gip_exp.config.base import content
from gip_exp.config.judge import LLMJudge
from gip_exp.config.sampler import EndpointSampler
from gip_exp.console import Console

if TYPE_CHECKING:
    from gip_exp.llm.judge_table import JudgeSettings
    from gip_exp.llm.server import VLLMServer
    from gip_exp.llm.settings import EndpointSettings

PROTOCOL = 2  # version of the requests to judges and the parsing of replies; part of the key
CACHE = "llm_cache"  # folder below paths.root with all replies


@dataclass(frozen=True)
class Endpoint:
    """The endpoint of a judge.

    Attributes:
        base_url: Its address; None for the provider's.
        model: Name of the model in requests.
        identity: Identifies the weights if the name of the model does not.
        key_variable: Environment variable of the API key; None for the provider's usual one.
        check_alive: Raises an error if a server started by this process has died.
    """

    base_url: str | None
    model: str
    identity: str
    key_variable: str | None = None
    check_alive: Callable[[], None] = lambda: None


def log_file(root: Path) -> Path:
    """Return the log of a judge's server, one file per process."""
    return root / "logs" / f"judge_vllm_{os.getpid()}.log"


def judge_settings(config: LLMJudge, endpoint: Endpoint) -> "JudgeSettings":
    """Return the settings of `judge_pool` for a judge of the config."""
    from gip_exp.llm.judge_table import JudgeSettings
    from gip_exp.llm.settings import Sampling

    return JudgeSettings(
        endpoint=endpoint_settings(config, endpoint),
        sampling=Sampling(
            temperature=config.temperature,
            max_tokens=config.max_tokens,
            reasoning_effort=config.reasoning_effort,
        ),
        votes=config.votes,
        repeat=config.repeat,
        max_unscored=config.max_unscored,
    )


def endpoint_settings(config: LLMJudge | EndpointSampler, endpoint: Endpoint) -> "EndpointSettings":
    """Return the client's settings for a judge or sampler of the config."""
    from gip_exp.llm.prices import Price
    from gip_exp.llm.settings import EndpointSettings

    return EndpointSettings(
        model=endpoint.model,
        base_url=endpoint.base_url,
        provider=config.provider,
        api_version=config.api_version,
        api_key_env=endpoint.key_variable,
        identity=endpoint.identity,
        concurrency=config.concurrency,
        timeout_s=config.timeout_s,
        prices={name: Price(**price) for name, price in config.prices.items()},
        max_cost_usd=config.max_cost_usd,
        reasoning_model=config.reasoning,
        reasoning_tokens=config.reasoning_tokens,
        mixed_models=config.mixed_models,
        batch_share=config.batch_share,
        offline=config.offline,
        extra_body=config.extra_body,
    )


def identity(config: LLMJudge) -> dict[str, Any]:
    """Return everything about a judge that can change its scores; local weights count by content, not by path."""
    from gip_exp.llm.adapters import fingerprint

    settings = content(config) | {"protocol": PROTOCOL}
    del settings["name"]  # only a label
    if config.kind == "vllm":
        settings["model"] = fingerprint(config.model)
    return settings


def server_of(config: LLMJudge, log: Path) -> "VLLMServer":
    """Return the server of a judge on this machine, not started."""
    from gip_exp.llm.server import ServerSettings, VLLMServer

    settings = ServerSettings(
        model=config.model,
        served_name="judge",
        dtype=config.dtype,
        max_model_len=config.max_model_len,
        extra_args=tuple(config.server_args),
    )
    return VLLMServer(settings, log)


def endpoint_of(config: LLMJudge, log: Path) -> Endpoint:
    """Return the endpoint as identified in the cache, without starting a server."""
    if config.kind == "openai":
        return Endpoint(config.base_url, config.model, "")
    return Endpoint(None, "judge", server_of(config, log).identity("judge"))


@contextmanager
def serving(config: LLMJudge, log: Path, console: Console) -> Iterator[Endpoint]:
    """Provide the endpoint of a judge; a judge on this machine is served meanwhile."""
    if config.kind == "openai" or config.offline:
        yield endpoint_of(config, log)
        return
    with device.reserved_for("a judge's vLLM server"):
        console.say(f"  starting vLLM with {config.model} (log: {log})")
        with server_of(config, log) as server, server.explaining():
            yield Endpoint(
                server.base_url, "judge", server.identity("judge"), server.key_variable, server.check_alive
            )
