"""lm-eval's tasks by name: the same prompts, replies and scores as lm-eval's own entry point, on local definitions."""

import json
from pathlib import Path

import pytest
from eval_models import ScriptedLM
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from eval import lm_eval_tasks

QUESTIONS = [
    {"q": f"{n} + {n} =", "a": str(2 * n), "choices": [str(2 * n), str(2 * n + 1)]} for n in range(1, 7)
]
METRIC = {"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}


@pytest.fixture
def folder(tmp_path) -> Path:
    """Definitions of a task that generates, one that chooses, and one whose only metric is no mean."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in QUESTIONS))
    data = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(rows)}},
        "test_split": "test",
    }
    replies = {"output_type": "generate_until", "doc_to_text": "{{q}}", "doc_to_target": "{{a}}"}
    perplexity = {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False}
    tasks = {
        "sums": replies | {"fewshot_split": "test", "num_fewshot": 2, "metric_list": [METRIC]},
        "choices": {
            "output_type": "multiple_choice", "doc_to_text": "{{q}}", "doc_to_choice": "{{choices}}", "doc_to_target": 0,
            "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        },
        "no_mean": {
            "output_type": "loglikelihood", "doc_to_text": "{{q}}", "doc_to_target": "{{a}}", "metric_list": [perplexity]
        },
    }  # fmt: skip
    for name, definition in tasks.items():
        (tmp_path / f"{name}.yaml").write_text(json.dumps({"task": name, **data, **definition}))
    return tmp_path


class Chooser(ScriptedLM):
    """Also scores choices: a longer prompt is likelier, and an even number more than an odd one."""

    def loglikelihood(self, requests):
        return [(len(text) * 0.1 - int(choice) % 2, False) for text, choice in (one.args for one in requests)]


def test_prompts_replies_and_scores_are_those_of_lm_evals_entry_point(folder):
    def reply(prompt: str) -> str:
        return str(
            int(prompt.rsplit("\n", 1)[-1].split(maxsplit=1)[0]) * 2 if "3 + 3 =" not in prompt[-8:] else 0
        )

    ours, theirs = Chooser(reply), Chooser(reply)
    result = lm_eval_tasks.evaluate(ours, tasks=["sums", "choices"], include_path=folder)
    manager = TaskManager(include_path=folder, include_defaults=False)
    expected = simple_evaluate(theirs, tasks=["sums", "choices"], task_manager=manager, bootstrap_iters=0)
    assert ours.prompts == theirs.prompts
    assert len(ours.prompts) == 6
    assert ours.prompts[0].count("=") == 3  # two worked examples
    assert result.metrics["lm_eval/sums.exact_match"].value == expected["results"]["sums"]["exact_match,none"]
    assert result.metrics["lm_eval/choices.acc"].value == expected["results"]["choices"]["acc,none"] == 1.0
    replies = [sample["resps"][0][0] for sample in expected["samples"]["sums"]]
    outcomes = result.predictions["lm_eval/sums.exact_match"]
    assert [p.output for p in outcomes] == replies
    assert [p.value for p in outcomes] == [1, 1, 0, 1, 1, 1]
    chosen = result.predictions["lm_eval/choices.acc"][0]
    assert json.loads(chosen.output) == pytest.approx([0.7, -0.3])  # log-likelihoods of 2 and 3
    assert [p.id for p in outcomes] == [str(n) for n in range(6)]
    assert (
        result.metrics["lm_eval/sums.exact_match"].low
        < 5 / 6
        < result.metrics["lm_eval/sums.exact_match"].high
    )


def test_limit_takes_the_first_questions(folder):
    result = lm_eval_tasks.evaluate(Chooser(lambda _: "2"), tasks=["sums"], include_path=folder, limit=2)
    assert [p.value for p in result.predictions["lm_eval/sums.exact_match"]] == [1, 0]


def test_a_metric_that_is_no_mean_is_named_and_alone_is_an_error(folder):
    with pytest.raises(ValueError, match="no metric of no_mean is a mean over questions"):
        lm_eval_tasks.evaluate(Chooser([]), tasks=["no_mean"], include_path=folder)
    result = lm_eval_tasks.evaluate(Chooser([]), tasks=["choices", "no_mean"], include_path=folder)
    assert list(result.metrics) == ["lm_eval/choices.acc"]
    assert "lm_eval/no_mean: perplexity is left out: it is no mean over questions" in result.warnings


NAN_TASK = """task: partly
dataset_path: json
dataset_kwargs: {data_files: {test: ROWS}}
test_split: test
output_type: generate_until
doc_to_text: "{{q}}"
doc_to_target: "{{a}}"
process_results: !function partly.outcomes
metric_list:
  - {metric: long, aggregation: nanmean, higher_is_better: true}
  - {metric: never, aggregation: nanmean, higher_is_better: true}
"""


def test_questions_without_an_outcome_are_left_out_of_their_metric(folder):
    (folder / "partly.yaml").write_text(NAN_TASK.replace("ROWS", str(folder / "rows.jsonl")))
    (folder / "partly.py").write_text(
        "def outcomes(doc, results):\n"
        "    nan = float('nan')\n"
        "    return {'long': 1.0 if len(doc['a']) > 1 else 0.0 if doc['a'] != '2' else nan, 'never': nan}\n"
    )
    result = lm_eval_tasks.evaluate(ScriptedLM(lambda _: "4"), tasks=["partly"], include_path=folder)
    assert list(result.metrics) == ["lm_eval/partly.long"]
    assert result.metrics["lm_eval/partly.long"].value == 2 / 5
    assert len(result.predictions["lm_eval/partly.long"]) == 5
    assert result.warnings[-2:] == (
        "lm_eval/partly.long: 1 of 6 questions have no outcome and are left out",
        "lm_eval/partly.never is left out: no question has an outcome",
    )


def test_tasks_with_likelihoods_are_told_from_those_that_generate(folder):
    assert lm_eval_tasks.by_likelihood(["sums", "choices", "no_mean"], folder) == ["choices", "no_mean"]
