"""Any task of lm-eval by name: shipped ones, and YAML files in a folder of one's own.

lm-eval makes the prompts, reads the replies and scores every question, as its command line does; only the outcomes are
kept question by question, so that runs can be compared as for every other evaluation. What lm-eval reports that is
no mean over questions, or where less is better, is left out, with a warning.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.lm_harness import FEWSHOT_SEED, check_model, quiet_lm_eval
from eval.results import EvalResult, Prediction, listed
from eval.statistics import Interval, mean_interval, wilson

if TYPE_CHECKING:
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

GENERATED = "generate_until"  # lm-eval's output_type of a task without likelihoods, and the default


def evaluate(
    model: LM,
    *,
    tasks: Sequence[str],
    include_path: Path | None = None,
    limit: int | None = None,
) -> EvalResult:
    """Compute the metrics of lm-eval's tasks, `lm_eval/<task>.<metric>` or `lm_eval/<task>.<metric>.<filter>`.

    Args:
        model: an lm-eval `LM`.
        tasks: names of tasks, groups or tags; of groups and tags, the tasks in them are reported.
        include_path: folder of further task definitions (YAML), which win over shipped ones of the same name.
        limit: use the first questions of each task only.

    Returns:
        EvalResult with Wilson intervals where every outcome is 0 or 1, else bootstrap intervals.

    Raises:
        ValueError: unknown tasks, or none of their metrics is a mean over questions.

    Example:
        >>> import json, tempfile
        >>> from lm_eval.api.model import LM
        >>> class SaysFour(LM):
        ...     loglikelihood = loglikelihood_rolling = None
        ...     def generate_until(self, requests):
        ...         return ["4"] * len(requests)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = Path(folder, "q.json").write_text('{"q": "2 + 2 =", "a": "4"}')
        ...     definition = {
        ...         "task": "sums", "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": f"{folder}/q.json"}},
        ...         "test_split": "test", "output_type": "generate_until", "doc_to_text": "{{q}}", "doc_to_target": "{{a}}",
        ...         "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        ...     }
        ...     _ = Path(folder, "sums.yaml").write_text(json.dumps(definition))
        ...     evaluate(SaysFour(), tasks=["sums"], include_path=Path(folder)).metrics["lm_eval/sums.exact_match"].value
        1.0
    """
    from lm_eval.evaluator import evaluate as run

    with quiet_lm_eval() as heard:
        loaded = _manager(tuple(tasks), include_path).load(list(tasks))
        for task in loaded["tasks"].values():
            task.set_fewshot_seed(seed=FEWSHOT_SEED)
            check_model(
                model, [{"task": task.task_name, "generation_kwargs": task.config.generation_kwargs or {}}]
            )
        results = run(model, loaded, limit=limit, bootstrap_iters=0)
    assert results is not None  # None is for the other processes of several
    predictions: dict[str, tuple[Prediction, ...]] = {}
    warnings = list(heard)
    for name, task in loaded["tasks"].items():
        kept, left_out = _mean_metrics(task)
        warnings += [f"lm_eval/{name}: {metric} is left out: {why}" for metric, why in left_out.items()]
        found, without = _with_outcome(_outcomes(name, kept, results["samples"][name]))
        predictions |= found
        warnings += without
    if not predictions:
        raise ValueError(
            f"no metric of {listed(list(loaded['tasks']))} is a mean over questions in which more is better"
        )
    if not any(p.output for outcomes in predictions.values() for p in outcomes):
        raise ValueError(
            f"the model generated nothing for any question of {listed(list(loaded['tasks']))}; check the adapter"
        )
    metrics = {name: _interval([p.value for p in outcomes]) for name, outcomes in predictions.items()}
    return EvalResult(metrics, predictions, tuple(dict.fromkeys(warnings)))


def together(results: Sequence[EvalResult]) -> EvalResult:
    """Return the results of several sets of tasks as one.

    Example:
        >>> from eval.results import Prediction
        >>> one, two = (EvalResult({f"lm_eval/{name}.acc": wilson(1, 1)}, {}) for name in "ab")
        >>> list(together([one, two]).metrics)
        ['lm_eval/a.acc', 'lm_eval/b.acc']
    """
    return EvalResult(
        {name: value for result in results for name, value in result.metrics.items()},
        {name: value for result in results for name, value in result.predictions.items()},
        tuple(dict.fromkeys(warning for result in results for warning in result.warnings)),
    )


def by_likelihood(tasks: Sequence[str], include_path: Path | None = None) -> list[str]:
    """Return those of `tasks` in which lm-eval asks for likelihoods, or may do so (tasks made in Python).

    Args:
        tasks: names of tasks, groups or tags.
        include_path: folder of further task definitions.

    Raises:
        ValueError: unknown names.

    Example:
        >>> by_likelihood(["gsm8k", "arc_challenge"])  # doctest: +SKIP
        ['arc_challenge']
    """
    found = {task: definitions([task], include_path).values() for task in tasks}
    return [
        task
        for task, parts in found.items()
        if any(not part or part.get("output_type", GENERATED) != GENERATED for part in parts)
    ]


def definitions(tasks: Sequence[str], include_path: Path | None = None) -> dict[str, Mapping[str, Any]]:
    """Return the definitions of the tasks behind `tasks`, by name, without reading their data.

    Args:
        tasks: names of tasks, groups or tags.
        include_path: folder of further task definitions.

    Returns:
        The entries of each task's YAML, includes resolved, functions as names; empty for tasks made in Python.

    Raises:
        ValueError: unknown names.

    Example:
        >>> definitions(["gsm8k"])["gsm8k"]["dataset_path"]  # doctest: +SKIP
        'openai/gsm8k'
    """
    from lm_eval.tasks._index import Kind

    index = _manager(tuple(tasks), include_path).task_index
    found: dict[str, Mapping[str, Any]] = {}
    waiting = list(tasks)
    while waiting:
        entry = index.get(waiting.pop(0))
        if entry is None or entry.name in found:
            continue
        if entry.kind is Kind.TAG:
            waiting += sorted(entry.tags)
        elif entry.kind is Kind.GROUP:
            members = (entry.cfg or {}).get("task", [])
            members = [members] if isinstance(members, str) else members
            waiting += [one if isinstance(one, str) else str(one.get("task")) for one in members]
        else:
            found[entry.name] = entry.cfg or {}
    return found


def _manager(tasks: tuple[str, ...], include_path: Path | None) -> TaskManager:
    """Return lm-eval's index with these tasks. Raises ValueError for unknown names."""
    from lm_eval.tasks._index import Kind

    if include_path is not None:
        own = _index(include_path, shipped=False)
        entries = [own.task_index.get(task) for task in tasks]
        if tasks and all(entry is not None and entry.kind is Kind.TASK for entry in entries):
            return own
    manager = _index(include_path, shipped=True)
    unknown = [task for task in tasks if task not in manager.task_index]
    if unknown or not tasks:
        why = f"lm-eval has no {listed(unknown)}" if unknown else "it is empty"
        raise ValueError(
            f"tasks is {list(tasks)}: {why}; `lm_eval ls tasks` lists the names, and include_path adds definitions of your own"
        )
    return manager


