"""The endpoint of a judge as the client sees it: settings from the config, and the judge's own vLLM server."""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gip_exp import device
from gip_exp.config.base import content
from gip_exp.config.judge import LLMJudge
from gip_exp.config.sampler import EndpointSampler
from gip_exp.console import Console
from gip_exp.models.packaged import resolved

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
        addresses: Where it answers; empty for the provider's own.
        model: Name of the model in requests.
        identity: Identifies the weights if the name of the model does not.
        key_variable: Environment variable of the API key; None for the provider's usual one.
        check_alive: Raises an error if a server started by this process has died.
    """

    addresses: tuple[str, ...]
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
        base_url=next(iter(endpoint.addresses), None),
        more_urls=endpoint.addresses[1:],
        provider=config.provider,
        api_version=config.api_version,
        api_key_env=endpoint.key_variable or config.key_variable,
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
        settings["model"] = fingerprint(resolved(config.model))
    return settings


def server_of(config: LLMJudge, log: Path, place: str) -> "VLLMServer":
    """Return the server of a judge on this machine, not started; `place` is the model's folder or hub id."""
    from gip_exp.llm.server import ServerSettings, VLLMServer

    settings = ServerSettings(
        model=place,
        served_name="judge",
        dtype=config.dtype,
        max_model_len=config.max_model_len,
        extra_args=(*_sharing(config), *config.server_args),
    )
    return VLLMServer(settings, log)


def _sharing(config: LLMJudge) -> list[str]:
    """Return vLLM's options for reading the rubric once, and for several copies of the model."""
    options = ["--enable-prefix-caching"]
    copies = config.replicas or _gpus() // _gpus_of_a_copy(config.server_args)
    own = any(word.partition("=")[0] in ("--data-parallel-size", "-dp") for word in config.server_args)
    return options if own or copies < 2 else [*options, f"--data-parallel-size={copies}"]


def _gpus() -> int:
    """Return how many GPUs this process may use."""
    import torch

    return torch.cuda.device_count()


def _gpus_of_a_copy(server_args: list[str]) -> int:
    """Return how many GPUs a copy of the model takes, by vLLM's options for tensor and pipeline parallelism."""
    names = ("--tensor-parallel-size", "-tp", "--pipeline-parallel-size", "-pp")
    words = [part for word in server_args for part in word.split("=", 1)]
    sizes = [value for name, value in pairwise(words) if name in names]
    return math.prod(int(value) for value in sizes if value.isdigit() and int(value))


def endpoint_of(config: LLMJudge) -> Endpoint:
    """Return the endpoint as identified in the cache, without starting a server."""
    if config.kind == "openai":
        return Endpoint(config.addresses, config.model, "")
    return Endpoint((), "judge", weights(config))


def weights(config: LLMJudge) -> str:
    """Return what identifies the weights of a judge on this machine: its files, or its GGUF file, and the precision."""
    from gip_exp.llm.adapters import fingerprint

    return f"{fingerprint(resolved(config.model))}-{config.dtype}"


@contextmanager
def serving(config: LLMJudge, log: Path, console: Console, place: str) -> Iterator[Endpoint]:
    """Provide the endpoint of a judge; a judge on this machine is served meanwhile, from the folder or hub id `place`."""
    if config.kind == "openai" or config.offline:
        yield endpoint_of(config)
        return
    with device.reserved_for("a judge's vLLM server"):
        console.say(f"  starting vLLM with {config.model} (log: {log})")
        with server_of(config, log, place) as server, server.explaining():
            yield Endpoint(
                (server.base_url,), "judge", weights(config), server.key_variable, server.check_alive
            )
