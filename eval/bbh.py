"""BIG-Bench Hard through lm-eval's shipped task definitions, from local files or the hub.

Differences from lm-eval: its few-shot tasks stop at the letter "Q", which truncates replies such as "Queen";
here they stop where the next question starts. Its zero-shot tasks with a chain of thought set no length, so
that lm-eval truncates them after 256 tokens; here they get 1,024 like the few-shot ones. Answer extraction is
as shipped: the few-shot rule expects "the answer is X." with the full stop.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.lm_harness import in_memory, run_tasks, shipped_config
from eval.results import EvalResult, Prediction, check_rows, listed
from eval.statistics import Interval, wilson

if TYPE_CHECKING:
    from lm_eval.api.model import LM

HUB = "SaylorTwift/bbh"  # the data set that lm-eval reads
TASKS = (
    "boolean_expressions",
    "causal_judgement",
    "date_understanding",
    "disambiguation_qa",
    "dyck_languages",
    "formal_fallacies",
    "geometric_shapes",
    "hyperbaton",
    "logical_deduction_five_objects",
    "logical_deduction_seven_objects",
    "logical_deduction_three_objects",
    "movie_recommendation",
    "multistep_arithmetic_two",
    "navigate",
    "object_counting",
    "penguins_in_a_table",
    "reasoning_about_colored_objects",
    "ruin_names",
    "salient_translation_error_detection",
    "snarks",
    "sports_understanding",
    "temporal_sequences",
    "tracking_shuffled_objects_five_objects",
    "tracking_shuffled_objects_seven_objects",
    "tracking_shuffled_objects_three_objects",
    "web_of_lies",
    "word_sorting",
)


@dataclass(frozen=True)
class Variant:
    """How one of lm-eval's four sets of BBH tasks is run.

    Attributes:
        rule: name of the lm-eval filter whose outcome counts.
        max_gen_toks: tokens per reply.
        zero_shot: whether prompts can be rendered in the training format.
        ending: text appended to a rendered question.
    """

    rule: str
    max_gen_toks: int
    zero_shot: bool
    ending: str = ""


VARIANTS = {
    "cot_fewshot": Variant("get-answer", 1024, zero_shot=False),
    "fewshot": Variant("none", 256, zero_shot=False),
    "cot_zeroshot": Variant("flexible-extract", 1024, zero_shot=True, ending="\nLet's think step by step."),
    "zeroshot": Variant("flexible-extract", 256, zero_shot=True),
}
NEXT_QUESTION = "\nQ:"


def evaluate(
    model: LM,
    *,
    variant: str = "cot_fewshot",
    tasks: Sequence[str] = TASKS,
    data_dir: Path | None = None,
    limit: int | None = None,
    render: Callable[[str], str] | None = None,
    stop: Sequence[str] = (),
    max_gen_toks: int | None = None,
) -> EvalResult:
    """Compute exact match per task, `bbh/<task>`, and over all questions, `bbh/all`.

    Args:
        model: an lm-eval `LM`.
        variant: cot_fewshot, fewshot, cot_zeroshot or zeroshot.
        tasks: tasks to run, see TASKS.
        data_dir: folder of `<task>.json` files (`{"examples": [{"input", "target"}]}`); None reads the hub.
        limit: use the first questions of each task only.
        render: turns a question into a prompt in the training format, instead of lm-eval's "Q: ... A:"; for
            the zero-shot variants only.
        stop: further stop texts.
        max_gen_toks: tokens per reply; None uses the variant's.

    Returns:
        EvalResult with Wilson intervals; question ids are `<task>/<number>`.

    Raises:
        ValueError: bad arguments, missing or malformed files, or a model that generates nothing.

    Example:
        >>> import tempfile
        >>> from lm_eval.api.model import LM
        >>> class SaysTrue(LM):
        ...     loglikelihood = loglikelihood_rolling = None
        ...     def generate_until(self, requests):
        ...         return ["So the answer is True."] * len(requests)
        >>> questions = [{"input": "not False is", "target": "True"}, {"input": "not True is", "target": "False"}]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "boolean_expressions.json"
        ...     _ = path.write_text(json.dumps({"examples": questions}))
        ...     result = evaluate(SaysTrue(), tasks=["boolean_expressions"], data_dir=Path(folder))
        >>> result.metrics["bbh/all"].value
        0.5
    """
    _check_arguments(variant, tasks, limit, render, max_gen_toks)
    configs = [
        _config(
            task,
            variant,
            read_task(task, data_dir)[:limit],
            render=render,
            stop=stop,
            max_gen_toks=max_gen_toks or VARIANTS[variant].max_gen_toks,
        )
        for task in tasks
    ]
    run = run_tasks(model, configs)
    rule = VARIANTS[variant].rule
    predictions = {f"bbh/{task}": run.tasks[_name(variant, task)][rule] for task in tasks}
    predictions["bbh/all"] = tuple(p for outcomes in predictions.values() for p in outcomes)
    return EvalResult({name: _score(out) for name, out in predictions.items()}, predictions, run.warnings)


def _config(
    task: str,
    variant: str,
    questions: list[dict[str, Any]],
    *,
    render: Callable[[str], str] | None,
    stop: Sequence[str],
    max_gen_toks: int,
) -> dict[str, Any]:
    """Return lm-eval's task with our data, stop texts that cannot truncate an answer, and a reply length."""
    config = shipped_config("bbh", variant, f"{task}.yaml")
    if render is not None:
        before, after = config.pop("description", ""), VARIANTS[variant].ending
        questions = [row | {"prompt": render(before + row["input"] + after)} for row in questions]
        config |= {"doc_to_text": "prompt", "target_delimiter": ""}
    until = [NEXT_QUESTION if text == "Q" else text for text in config["generation_kwargs"]["until"]]
    config["generation_kwargs"] |= {"until": [*until, *stop], "max_gen_toks": max_gen_toks}
    # Given as a column name, because lm-eval would evaluate a target text that looks like a Python list.
    config |= in_memory({"test": questions}) | {"task": _name(variant, task), "doc_to_target": "target"}
    return config


