"""GSM8K few-shot, a task of BBH and tasks of any kind against lm-eval's own entry point, with a scripted model."""

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gip_exp.parity.agreement import Outcome, Pool, timed

QUESTIONS = 24
METRIC = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}


def scripted() -> Any:
    """Return an lm-eval model that records its prompts and answers by a rule: some right, some wrong."""
    from lm_eval.api.model import LM

    class Scripted(LM):
        def __init__(self) -> None:
            super().__init__()
            self.prompts: list[str] = []

        def generate_until(self, requests: list[Any]) -> list[str]:
            texts = [request.args[0] for request in requests]
            self.prompts += texts
            return [_answer(text) for text in texts]

        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            pairs = [request.args for request in requests]
            self.prompts += ["".join(pair) for pair in pairs]
            return [(-float(sum(map(ord, prompt + choice)) % 7), False) for prompt, choice in pairs]

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            raise NotImplementedError

    return Scripted()


def gsm8k_and_lm_eval(pool: Pool) -> Outcome:
    """Compare `gsm8k_few_shot` with lm-eval's `gsm8k` as shipped, both on generated questions."""
    from eval.gsm8k import few_shot
    from eval.lm_harness import shipped_config

    rows = {name: _word_problems(pool, name) for name in ("train", "test")}
    config = shipped_config("gsm8k", "gsm8k.yaml")
    with _local(config, rows) as local:
        ours, ours_s = timed(
            lambda: _ours(lambda model: few_shot(model, train=rows["train"], test=rows["test"]))
        )
        theirs, theirs_s = timed(lambda: _theirs([local]))
    scores = {f"exact_match,{rule}": f"gsm8k/few_shot_{name}" for rule, name in _RULES.items()}
    return _compared(ours, theirs, {("gsm8k", rule): name for rule, name in scores.items()}, ours_s, theirs_s)


_RULES = {"strict-match": "exact_match", "flexible-extract": "flexible_match"}


def bbh_and_lm_eval(pool: Pool) -> Outcome:
    """Compare our `boolean_expressions` of BBH (3 worked examples) with lm-eval's as shipped."""
    from eval import bbh
    from eval.lm_harness import shipped_config

    rng = pool.random("bbh")
    pairs = [rng.integers(2, size=2).astype(bool).tolist() for _ in range(QUESTIONS)]
    rows = [{"input": f"not {a} and {b} is", "target": str(not a and b)} for a, b in pairs]
    config = shipped_config("bbh", "cot_fewshot", "boolean_expressions.yaml")
    name = config["task"]
    with tempfile.TemporaryDirectory() as folder, _local(config, {"test": rows}) as local:
        Path(folder, "boolean_expressions.json").write_text(json.dumps({"examples": rows}), encoding="utf-8")
        options: dict[str, Any] = {"tasks": ["boolean_expressions"], "data_dir": Path(folder)}
        ours, ours_s = timed(lambda: _ours(lambda model: bbh.evaluate(model, **options)))
        theirs, theirs_s = timed(lambda: _theirs([local]))
    return _compared(
        ours, theirs, {(name, "exact_match,get-answer"): "bbh/boolean_expressions"}, ours_s, theirs_s
    )


def any_task_and_lm_eval(pool: Pool) -> Outcome:
    """Compare `evaluation=[lm_eval]` on a task that generates and on one that chooses, defined in YAML."""
    from eval import lm_eval_tasks

    numbers = pool.random("sums").integers(1, 50, size=QUESTIONS).tolist()
    rows = [{"q": f"{n} + {n} =", "a": str(2 * n), "wrong": str(2 * n + 1)} for n in numbers]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "rows.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        for task, definition in _definitions(path).items():
            (folder / f"{task}.yaml").write_text(json.dumps(definition), encoding="utf-8")
        tasks = ["parity_sums", "parity_choices"]
        options: dict[str, Any] = {"tasks": tasks, "include_path": folder}
        ours, ours_s = timed(lambda: _ours(lambda model: lm_eval_tasks.evaluate(model, **options)))
        theirs, theirs_s = timed(lambda: _theirs(tasks, folder))
    metrics = {
        ("parity_sums", "exact_match,none"): "lm_eval/parity_sums.exact_match",
        ("parity_choices", "acc,none"): "lm_eval/parity_choices.acc",
    }
    return _compared(ours, theirs, metrics, ours_s, theirs_s)


