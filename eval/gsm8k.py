"""GSM8K exact match through lm-eval: zero-shot in the training format, and lm-eval's own few-shot task.

The model is any lm-eval `LM` (the Hugging Face backend, `local-completions` against a server, ...). Both
variants extract the answer by lm-eval's two rules: `exact_match` requires the number after `####`,
`flexible_match` takes the last number of the reply.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval.lm_harness import Outcomes, in_memory, run_tasks, shipped_config
from eval.results import EvalResult, check_rows
from eval.statistics import wilson

if TYPE_CHECKING:
    from lm_eval.api.model import LM

Rows = Sequence[Mapping[str, Any]]

# lm-eval's name of a rule -> its name in our metrics.
RULES = {"strict-match": "exact_match", "flexible-extract": "flexible_match"}
# Reply length of lm-eval's backends for tasks that set none, such as its GSM8K.
LM_EVAL_MAX_GEN_TOKS = 256


def zero_shot(model: LM, rows: Rows, *, stop: Sequence[str], max_gen_toks: int) -> EvalResult:
    """Compute `gsm8k/exact_match` and `gsm8k/flexible_match` on prompts in the training format.

    Generation is greedy and ends at the end-of-sequence token, at a stop text or after `max_gen_toks` tokens.

    Args:
        model: an lm-eval `LM`.
        rows: mappings with `id`, `prompt` (rendered by the caller exactly as for training) and `reference` (a
            solution that ends in `#### N`, or N alone).
        stop: stop texts.
        max_gen_toks: tokens per reply.

    Returns:
        EvalResult with Wilson intervals.

    Raises:
        ValueError: bad rows or arguments, or a model that generates nothing.

    Example:
        >>> from lm_eval.api.model import LM
        >>> class SaysThree(LM):
        ...     loglikelihood = loglikelihood_rolling = None
        ...     def generate_until(self, requests):
        ...         return ["1 + 2 = 3"] * len(requests)
        >>> rows = [{"id": "a", "prompt": "What is 1 + 2?", "reference": "#### 3"}]
        >>> result = zero_shot(SaysThree(), rows, stop=["Question:"], max_gen_toks=64)
        >>> {name: metric.value for name, metric in result.metrics.items()}
        {'gsm8k/exact_match': 0.0, 'gsm8k/flexible_match': 1.0}
    """
    check_rows(rows, ("prompt", "reference"), "question")
    _check_max_gen_toks(max_gen_toks)
    config = shipped_config("gsm8k", "gsm8k.yaml")
    for key in ("training_split", "fewshot_split"):
        config.pop(key)
    questions = [
        {"id": str(row["id"]), "prompt": row["prompt"], "reference": row["reference"]} for row in rows
    ]
    config |= in_memory({"test": questions})
    config |= {
        "task": "gsm8k_zero_shot",
        # Column names, so that no template changes the texts.
        "doc_to_text": "prompt",
        "doc_to_target": "reference",
        "num_fewshot": 0,
        "generation_kwargs": {"until": list(stop), "max_gen_toks": max_gen_toks, "do_sample": False},
    }
    run = run_tasks(model, [config])
    return _result(run.tasks["gsm8k_zero_shot"], "", run.warnings)


def few_shot(
    model: LM,
    *,
    test: Rows | Path | None = None,
    train: Rows | Path | None = None,
    num_fewshot: int = 5,
    max_gen_toks: int = LM_EVAL_MAX_GEN_TOKS,
    limit: int | None = None,
) -> EvalResult:
    """Compute `gsm8k/few_shot_exact_match` and `gsm8k/few_shot_flexible_match`: lm-eval's GSM8K task as shipped.

    Args:
        model: an lm-eval `LM`.
        test: questions, as rows with `question` and `answer` or as a `.jsonl` file of them; rows without an
            `id` get their position. None, together with `train`, reads `openai/gsm8k` from the hub.
        train: where the worked examples of the prompt come from, in the same form.
        num_fewshot: worked examples per prompt.
        max_gen_toks: tokens per reply.
        limit: use the first questions only.

    Returns:
        EvalResult with Wilson intervals.

    Raises:
        ValueError: bad rows, files or arguments, too few train rows, or a model that generates nothing.

    Example:
        >>> from lm_eval.api.model import LM
        >>> class SaysThree(LM):
        ...     loglikelihood = loglikelihood_rolling = None
        ...     def generate_until(self, requests):
        ...         return ["#### 3"] * len(requests)
        >>> rows = [{"question": "What is 1 + 2?", "answer": "#### 3"}]
        >>> result = few_shot(SaysThree(), test=rows, train=rows, num_fewshot=1)
        >>> result.metrics["gsm8k/few_shot_exact_match"].value
        1.0
    """
    _check_few_shot(test, train, num_fewshot, limit)
    _check_max_gen_toks(max_gen_toks)
    config = shipped_config("gsm8k", "gsm8k.yaml")
    config["num_fewshot"] = num_fewshot
    config["generation_kwargs"]["max_gen_toks"] = max_gen_toks
    if test is not None and train is not None:
        splits = {"test": _questions(test, "test question"), "train": _questions(train, "train question")}
        if len(splits["train"]) < num_fewshot:
            raise ValueError(
                f"num_fewshot is {num_fewshot}, but there are only {len(splits['train'])} train questions"
            )
        config |= in_memory(splits)
    run = run_tasks(model, [config], limit=limit)
    return _result(run.tasks["gsm8k"], "few_shot_", run.warnings)


def _questions(source: Rows | Path, what: str) -> list[dict[str, str]]:
    """Return rows with `id`, `question` and `answer`, from rows or a `.jsonl` file."""
    rows: Rows = _read_jsonl(source) if isinstance(source, str | Path) else source
    numbered = [{"id": str(number), **row} for number, row in enumerate(rows)]
    check_rows(numbered, ("question", "answer"), what)
    return [{key: str(row[key]) for key in ("id", "question", "answer")} for row in numbered]


def _read_jsonl(path: str | Path) -> list[dict[str, Any]]:
    file = Path(path)
    if not file.is_file():
        raise ValueError(f"{file} is not a file; give GSM8K's train.jsonl and test.jsonl")
    rows = []
    # Not splitlines, because JSON texts may contain Unicode line separators unescaped.
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), start=1):
        if line.strip():
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{file}, line {number} is not JSON: {error}") from error
            if not isinstance(row, dict):
                raise ValueError(f'{file}, line {number} is not an object {{"question": ..., "answer": ...}}')
            rows.append(row)
    return rows


def _check_few_shot(
    test: Rows | Path | None, train: Rows | Path | None, num_fewshot: int, limit: int | None
) -> None:
    problems = []
    if (test is None) != (train is None):
        problems.append("give both test and train (rows or .jsonl files), or neither to load the hub's GSM8K")
    if num_fewshot < 0:
        problems.append(f"num_fewshot is {num_fewshot}; give 0 or more")
    if limit is not None and limit < 1:
        problems.append(f"limit is {limit}; give at least 1 question, or nothing for all")
    if problems:
        raise ValueError("; ".join(problems))


def _check_max_gen_toks(max_gen_toks: int) -> None:
    if max_gen_toks < 1:
        raise ValueError(f"max_gen_toks is {max_gen_toks}; allow at least 1 token")


def _result(outcomes_by_rule: Outcomes, prefix: str, warnings: tuple[str, ...]) -> EvalResult:
    predictions = {f"gsm8k/{prefix}{RULES[rule]}": outcomes for rule, outcomes in outcomes_by_rule.items()}
    metrics = {
        name: wilson(int(sum(p.value for p in outcomes)), len(outcomes))
        for name, outcomes in predictions.items()
    }
    return EvalResult(metrics, predictions, warnings)