def _name(variant: str, task: str) -> str:
    return f"bbh_{variant}_{task}"


def read_task(task: str, data_dir: Path | None) -> list[dict[str, Any]]:
    """Read the questions of one task.

    Args:
        task: one of TASKS.
        data_dir: folder of `<task>.json` files; None reads the hub.

    Returns:
        Rows with `id`, `input` and `target`.

    Raises:
        ValueError: the file is missing or malformed.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     _ = (Path(folder) / "navigate.json").write_text(
        ...         '{"examples": [{"input": "Turn around twice.", "target": "Yes"}]}'
        ...     )
        ...     read_task("navigate", Path(folder))
        [{'id': 'navigate/0', 'input': 'Turn around twice.', 'target': 'Yes'}]
    """
    if data_dir is None:
        examples = _from_hub(task)
    else:
        file = Path(data_dir) / f"{task}.json"
        if not file.is_file():
            raise ValueError(f"{file} is missing; a folder of BBH holds one <task>.json per task")
        try:
            examples = [dict(row) for row in json.loads(file.read_text(encoding="utf-8"))["examples"]]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f'{file} is not a BBH file {{"examples": [{{...}}]}}: {error!r}') from error
    rows = [
        {"id": f"{task}/{number}", "input": row.get("input"), "target": row.get("target")}
        for number, row in enumerate(examples)
    ]
    check_rows(rows, ("input", "target"), f"{task} question")
    return rows


def _from_hub(task: str) -> Sequence[Mapping[str, Any]]:
    from datasets import load_dataset

    source = shipped_config("bbh", "zeroshot", f"{task}.yaml")
    return list(load_dataset(source["dataset_path"], source["dataset_name"], split=source["test_split"]))


def _score(outcomes: Sequence[Prediction]) -> Interval:
    return wilson(int(sum(p.value for p in outcomes)), len(outcomes))


def _check_arguments(
    variant: str,
    tasks: Sequence[str],
    limit: int | None,
    render: Callable[[str], str] | None,
    max_gen_toks: int | None,
) -> None:
    problems = []
    if variant not in VARIANTS:
        problems.append(f"variant is {variant!r}; allowed are {', '.join(VARIANTS)}")
    elif render is not None and not VARIANTS[variant].zero_shot:
        problems.append(
            f"render cannot be used with the few-shot variant {variant}; use zeroshot or cot_zeroshot"
        )
    unknown = [task for task in tasks if task not in TASKS]
    if unknown or not tasks or len(set(tasks)) < len(tasks):
        problems.append(f"tasks is {list(tasks)}; give one or more different ones of {', '.join(TASKS)}")
    if limit is not None and limit < 1:
        problems.append(f"limit is {limit}; give at least 1 question a task, or nothing for all")
    if max_gen_toks is not None and max_gen_toks < 1:
        problems.append(f"max_gen_toks is {max_gen_toks}; allow at least 1 token")
    if problems:
        raise ValueError(listed(problems))
