"""`score/self_consistency`: the share of a model's sampled answers that agree with the reference answer.

Answers are sampled from the untuned model of the experiment (in this process or by a vLLM server, depending on `engine`)
or from an OpenAI-compatible endpoint (`sampler=openai`). `samples/<block>.jsonl` stores every text with its answer; a
killed stage continues after the last finished block. Replies of a server or endpoint are also in the reply cache.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eval.self_consistency import final_answer, share_that_agrees
from gip_exp.artifacts import read_pool
from gip_exp.config import Config
from gip_exp.config.base import content
from gip_exp.config.sampler import EndpointSampler, ModelSampler
from gip_exp.errors import UserError
from gip_exp.evaluation.tuned_model import TunedModel, VllmModel, serve
from gip_exp.models import loading
from gip_exp.signals import batches, judge_endpoint, judge_requirements, llm_judge
from gip_exp.signals.table import SOURCE_STAGE, UNSCORED, write_table
from gip_exp.stage import Entries, Job, Stage
from gip_exp.storage.files import read_jsonl, write_jsonl
from gip_exp.storage.row_table import RowTable
from selection.signals import SignalTable

if TYPE_CHECKING:
    from gip_exp.llm.request import Request
    from gip_exp.llm.settings import EndpointSettings

SAMPLES = "samples"
BLOCK = 256  # rows per file when sampling in this process; at most these are lost when a run is killed
NO_REPLY = "no reply: "

Texts = list[list[str | None]]  # samples per row, None for failed ones
Draw = Callable[
    [int, Sequence[str]], tuple[Texts, str]
]  # (block, prompts) -> (texts, first reason for a None)


def _inputs(config: Config) -> tuple[str, ...]:
    reads_base = isinstance(config.sampler, ModelSampler) and config.model.made
    return ("data", "base") if reads_base else ("data",)


def _settings(config: Config, _: Entries) -> dict[str, Any]:
    sampler = {name: value for name, value in content(config.sampler).items() if name != "name"}
    if isinstance(config.sampler, EndpointSampler):
        return sampler
    # In this process, a batch shares one random generator, so the batch size changes the samples.
    batch = {"batch_size": config.engine.batch_size} if config.engine.kind == "hf" else {}
    return {
        **sampler,
        **batch,
        "engine": content(config.engine),
        "prompt": content(config.model.prompt),
        "dtype": config.model.dtype,
        "model": loading.identity(config.model),
    }


def _build(job: Job) -> None:
    examples, sampler = read_pool(job.inputs), job.config.sampler
    references = [final_answer(example["completion"], sampler.answer) for example in examples]
    if not any(reference is not None for reference in references):
        raise UserError(
            "no reference completion ends in a number, so no sample can agree with one: use sampler.answer=text, or a "
            "selector with another signal"
        )
    rows = _sampled(job, examples)
    shares, unscored = _shares(rows, references)
    write_jsonl(job.folder / UNSCORED, unscored)
    _check_unscored(job, unscored, len(examples))
    answers = [sample["answer"] for row in rows for sample in row["samples"]]
    job.draft.facts["samples"] = {
        "drawn": len(answers),
        "without_answer": sum(answer is None for answer in answers),
        "lost": sum(sample["text"] is None for row in rows for sample in row["samples"]),
    }
    ids = tuple(examples.ids)
    title = f"self-consistency, {_model_name(job.config)}, {sampler.samples} samples"
    write_table(job, title, SignalTable(ids, ("self_consistency",), shares[:, None]))


def _model_name(config: Config) -> str:
    return config.model.name if isinstance(config.sampler, ModelSampler) else config.sampler.model


def _sampled(job: Job, examples: RowTable) -> list[dict[str, Any]]:
    """Sample answers to every row, except those in finished blocks of a killed process."""
    folder = job.folder / SAMPLES
    folder.mkdir(exist_ok=True)
    size = BLOCK if _in_process(job.config) else len(examples)
    starts = range(0, len(examples), size)
    paths = {start: folder / f"{start:08d}.jsonl" for start in starts}
    if unfinished := [
        start for start in starts if not _is_complete(paths[start], examples[start : start + size])
    ]:
        title = f"sampling {job.config.sampler.samples} answers per row"
        with _drawing(job) as draw, job.console.bar(title, len(examples)) as bar:
            bar.advance(size * (len(paths) - len(unfinished)), kept=True)
            for start in unfinished:
                block = examples[start : start + size]
                texts, reason = draw(start // size, [example["prompt"] for example in block])
                write_jsonl(paths[start], _rows(block, texts, reason, job.config.sampler.answer))
                bar.advance(len(block))
    return [row for start in starts for row in read_jsonl(paths[start])]


def _is_complete(path: Path, block: RowTable) -> bool:
    try:
        return [row["id"] for row in read_jsonl(path)] == block.ids
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return False


def _rows(block: RowTable, texts: Texts, reason: str, rule: str) -> list[dict[str, Any]]:
    rows = []
    for example, drawn in zip(block, texts, strict=True):
        samples = [
            {"text": text, "answer": None if text is None else final_answer(text, rule)} for text in drawn
        ]
        lost = {"reason": reason} if None in drawn else {}
        rows.append({"id": example["id"], "samples": samples, **lost})
    return rows


def _shares(
    rows: list[dict[str, Any]], references: list[str | None]
) -> tuple[np.ndarray, list[dict[str, str]]]:
    """Return (share per row, NaN if unscored; the unscored rows with reasons).

    A row is scored if more than half of its samples succeeded; a text without an answer counts as disagreement.
    """
    shares, unscored = np.full(len(rows), np.nan), []
    for i, (row, reference) in enumerate(zip(rows, references, strict=True)):
        answers = [sample["answer"] for sample in row["samples"] if sample["text"] is not None]
        if reference is None:
            unscored.append({"id": row["id"], "reason": "the reference completion has no number"})
        elif 2 * len(answers) <= len(row["samples"]):
            unscored.append({"id": row["id"], "reason": NO_REPLY + row["reason"]})
        else:
            shares[i] = share_that_agrees(answers, reference)
    return shares, unscored


def _check_unscored(job: Job, unscored: list[dict[str, str]], n: int) -> None:
    """Raise UserError above `sampler.max_unscored`, after removing the blocks with failed samples."""
    if not unscored:
        return
    what = f"{len(unscored)} of {n} rows have no self-consistency (first: {unscored[0]['id']}: {unscored[0]['reason']})"
    limit = job.config.sampler.max_unscored
    if len(unscored) <= limit * n:
        job.note(what)
        return
    for path in (job.folder / SAMPLES).iterdir():
        if any("reason" in row for row in read_jsonl(path)):
            path.unlink()
    raise UserError(
        f"{what}; sampler.max_unscored allows {limit:.1%}. Successful samples are kept: fix the cause and run again, or "
        "raise sampler.max_unscored"
    )


def _in_process(config: Config) -> bool:
    return isinstance(config.sampler, ModelSampler) and config.engine.kind == "hf"


@contextmanager
def _drawing(job: Job) -> Iterator[Draw]:
    """Provide a function that samples a block: in this process, from a vLLM server, or from an endpoint."""
    sampler = job.config.sampler
    if isinstance(sampler, EndpointSampler):
        where = judge_endpoint.Endpoint(sampler.addresses, sampler.model, "")
        yield _remote(job, judge_endpoint.endpoint_settings(sampler, where), sampler.seed, None)
        return
    tuned = TunedModel(job)
    if _in_process(job.config):
        with tuned.loaded() as model:
            yield _local(tuned, model, sampler)
        return
    with serve(tuned) as served:
        assert isinstance(served, VllmModel)
        # vLLM's CPU engine crashes on requests with a seed and a temperature above 0.
        seed = None if loading.device(job.config) == "cpu" else sampler.seed
        yield _remote(job, served.endpoint(), seed, tuned)


def _local(tuned: TunedModel, model: Any, sampler: ModelSampler) -> Draw:
    from gip_exp.llm.generate import LocalGenerator

    def draw(block: int, prompts: Sequence[str]) -> tuple[Texts, str]:
        seed = 1_000_003 * sampler.seed + block  # a stream per block, so that resuming gives the same samples
        size = tuned.job.config.engine.batch_size
        generator = LocalGenerator(model, tuned.tokenizer, batch_size=size, seed=seed)
        texts = [tuned.render.prompt(prompt) for prompt in prompts]
        columns = [
            generator.generate(
                texts, temperature=sampler.temperature, max_tokens=sampler.max_tokens, sample=number
            )
            for number in range(sampler.samples)
        ]
        return [list(row) for row in zip(*columns, strict=True)], ""

    return draw


def _remote(job: Job, endpoint: "EndpointSettings", seed: int | None, tuned: TunedModel | None) -> Draw:
    """Sample through the reply cache; with `tuned`, prompts have the training format, otherwise they are chat turns."""
    from gip_exp.llm.client import ask_all
    from gip_exp.llm.progress import shown_on
    from gip_exp.llm.request import Fault, Request, cache_key
    from gip_exp.llm.settings import Sampling

    sampler = job.config.sampler
    stop = (tuned.tokenizer.eos_token,) if tuned else ()
    effort = sampler.reasoning_effort if isinstance(sampler, EndpointSampler) else None
    sampling = Sampling(
        sampler.temperature, max_tokens=sampler.max_tokens, seed=seed, stop=stop, reasoning_effort=effort
    )

    def request(prompt: str, number: int) -> "Request":
        if tuned is None:
            return Request(
                messages=({"role": "user", "content": prompt},), sampling=sampling, repetition=number
            )
        return Request(prompt=tuned.render.prompt(prompt), sampling=sampling, repetition=number)

    def draw(_block: int, prompts: Sequence[str]) -> tuple[Texts, str]:
        requests = [request(prompt, number) for prompt in prompts for number in range(sampler.samples)]
        cache = job.config.paths.root / judge_endpoint.CACHE
        at = endpoint
        if isinstance(sampler, EndpointSampler) and sampler.batch and not sampler.offline:
            at = batches.asked(
                lambda replies: [r for r in requests if replies.get(cache_key(r, endpoint)) is None],
                sampler,
                endpoint,
                cache_dir=cache,
                console=job.console,
                job=lambda _: requests,
            )
        with job.console.bar(f"asking {_model_name(job.config)}", len(requests)) as bar:
            outcomes, stats = ask_all(requests, at, cache_dir=cache, progress=shown_on(bar))
        job.draft.facts["llm"] = stats.as_dict()
        llm_judge.say_notes(stats, endpoint.mixed_models, job.console)
        texts = [None if isinstance(outcome, Fault) else outcome.text for outcome in outcomes]
        reason = next((str(outcome) for outcome in outcomes if isinstance(outcome, Fault)), "")
        return [texts[i : i + sampler.samples] for i in range(0, len(texts), sampler.samples)], reason

    return draw


def _missing(config: Config) -> list[str]:
    if isinstance(config.sampler, EndpointSampler):
        return [] if config.sampler.offline else judge_requirements.missing_key(config.sampler, "sampler")
    server = (
        judge_requirements.missing_vllm("engine=vllm", "engine=hf") if config.engine.kind == "vllm" else []
    )
    return loading.missing_requirements(config) + server


STAGE = Stage(
    SOURCE_STAGE["self_consistency"],
    _inputs,
    _settings,
    _build,
    _missing,
    resumable=True,
    needs_device=_in_process,
)
