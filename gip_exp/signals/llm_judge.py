"""Judging a pool by an LLM: the adapter from the config to `gip_exp.llm`, including the judge's vLLM server."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gip_exp import device
from gip_exp.config.base import content
from gip_exp.config.judge import LLMJudge
from gip_exp.config.rubric import Rubric
from gip_exp.config.sampler import EndpointSampler
from gip_exp.console import Console
from gip_exp.errors import UserError
from gip_exp.models import hub, loading
from gip_exp.signals import batches, lifetime

if TYPE_CHECKING:
    from gip_exp.llm.estimate import Estimate
    from gip_exp.llm.judge_table import JudgeSettings, JudgeTable
    from gip_exp.llm.request import Fault, Reply, Stats
    from gip_exp.llm.server import VLLMServer
    from gip_exp.llm.settings import EndpointSettings

TRUSTING = "--trust-remote-code"  # option of vLLM, in judge.server_args
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


def judge(
    examples: Sequence[dict[str, str]], config: LLMJudge, rubric: Rubric, *, root: Path, console: Console
) -> tuple["JudgeTable", str]:
    """Judge every example; return (table, transcript of the first example). Replies are cached below `root`.

    Raises:
        UserError: the judge failed; or `judge.dry_run=true`, with the number of calls, tokens and dollars.
    """
    from gip_exp.llm.judge import judge_pool
    from gip_exp.llm.progress import describe, shown_on
    from gip_exp.llm.rubric import Rubric as LLMRubric
    from gip_exp.llm.transcript import transcript

    parsed = LLMRubric.from_mapping(rubric.model_dump())
    cache = root / CACHE
    if config.dry_run:
        raise UserError(
            f"judge.dry_run=true, so no requests were sent. {estimate(examples, config, rubric, root=root)}. "
            "Set judge.dry_run=false to send them"
        )
    with _endpoint(config, _log(root), console) as endpoint:
        settings, start = _settings(config, endpoint), time.monotonic()
        if config.batch and not config.offline:
            settings = batches.judged(examples, parsed, settings, config, cache_dir=cache, console=console)
        with console.bar(f"judging with {config.name}", len(examples)) as bar:
            table = judge_pool(examples, parsed, settings, cache_dir=cache, progress=shown_on(bar))
        console.say(f"  judged with {config.name}: {describe(table.stats, time.monotonic() - start)}")
        say_notes(table.stats, config.mixed_models, console)
        return table, transcript(examples[0], parsed, settings, cache_dir=cache)


def say_notes(stats: "Stats", mixed: bool, console: Console) -> None:
    """Print what was not sent because the endpoint refuses it, and a mixture of models; both are in the stats."""
    for note in stats.notes:
        console.warn(note)
    if mixed and len(stats.models) > 1:
        counts = ", ".join(f"{n:,} from {name}" for name, n in stats.models.items())
        console.warn(f"replies of several models are used together (mixed_models=true): {counts}")


def estimate(
    examples: Sequence[dict[str, str]], config: LLMJudge, rubric: Rubric, *, root: Path
) -> "Estimate":
    """Estimate calls, tokens and dollars for the examples without a cached reply; no request is sent."""
    from gip_exp.llm.estimate import estimate_pool
    from gip_exp.llm.rubric import Rubric as LLMRubric

    settings = _settings(config, _endpoint_of(config, _log(root)))
    return estimate_pool(
        examples, LLMRubric.from_mapping(rubric.model_dump()), settings, cache_dir=root / CACHE
    )


def _log(root: Path) -> Path:
    """Return the log of a judge's server, one file per process."""
    return root / "logs" / f"judge_vllm_{os.getpid()}.log"


class Grader:
    """Sends conversations to a judge; all calls share one money limit and one set of counts (`stats`)."""

    def __init__(self, config: LLMJudge, endpoint: Endpoint, root: Path, console: Console) -> None:
        from gip_exp.llm.job import Job

        self._name, self._root, self._console, self._endpoint = config.name, root, console, endpoint
        self._settings = _settings(config, endpoint)
        self._job = Job(config.max_cost_usd)

    @property
    def stats(self) -> "Stats":
        """Counts of all calls so far."""
        return self._job.stats

    def __call__(
        self, conversations: Sequence[Any], repeat: int, attempt: int = 0
    ) -> list[tuple[str | None, str]]:
        """Return (text, "") or (None, reason) for each conversation.

        Args:
            conversations: what to send.
            repeat: number of the repeat; another number is another request.
            attempt: number of the attempt; the same.
        """
        from gip_exp.llm.client import ask_all
        from gip_exp.llm.progress import shown_on
        from gip_exp.llm.request import Fault, Request

        sampling = self._settings.sampling
        requests = [
            Request(tuple(conversation), sampling=sampling, repetition=repeat, attempt=attempt)
            for conversation in conversations
        ]
        with self._console.bar(f"grading with {self._name}", len(requests)) as bar:
            outcomes, _ = ask_all(
                requests,
                self._settings.endpoint,
                cache_dir=self._root / CACHE,
                progress=shown_on(bar),
                job=self._job,
            )
        if any(isinstance(one, Fault) for one in outcomes):
            self._endpoint.check_alive()
        return [_read(one) for one in outcomes]