def _definitions(path: Path) -> dict[str, dict[str, Any]]:
    data = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(path)}},
        "test_split": "test",
    }
    sums = {
        "output_type": "generate_until",
        "fewshot_split": "test",
        "num_fewshot": 2,
        "metric_list": [METRIC],
    }
    choices = {"output_type": "multiple_choice", "doc_to_choice": ["{{a}}", "{{wrong}}"]}
    accuracy = {"metric": "acc", "aggregation": "mean", "higher_is_better": True}
    return {
        "parity_sums": {
            "task": "parity_sums", "doc_to_text": "{{q}}", "doc_to_target": "{{a}}", **data, **sums
        },
        "parity_choices": {
            "task": "parity_choices", "doc_to_text": "{{q}}", "doc_to_target": 0, "metric_list": [accuracy], **data, **choices
        },
    }  # fmt: skip


def _word_problems(pool: Pool, name: str) -> list[dict[str, str]]:
    rng = pool.random(name)
    pairs = rng.integers(2, 40, size=(QUESTIONS, 2)).tolist()
    return [
        {"question": f"Ana has {a} coins and finds {b} more. How many coins has she?",
         "answer": f"She has {a} + {b} = <<{a}+{b}={a + b}>>{a + b} coins.\n#### {a + b}"}
        for a, b in pairs
    ]  # fmt: skip


@contextlib.contextmanager
def _local(
    config: Mapping[str, Any], splits: Mapping[str, Sequence[Mapping[str, Any]]]
) -> Iterator[dict[str, Any]]:
    """A shipped task that reads these rows from files instead of its data set on the hub."""
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for name, rows in splits.items():
            path = Path(folder, f"{name}.jsonl")
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            files[name] = str(path)
        kwargs = {"data_files": files, "cache_dir": str(Path(folder, "cache"))}
        yield {**config, "dataset_path": "json", "dataset_name": None, "dataset_kwargs": kwargs}


def _ours(evaluate: Any) -> tuple[list[str], Any]:
    model = scripted()
    return (model.prompts, evaluate(model))


def _theirs(tasks: list[Any], folder: Path | None = None) -> tuple[list[str], Any]:
    """Return the prompts and results of lm-eval's own entry point."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    from eval.lm_harness import quiet_lm_eval

    model = scripted()
    manager = TaskManager(include_path=folder, include_defaults=False)
    seeds = dict.fromkeys(
        ("random_seed", "numpy_random_seed", "torch_random_seed")
    )  # of this process: unchanged
    with quiet_lm_eval():
        results = simple_evaluate(model, tasks=tasks, task_manager=manager, bootstrap_iters=0, **seeds)
    return model.prompts, results


def _compared(
    ours: tuple[list[str], Any],
    theirs: tuple[list[str], Any],
    metrics: Mapping[tuple[str, str], str],
    ours_s: float,
    theirs_s: float,
) -> Outcome:
    """Compare prompts, replies and scores; `metrics` maps (task, lm-eval's metric) to ours."""
    (prompts, result), (expected_prompts, expected) = ours, theirs
    same = sum(a == b for a, b in zip(prompts, expected_prompts, strict=False))
    replies = scores = 0
    for (task, metric), name in metrics.items():
        scores += result.metrics[name].value == expected["results"][task][metric]
        rule = metric.partition(",")[2]
        samples = [one for one in expected["samples"][task] if one["filter"] == rule]
        texts = [one["resps"][0][0] for one in samples]
        generated = bool(texts) and isinstance(texts[0], str)
        replies += not generated or texts == [p.output for p in result.predictions[name]]
    equal = same == len(prompts) == len(expected_prompts) and replies == scores == len(metrics)
    words = f"{same} of {len(expected_prompts)} prompts, {scores} of {len(metrics)} scores equal"
    return Outcome(equal, words + ("" if replies == len(metrics) else "; replies differ"), ours_s, theirs_s)


def _answer(prompt: str) -> str:
    """Return a reply in the words of the task, right or wrong by the length of the prompt."""
    question = prompt.rsplit("\n\n", 1)[-1]
    number = sum(int(word) for word in question.split() if word.isdigit()) + len(prompt) % 2
    truth = ("not False and True" in question) != (len(prompt) % 3 == 0)
    if question.rstrip().endswith("="):
        return str(2 * int(question.split()[0]) + len(prompt) % 2)
    return f"So the answer is {truth}." if "Let's think" in question else f"it is {number}\n#### {number}"