@cache
def _index(include_path: Path | None, *, shipped: bool) -> TaskManager:
    """Read the definitions in a folder; those that lm-eval ships, thousands, take many seconds."""
    from lm_eval.tasks import TaskManager

    with quiet_lm_eval():
        return TaskManager(include_path=include_path, include_defaults=shipped)


def _mean_metrics(task: Any) -> tuple[list[str], dict[str, str]]:
    """Return the metrics that are means over questions in which more is better, and why the others are not."""
    aggregation, better = task.aggregation(), task.higher_is_better()
    left_out = {}
    for metric, rule in aggregation.items():
        if getattr(rule, "__name__", "") not in ("mean", "nanmean"):
            left_out[metric] = "it is no mean over questions"
        elif not better.get(metric, True):
            left_out[metric] = "less is better"
    return [metric for metric in aggregation if metric not in left_out], left_out


def _outcomes(
    task: str, metrics: Sequence[str], samples: Sequence[Mapping[str, Any]]
) -> dict[str, tuple[Prediction, ...]]:
    """Return the outcome of every question by metric; a filter other than lm-eval's `none` is part of the name."""
    found: dict[str, list[Prediction]] = {}
    for sample in samples:
        question = str(sample["doc"].get("id", sample["doc_id"]))
        rule = "" if sample["filter"] == "none" else f".{sample['filter']}"
        for metric in (metric for metric in metrics if metric in sample):
            prediction = Prediction(
                question, float(sample[metric]), _reply(sample["resps"]), str(sample["target"])
            )
            found.setdefault(f"lm_eval/{task}.{metric}{rule}", []).append(prediction)
    return {name: tuple(predictions) for name, predictions in found.items()}


def _with_outcome(
    predictions: Mapping[str, tuple[Prediction, ...]],
) -> tuple[dict[str, tuple[Prediction, ...]], list[str]]:
    """Leave out outcomes that are NaN, as lm-eval's `nanmean` does; return the others, and warnings."""
    kept, warnings = {}, []
    for name, outcomes in predictions.items():
        known = tuple(one for one in outcomes if not math.isnan(one.value))
        if known:
            kept[name] = known
        if without := len(outcomes) - len(known):
            warnings.append(
                f"{name}: {without:,} of {len(outcomes):,} questions have no outcome and are left out"
                if known
                else f"{name} is left out: no question has an outcome"
            )
    return kept, warnings


def _reply(responses: Any) -> str:
    """Return the reply, or as JSON the log-likelihood of every choice."""
    firsts = [response[0] for response in responses]
    if isinstance(firsts[0], str):
        return firsts[0]
    return json.dumps([first[0] if isinstance(first, Sequence) else first for first in firsts])


def _interval(values: Sequence[float]) -> Interval:
    if set(values) <= {0.0, 1.0}:
        return wilson(int(sum(values)), len(values))
    return mean_interval(values)
