"""The stage outputs that a sweep needs, which of them exist, and the cost of the others. Runs only `data`.

Keys are those of the store. Outputs not made yet are represented by a placeholder with their future key. The key of
training depends on the selected rows; until these are known, it is computed from the key of the selection.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from gip_exp import graph, pipeline, result
from gip_exp.artifacts import POOL, TEST, sizes
from gip_exp.config import STAGES, Config
from gip_exp.config.judge import LLMJudge
from gip_exp.config.sampler import EndpointSampler
from gip_exp.console import Console
from gip_exp.evaluation.mt_bench import mt_bench_turns
from gip_exp.runs.folder import RESULT
from gip_exp.signals.table import SOURCE_STAGE
from gip_exp.stages import data
from gip_exp.storage.files import read_jsonl
from gip_exp.storage.row_table import read_table
from gip_exp.storage.store import Entry, Store, key_of
from gip_exp.sweep.cost_model import Cost, Measured, Rows, Speed, by_rule, on_gpu, run_folder_size, samples
from gip_exp.sweep.plan_folder import PlannedRun

MT_PROMPT, MT_REPLY = 1_800, 400  # tokens per judgement of MT-Bench
# Stage whose calls can go in batches -> the key for it.
BATCHED = {
    "score": "judge.batch",
    SOURCE_STAGE["self_consistency"]: "sampler.batch",
    "evaluate/mt_bench": "evaluation.mt_bench.judge.batch",
}


@dataclass(frozen=True)
class Wanted:
    """A requested run: its config, and its display name."""

    config: Config
    label: str


@dataclass(frozen=True)
class Step:
    """One stage output of a sweep, shared by any number of runs."""

    group: str
    name: str
    key: str
    cached: bool
    cost: Cost
    gpu: bool
    calls: int = 0  # to a judge or endpoint
    usd: float | None = 0.0  # None if the price is unknown
    batch_usd: float | None = 0.0  # the same, with everything in batches that can be


@dataclass
class Estimate:
    """The distinct runs of a sweep, and their stage outputs by (group, key)."""

    runs: list[PlannedRun] = field(default_factory=list)
    configs: list[Config] = field(default_factory=list)
    steps: dict[tuple[str, str], Step] = field(default_factory=dict)
    done: int = 0  # runs whose outputs all exist
    untuned: int = (
        0  # models that are evaluated before fine-tuning too, without a run of their own in the plan
    )
    requested: int = 0  # runs before duplicates were dropped
    folders_left: int = 0  # runs without a result
    folder_size: float | None = (
        None  # median bytes of the folder of a finished run in this store, if there is any
    )


def estimate(wanted: Sequence[Wanted], console: Console, speed: Speed) -> Estimate:
    """Estimate every run; UserError if the rows cannot be read or a budget exceeds the pool."""
    whole = Estimate(requested=len(wanted))
    runs: set[Path] = set()
    # Folder -> keys: seeds share the evaluation of a model from the hub.
    untuned: dict[Path, tuple[str, ...]] = {}
    with console.bar("planning", len(wanted)) as bar:
        for one in wanted:
            bar.advance()
            config = one.config
            folder = _folder(config)
            if folder in runs:
                continue
            runs.add(folder)
            whole.folders_left += not (folder / RESULT).is_file()
            steps = _walk(config, console, speed)
            whole.steps |= {(step.group, step.key): step for step in steps}
            whole.done += all(step.cached for step in steps)
            whole.runs.append(_run(len(whole.runs), one, folder))
            whole.configs.append(config)
            base = config.before_tuning()
            if base is None or (beside := _folder(base)) in untuned:
                continue
            steps = _walk(base, console, speed)
            untuned[beside] = tuple(step.key for step in steps if step.group == "evaluate")
            whole.steps |= {(step.group, step.key): step for step in steps}
    whole.untuned = len({keys for folder, keys in untuned.items() if folder not in runs})
    if whole.configs:
        whole.folder_size = run_folder_size(whole.configs[0].paths.root)
    return whole


def _folder(config: Config) -> Path:
    return result.run_folder(config, graph.run_key(config)).resolve()


def _run(number: int, wanted: Wanted, folder: Path) -> PlannedRun:
    until = wanted.config.until
    ends = f"stopped:{until}" if until else "done"
    selects_on = "gpu" if _selects_on_gpu(wanted.config) else "cpu"
    gpus = getattr(wanted.config.train, "processes", 1) if on_gpu(wanted.config) else 0
    return PlannedRun(number, wanted.label, str(folder), ends, selects_on, gpus)


def _selects_on_gpu(config: Config) -> bool:
    """Return whether the stages up to `select` need the model (LESS, hidden states) or a vLLM server here."""
    wanted = graph.stages(config.model_copy(update={"until": "select"}))
    served = ("score" in wanted and config.judge.kind == "vllm") or (
        "embed" in wanted and config.embedder_used.kind == "vllm"
    )
    return served or (on_gpu(config) and any(stage.needs_device(config) for stage in wanted.values()))


def _walk(config: Config, console: Console, speed: Speed) -> list[Step]:
    store = Store(config.paths.root, on_wait=console.warn)
    entries: dict[str, Entry] = {"data": _data(config, store, console)}
    n_selected = sizes(config, entries)[1]
    rows = _rows(entries["data"].folder)
    if config.budget_unit == "tokens":
        share = config.budget / (rows.tokens * rows.pool) if isinstance(config.budget, int) else config.budget
        n_selected = max(1, round(min(1.0, share) * n_selected))
    steps = []
    for name, stage in graph.stages(config).items():
        identity = stage.identity(config, entries)
        key = key_of(stage.group, identity)
        found = store.find(stage.group, key, contents=False)
        entries[name] = found or _placeholder(stage.group, key, store)
        cost = Cost(0.0, 0.0, "")
        calls: int = 0
        usd: float | None = 0.0
        share, batched = _batches(name, config)
        if found is None:
            measured = _measured(config.paths.root).of(identity, rows.pool, n_selected)
            cost = measured or by_rule(name, config, rows, n_selected, speed)
            calls, usd = _calls(name, key, config, entries["data"].folder)
        gpu = on_gpu(config) and (stage.needs_device(config) or stage.group == "evaluate")
        in_batches = None if usd is None else usd * share
        paid = in_batches if batched else usd
        steps.append(Step(stage.group, name, key, found is not None, cost, gpu, calls, paid, in_batches))
    return steps


def _placeholder(group: str, key: str, store: Store) -> Entry:
    facts = {"digest": f"of {key}"} if group == "select" else {}
    return Entry(
        group, key, store.folder(group, key), {"facts": facts, "seconds": 0.0, "notes": []}, cached=False
    )


def _data(config: Config, store: Store, console: Console) -> Entry:
    found = store.find("data", key_of("data", data.STAGE.identity(config, {})))
    return found or pipeline.outputs(config, ["data"], console)["data"]


@cache
def _measured(root: Path) -> Measured:
    return Measured(root)


@cache
def _rows(folder: Path) -> Rows:
    pool, test = read_table(folder / POOL), read_jsonl(folder / TEST)
    from gip_exp.llm.envelope import guess_tokens

    prompt, completion = (
        sum(guess_tokens(row[part]) for row in pool) / len(pool) for part in ("prompt", "completion")
    )
    return Rows(len(pool), len(test), prompt, completion)


_SCORE_CALLS: dict[str, tuple[int, float | None]] = {}  # cache: key of `score` -> (calls, US dollars)


def _calls(name: str, key: str, config: Config, rows: Path) -> tuple[int, float | None]:
    """Return (calls, US dollars) of the judge or endpoint that a stage uses."""
    if name == "score" and isinstance(config.judge, LLMJudge):
        if key not in _SCORE_CALLS:
            from gip_exp.signals import judge_sample, llm_judge

            pool = read_table(rows / POOL)
            sample = judge_sample.rows(config, len(pool))
            pool = pool if sample is None else pool.take(sample)
            estimate = llm_judge.estimate(pool, config.judge, config.rubric, root=config.paths.root)
            _SCORE_CALLS[key] = (estimate.calls, 0.0 if config.judge.kind == "vllm" else estimate.cost_usd)
        return _SCORE_CALLS[key]
    bench = config.evaluation.mt_bench
    if name == "evaluate/mt_bench" and bench:
        calls = mt_bench_turns(bench.limit_per_category) * bench.repeats
        return calls, _price(bench.judge, calls, MT_PROMPT, MT_REPLY)
    sampler = config.sampler
    if name == SOURCE_STAGE["self_consistency"] and isinstance(sampler, EndpointSampler):
        of = _rows(rows)
        reply = min(sampler.max_tokens, 2 * of.completion_tokens)
        return samples(sampler, of), _price(sampler, samples(sampler, of), of.prompt_tokens, reply)
    return 0, 0.0


def _batches(name: str, config: Config) -> tuple[float, bool]:
    """Return (price in a batch as a share of the live one, whether batches are used) for the calls of a stage."""
    asked: LLMJudge | EndpointSampler | None = None
    if name == "score" and isinstance(config.judge, LLMJudge):
        asked = config.judge
    if name == SOURCE_STAGE["self_consistency"] and isinstance(config.sampler, EndpointSampler):
        asked = config.sampler
    if name == "evaluate/mt_bench" and config.evaluation.mt_bench is not None:
        asked = config.evaluation.mt_bench.judge
    return (asked.batch_share, asked.batch) if asked and asked.kind == "openai" else (1.0, False)


def _price(endpoint: LLMJudge | EndpointSampler, calls: int, prompt: float, reply: float) -> float | None:
    """Return the price in US dollars of calls with `prompt` and `reply` tokens each; None if unknown."""
    from gip_exp.llm.prices import Price, find_price

    if endpoint.kind == "vllm":
        return 0.0
    price = find_price({name: Price(**price) for name, price in endpoint.prices.items()}, endpoint.model)
    return None if price is None else price.cost(round(calls * prompt), round(calls * reply))


def by_group(steps: Mapping[Any, Step]) -> dict[str, list[Step]]:
    """Group the stage outputs by stage, in the order of the pipeline."""
    found: dict[str, list[Step]] = {}
    for step in steps.values():
        found.setdefault(step.group, []).append(step)
    return {group: found[group] for group in STAGES if group in found}
