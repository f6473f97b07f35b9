"""The evaluations of `eval` with their inputs from the run: rows, rendered prompts, the served model."""

from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gip_exp.artifacts import read_pool, read_test
from gip_exp.config import Config
from gip_exp.config.evaluation import (
    AnswerNllEvaluation,
    BbhEvaluation,
    Gsm8kEvaluation,
    LmEvalEvaluation,
)
from gip_exp.errors import UserError
from gip_exp.evaluation import mt_bench, requirements
from gip_exp.evaluation.spec import Evaluation, Questions
from gip_exp.evaluation.tuned_model import LocalModel, TunedModel, serve
from gip_exp.stage import Job
from gip_exp.storage.files import file_digest

if TYPE_CHECKING:
    from eval.results import EvalResult  # and scipy with it

BBH_QUESTIONS, BBH_TASKS = 6_511, 27
BBH_READ, BBH_WRITTEN = 1_000, 200  # tokens: three worked examples and the question; an answer with reasoning
GSM8K_TRAIN, LM_EVAL_SHOTS = 7_473, 5  # of lm-eval's task gsm8k
LM_EVAL_QUESTIONS = 1_000  # of a task whose data nobody has counted


def test_rows(job: Job, limit: int | None) -> list[dict[str, str]]:
    """Return the first `limit` test rows. Raises UserError if the data has none."""
    rows = read_test(job.inputs)[:limit]
    if not rows:
        raise UserError(requirements.NO_TEST_ROWS)
    return rows


def gsm8k(job: Job, tuned: TunedModel) -> "EvalResult":
    """Evaluate GSM8K exact match, zero-shot in the training format or few-shot by lm-eval's task."""
    from eval import gsm8k as task

    config = job.config.evaluation.gsm8k
    assert config is not None
    rows = test_rows(job, config.limit)
    with serve(tuned) as served:
        if config.task == "few_shot":
            train = [_question(example) for example in read_pool(job.inputs)]
            for text in _unlike_lm_eval(len(train), config):
                job.note(text)
            return task.few_shot(
                served.lm(),
                test=[_question(example) for example in rows],
                train=train,
                num_fewshot=config.shots,
                max_gen_toks=config.max_new_tokens,
            )
        questions = [
            {
                "id": row["id"],
                "prompt": tuned.render.training_row(row)["prompt"],
                "reference": row["completion"],
            }
            for row in rows
        ]
        stop = [tuned.tokenizer.eos_token]
        return task.zero_shot(served.lm(), questions, stop=stop, max_gen_toks=config.max_new_tokens)


def _unlike_lm_eval(train: int, config: Gsm8kEvaluation) -> list[str]:
    """Return in what the few-shot task differs from that of lm-eval's command line."""
    from eval.gsm8k import LM_EVAL_MAX_GEN_TOKS

    shots, tokens, notes = config.shots, config.max_new_tokens, []
    if train != GSM8K_TRAIN:
        notes.append(
            f"its worked examples are drawn from the {train} rows of this run's pool, lm-eval's from all {GSM8K_TRAIN:,} "
            "training questions: the prompts differ (evaluation=[lm_eval] evaluation.lm_eval.tasks=[gsm8k] has lm-eval's)"
        )
    if tokens != LM_EVAL_MAX_GEN_TOKS:
        notes.append(f"replies may have {tokens} tokens, in lm-eval {LM_EVAL_MAX_GEN_TOKS}")
    if shots != LM_EVAL_SHOTS:
        notes.append(f"a prompt holds {shots} worked examples, in lm-eval {LM_EVAL_SHOTS}")
    return [f"gsm8k_few_shot: {note}" for note in notes]


def _question(example: dict[str, str]) -> dict[str, str]:
    return {"id": example["id"], "question": example["prompt"], "answer": example["completion"]}


def answer_nll(job: Job, tuned: TunedModel) -> "EvalResult":
    """Evaluate the likelihood of the reference answers, always in this process."""
    from eval.answer_nll import answer_nll as likelihood

    config = job.config.evaluation.answer_nll
    assert config is not None
    rows = [
        {"id": example["id"], **tuned.render.training_row(example)}
        for example in test_rows(job, config.limit)
    ]
    with tuned.loaded() as model:
        return likelihood(model, tuned.tokenizer, rows, batch_size=job.config.engine.batch_size)


