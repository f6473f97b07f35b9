"""A judge's or sampler's requests through the batch endpoint of its provider (`judge.batch=true`, `sampler.batch=true`)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gip_exp.config.judge import LLMJudge
from gip_exp.config.sampler import EndpointSampler
from gip_exp.console import Console

if TYPE_CHECKING:
    from gip_exp.llm.batch import Wanted
    from gip_exp.llm.cache import Cache
    from gip_exp.llm.judge_table import JudgeSettings
    from gip_exp.llm.request import Request
    from gip_exp.llm.rubric import Rubric
    from gip_exp.llm.settings import EndpointSettings


def judged(
    examples: Sequence[dict[str, str]],
    rubric: "Rubric",
    settings: "JudgeSettings",
    config: LLMJudge,
    *,
    cache_dir: Path,
    console: Console,
) -> "JudgeSettings":
    """Have a pool judged through batches; return the settings for reading the verdicts from the cache."""
    from gip_exp.llm.estimate import walk

    def walks(cache: "Cache") -> Iterator[tuple[list["Request"], "Request | None"]]:
        return (walk(e, rubric, settings, vote, cache) for e in examples for vote in range(settings.votes))

    endpoint = asked(
        lambda cache: [request for _, request in walks(cache) if request is not None],
        config,
        settings.endpoint,
        cache_dir=cache_dir,
        console=console,
        job=lambda cache: [
            request for answered, rest in walks(cache) for request in [*answered, rest] if request
        ],
    )
    return replace(settings, endpoint=endpoint)


def asked(
    wanted: "Wanted",
    config: LLMJudge | EndpointSampler,
    endpoint: "EndpointSettings",
    *,
    cache_dir: Path,
    console: Console,
    job: "Wanted",
) -> "EndpointSettings":
    """Have requests answered through batches; return the endpoint that the caller then asks.

    Its replies are in the cache; what the batches left is asked live, or with `batch_rest` other than `live` not at all.
    Arguments as for `gip_exp.llm.batch.complete`, which also raises its errors.
    """
    from gip_exp.llm.batch import BatchSettings, complete

    batch = BatchSettings(rest=config.batch_rest, wait_s=60 * config.batch_wait_min)
    outcome = complete(wanted, endpoint, batch, cache_dir=cache_dir, say=console.say, job=job)
    if outcome.left:
        then = "asked live, at the full price" if config.batch_rest == "live" else "left without a reply"
        why = "; ".join(f"{count:,} x {reason}" for reason, count in outcome.reasons.items())
        console.say(f"  {outcome.left:,} requests came back from no batch ({why}): {then}")
    return endpoint if config.batch_rest == "live" else replace(endpoint, offline=True)