@contextmanager
def grader(config: LLMJudge, *, root: Path, console: Console) -> Iterator[Grader]:
    """Provide a grader; at the end, print its calls and what they cost."""
    from gip_exp.llm.progress import describe

    if config.dry_run:
        raise UserError(
            "dry_run=true is only available for scoring a pool (judge.dry_run), not for the judge of an evaluation: unset "
            "it"
        )
    with _endpoint(config, _log(root), console) as endpoint:
        start, grade = time.monotonic(), Grader(config, endpoint, root, console)
        try:
            yield grade
        finally:
            if grade.stats.calls:
                console.say(f"  graded with {config.name}: {describe(grade.stats, time.monotonic() - start)}")
                say_notes(grade.stats, config.mixed_models, console)


def _read(outcome: "Reply | Fault") -> tuple[str | None, str]:
    """Return (text, "") or (None, reason). A truncated reply fails, because it may lack the rating or quote another."""
    from gip_exp.llm.request import Fault

    if isinstance(outcome, Fault):
        return None, str(outcome)
    if outcome.finish_reason == "length":
        return None, "the reply was truncated; raise max_tokens"
    return outcome.text, ""


def _settings(config: LLMJudge, endpoint: Endpoint) -> "JudgeSettings":
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


def _server(config: LLMJudge, log: Path) -> "VLLMServer":
    from gip_exp.llm.server import ServerSettings, VLLMServer

    settings = ServerSettings(
        model=config.model,
        served_name="judge",
        dtype=config.dtype,
        max_model_len=config.max_model_len,
        extra_args=tuple(config.server_args),
    )
    return VLLMServer(settings, log)


def _endpoint_of(config: LLMJudge, log: Path) -> Endpoint:
    """Return the endpoint as identified in the cache, without starting a server."""
    if config.kind == "openai":
        return Endpoint(config.base_url, config.model, "")
    return Endpoint(None, "judge", _server(config, log).identity("judge"))


@contextmanager
def _endpoint(config: LLMJudge, log: Path, console: Console) -> Iterator[Endpoint]:
    if config.kind == "openai" or config.offline:
        yield _endpoint_of(config, log)
        return
    with device.reserved_for("a judge's vLLM server"):
        console.say(f"  starting vLLM with {config.model} (log: {log})")
        with _server(config, log) as server, server.explaining():
            yield Endpoint(
                server.base_url, "judge", server.identity("judge"), server.key_variable, server.check_alive
            )


def missing_vllm(what: str, instead: str) -> list[str]:
    """Return a problem if vLLM is not installed."""
    from importlib.util import find_spec

    return [] if find_spec("vllm") else [f"{what} needs vLLM: pip install 'gip-exp[vllm]', or use {instead}"]


def missing_judge(config: LLMJudge, key: str = "judge") -> list[str]:
    """Return the unmet requirements of the judge at the config key `key`."""
    if config.dry_run:
        return [] if key == "judge" else [f"{key}.dry_run=true: only judge.dry_run is available; unset it"]
    if config.batch and (config.kind == "vllm" or key != "judge"):
        return [
            f"{key}.batch=true: only judge=openai and sampler=openai have batches, for scoring and sampling; unset it"
        ]
    if config.offline:
        return []
    if config.kind == "vllm":
        weights = loading.missing_weights(
            config.model, None, f"{key}.model", trusted=TRUSTING in config.server_args
        )
        return missing_vllm(f"{key}=vllm", f"{key}=openai") + weights
    instead = ", or use judge=rules" if key == "judge" else ""
    return lifetime.ended(config, key) or missing_key(config, key, instead)


def missing_rubric(rubric: Rubric) -> list[str]:
    """Return a problem if the rubric is not valid for an LLM judge."""
    from gip_exp.llm.errors import LLMError
    from gip_exp.llm.rubric import Rubric as LLMRubric

    try:
        LLMRubric.from_mapping(rubric.model_dump())
    except LLMError as error:
        return [str(error)]
    return []


def missing_key(config: LLMJudge | EndpointSampler, key: str, instead: str = "") -> list[str]:
    """Return a problem if an endpoint's API key is missing or its server does not answer."""
    variable = "AZURE_OPENAI_API_KEY" if config.provider == "azure" else "OPENAI_API_KEY"
    if config.provider == "azure" and config.base_url is None:
        return [f"{key}.base_url: provider=azure needs it, https://RESOURCE.openai.azure.com"]
    if config.base_url is None and os.environ.get("OPENAI_BASE_URL", "").strip():
        return [
            f"OPENAI_BASE_URL is set, but which server replied must be in the config: give {key}.base_url, or unset "
            "OPENAI_BASE_URL"
        ]
    if (config.base_url is not None and config.provider == "openai") or os.environ.get(variable):
        return [] if config.base_url is None else hub.missing_server(f"{key}.base_url", config.base_url)
    return [
        f"{key}: {config.model} needs {variable}: export it, or give {key}.base_url (a local server needs no key){instead}"
    ]