def bbh(job: Job, tuned: TunedModel) -> "EvalResult":
    """Evaluate BIG-Bench Hard: few-shot with lm-eval's prompts, zero-shot in the training format."""
    from eval import bbh as task

    config = job.config.evaluation.bbh
    assert config is not None
    with serve(tuned) as served:
        return task.evaluate(
            served.lm(),
            variant=config.variant,
            tasks=config.tasks or task.TASKS,
            data_dir=Path(config.data_dir) if config.data_dir else None,
            limit=config.limit,
            render=tuned.render.prompt if config.variant.endswith("zeroshot") else None,
            stop=[tuned.tokenizer.eos_token],
            max_gen_toks=config.max_new_tokens,
        )


def lm_eval(job: Job, tuned: TunedModel) -> "EvalResult":
    """Evaluate tasks of lm-eval by name, with its prompts, settings and scores.

    Likelihoods are computed in this process with either engine, as for `answer_nll`: vLLM's likelihoods of prompts are
    wrong under an adapter, or end its server (https://github.com/vllm-project/vllm/issues/16668, 29955 and 51594).
    """
    from eval import lm_eval_tasks as task

    config = job.config.evaluation.lm_eval
    assert config is not None
    folder = Path(config.include_path) if config.include_path else None
    evaluate = partial(task.evaluate, include_path=folder, limit=config.limit)
    likely = task.by_likelihood(config.tasks, folder) if job.config.engine.kind == "vllm" else []
    parts = []
    if generated := [name for name in config.tasks if name not in likely]:
        with serve(tuned) as served:
            parts.append(evaluate(served.lm(), tasks=generated))
    if likely:
        job.console.say(f"  {', '.join(likely)}: likelihoods are computed in this process, not by vLLM")
        with tuned.loaded() as model:
            parts.append(evaluate(LocalModel(tuned, model).lm(), tasks=likely))
    return task.together(parts)


def _bbh_files(section: BbhEvaluation, _: Config) -> dict[str, Any]:
    """Return digests of local question files."""
    if not section.data_dir:
        return {}
    return {"files": {path.name: file_digest(path) for path in sorted(Path(section.data_dir).glob("*.json"))}}


def _lm_eval_settings(section: LmEvalEvaluation, _: Config) -> dict[str, Any]:
    """Return digests of the user's definitions and of the files that they read, and lm-eval's version for its own."""
    own = sorted(Path(section.include_path).rglob("*")) if section.include_path else []
    files = [*(path for path in own if path.is_file()), *requirements.lm_eval_files(section)]
    return {"lm_eval": version("lm-eval"), "files": sorted([path.name, file_digest(path)] for path in files)}


def _gsm8k_questions(section: Gsm8kEvaluation, rows: Any) -> Questions:
    written = min(section.max_new_tokens, 2 * rows.completion_tokens)
    read = rows.prompt_tokens + section.shots * rows.tokens
    return Questions(min(rows.test, section.limit or rows.test), read, written)


def _answer_nll_questions(section: AnswerNllEvaluation, rows: Any) -> Questions:
    return Questions(min(rows.test, section.limit or rows.test), rows.tokens)


def _bbh_questions(section: BbhEvaluation, _: Any) -> Questions:
    tasks = BBH_TASKS if section.tasks is None else len(section.tasks)
    per_task = BBH_QUESTIONS / BBH_TASKS
    return Questions(round(tasks * min(per_task, section.limit or per_task)), BBH_READ, BBH_WRITTEN)


def _lm_eval_questions(section: LmEvalEvaluation, _: Any) -> Questions:
    per_task = LM_EVAL_QUESTIONS if section.limit is None else min(section.limit, LM_EVAL_QUESTIONS)
    return Questions(len(section.tasks) * per_task, BBH_READ, BBH_WRITTEN)


EVALUATIONS = {
    "gsm8k": Evaluation(gsm8k, (gsm8k,), questions=_gsm8k_questions, test_rows=True),
    "answer_nll": Evaluation(
        answer_nll, (answer_nll,), questions=_answer_nll_questions, test_rows=True, served=False
    ),
    "bbh": Evaluation(bbh, (bbh,), requirements.bbh, _bbh_files, _bbh_questions),
    "lm_eval": Evaluation(lm_eval, (lm_eval,), requirements.lm_eval, _lm_eval_settings, _lm_eval_questions),
    "mt_bench": Evaluation(
        mt_bench.mt_bench,
        (mt_bench.mt_bench,),
        requirements.mt_bench,
        mt_bench.settings,
        mt_bench.questions,
        resumable=True,
        harness=False,
    ),
}
