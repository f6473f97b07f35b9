"""BIG-Bench Hard through lm-eval's shipped task definitions, from local files or the hub.

Changed against lm-eval, for every variant: the few-shot tasks stop at the letter "Q", which cuts replies
such as "Queen" short; here they stop where a next question starts. The zero-shot tasks with a chain of
thought name no length, so that lm-eval would cut them after 256 tokens; here they get 1,024, as the
few-shot ones. Kept as shipped: the extraction of answers. The few-shot rule wants "the answer is X." with
its full stop.
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

HUB = "SaylorTwift/bbh"  # where lm-eval takes the questions from
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
    """How one of lm-eval's four sets of BBH tasks is run: the rule that counts, the tokens a reply gets."""

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
    """Exact match per task, `bbh/<task>`, and over all questions together, `bbh/all`, with Wilson intervals.

    `model` is an lm-eval `LM`; `data_dir` holds `<task>.json` files (`{"examples": [{"input",
    "target"}]}`), else the hub is asked; `limit` takes the first questions of each task. `render` turns a
    task's question into a prompt in the training format, in place of lm-eval's "Q: ... A:"; only the
    zero-shot variants have room for it. `stop` adds stop texts; `max_gen_toks` overrides the variant's.
    Question ids are `<task>/<number>`.
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
    """lm-eval's task with our data, a stop that cannot cut an answer, and a length."""
    config = shipped_config("bbh", variant, f"{task}.yaml")
    if render is not None:
        before, after = config.pop("description", ""), VARIANTS[variant].ending
        questions = [row | {"prompt": render(before + row["input"] + after)} for row in questions]
        config |= {"doc_to_text": "prompt", "target_delimiter": ""}
    until = [NEXT_QUESTION if text == "Q" else text for text in config["generation_kwargs"]["until"]]
    config["generation_kwargs"] |= {"until": [*until, *stop], "max_gen_toks": max_gen_toks}
    # By column name: lm-eval would evaluate a target that looks like a Python list.
    config |= in_memory({"test": questions}) | {"task": _name(variant, task), "doc_to_target": "target"}
    return config


def _name(variant: str, task: str) -> str:
    return f"bbh_{variant}_{task}"


def read_task(task: str, data_dir: Path | None) -> list[dict[str, Any]]:
    """Rows `{"id", "input", "target"}` of one task."""
    if data_dir is None:
        examples = _from_hub(task)
    else:
        file = Path(data_dir) / f"{task}.json"
        if not file.is_file():
            raise ValueError(f"{file} is missing; a folder of BBH holds one <task>.json a task")
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
            f"render has no place in the few-shot variant {variant}; use zeroshot or cot_zeroshot"
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
