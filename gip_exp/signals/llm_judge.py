"""Judging a pool, or conversations, by an LLM: the adapter from the config to `gip_exp.llm`."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gip_exp.config.judge import LLMJudge
from gip_exp.config.rubric import Rubric
from gip_exp.console import Console
from gip_exp.errors import Answered, UserError
from gip_exp.signals import batches, judge_sample
from gip_exp.signals.judge_endpoint import CACHE, Endpoint, endpoint_of, judge_settings, log_file, serving

if TYPE_CHECKING:
    from gip_exp.llm.estimate import Estimate
    from gip_exp.llm.judge_table import JudgeTable
    from gip_exp.llm.request import Fault, Reply, Request, Stats
    from gip_exp.llm.settings import EndpointSettings


def judge(
    examples: Sequence[dict[str, str]],
    config: LLMJudge,
    rubric: Rubric,
    *,
    root: Path,
    console: Console,
    place: str,
    whole: Sequence[dict[str, str]] = (),
) -> tuple["JudgeTable", str]:
    """Judge every example; return (table, transcript of the first example). Replies are cached below `root`.

    Args:
        examples: the rows to judge.
        config: the judge.
        rubric: what is graded.
        root: `paths.root`.
        console: where to print.
        place: folder or hub id of a judge's model that vLLM serves here.
        whole: the pool, if `examples` is a sample of it: its price is printed.

    Raises:
        UserError: the judge failed.
        Answered: `judge.dry_run=true`; the number of calls, tokens and dollars.
    """
    from gip_exp.llm.judge import judge_pool
    from gip_exp.llm.progress import describe, shown_on
    from gip_exp.llm.rubric import Rubric as LLMRubric
    from gip_exp.llm.transcript import transcript

    parsed = LLMRubric.from_mapping(rubric.model_dump())
    cache = root / CACHE
    sampled = len(examples) < len(whole)
    if config.dry_run:
        price = f"{estimate(examples, config, rubric, root=root)}"
        price += f"; the whole pool, {estimate(whole, config, rubric, root=root)}" if sampled else ""
        raise Answered(
            f"judge.dry_run=true, so no requests were sent to {config.model}. {price}. Set judge.dry_run=false to send them"
        )
    with serving(config, log_file(root), console, place) as endpoint:
        settings, start = judge_settings(config, endpoint), time.monotonic()
        if config.batch and not config.offline:
            settings = batches.judged(examples, parsed, settings, config, cache_dir=cache, console=console)
        with console.bar(f"judging with {config.name}", len(examples)) as bar:
            table = judge_pool(examples, parsed, settings, cache_dir=cache, progress=shown_on(bar))
        console.say(f"  judged with {config.name}: {describe(table.stats, time.monotonic() - start)}")
        say_notes(table.stats, config.mixed_models, console)
        told = transcript(examples[0], parsed, settings, cache_dir=cache)
    if sampled:
        rest = estimate(whole, config, rubric, root=root)
        price = judge_sample.price(rest, len(whole), len(examples), table.stats.job_usd)
        console.say(f"  {price}")
    return table, told


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

    settings = judge_settings(config, endpoint_of(config))
    return estimate_pool(
        examples, LLMRubric.from_mapping(rubric.model_dump()), settings, cache_dir=root / CACHE
    )


class Grader:
    """Sends conversations to a judge; all calls share one money limit and one set of counts (`stats`).

    With `batch`, the first call sends all `repeats` of its conversations in one batch, so that they are waited for once.
    """

    def __init__(
        self, config: LLMJudge, endpoint: Endpoint, root: Path, console: Console, repeats: int
    ) -> None:
        from gip_exp.llm.job import Job

        self._config, self._root, self._console, self._endpoint = config, root, console, endpoint
        self._settings = judge_settings(config, endpoint)
        self._job = Job(config.max_cost_usd)
        self._repeats = repeats
        self._batched: list[Request] = []  # all that went through batches; they share the money limit

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
        from gip_exp.llm.request import Fault

        requests = self._requests(conversations, repeat, attempt)
        endpoint = self._settings.endpoint
        if self._config.batch and not self._config.offline:
            endpoint = self._in_batches(conversations, repeat, attempt)
        with self._console.bar(f"grading with {self._config.name}", len(requests)) as bar:
            outcomes, _ = ask_all(
                requests,
                endpoint,
                cache_dir=self._root / CACHE,
                progress=shown_on(bar),
                job=self._job,
            )
        if any(isinstance(one, Fault) for one in outcomes):
            self._endpoint.check_alive()
        return [_read(one) for one in outcomes]

    def _requests(self, conversations: Sequence[Any], repeat: int, attempt: int) -> "list[Request]":
        from gip_exp.llm.request import Request

        sampling = self._settings.sampling
        return [
            Request(tuple(conversation), sampling=sampling, repetition=repeat, attempt=attempt)
            for conversation in conversations
        ]

    def _in_batches(self, conversations: Sequence[Any], repeat: int, attempt: int) -> "EndpointSettings":
        """Have the conversations answered by batches; return the endpoint that is asked for what these left."""
        from gip_exp.llm.request import cache_key

        repeats = range(repeat, self._repeats) if (repeat, attempt) == (0, 0) else [repeat]
        sent = [one for number in repeats for one in self._requests(conversations, number, attempt)]
        self._batched += sent
        endpoint = self._settings.endpoint
        return batches.asked(
            lambda cache: [one for one in sent if cache.get(cache_key(one, endpoint)) is None],
            self._config,
            endpoint,
            cache_dir=self._root / CACHE,
            console=self._console,
            job=lambda _: self._batched,
        )


@contextmanager
def grader(
    config: LLMJudge, *, root: Path, console: Console, place: str, repeats: int = 1
) -> Iterator[Grader]:
    """Provide a grader for so many repeats (`place` as for `judge`); at the end, print its calls and what they cost."""
    from gip_exp.llm.progress import describe

    if config.dry_run:
        raise UserError(
            "dry_run=true is only available for scoring a pool (judge.dry_run), not for the judge of an evaluation: unset "
            "it"
        )
    with serving(config, log_file(root), console, place) as endpoint:
        start, grade = time.monotonic(), Grader(config, endpoint, root, console, repeats)
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
