"""Each evaluation of `eval` with what it needs from the config: rows, rendered prompts, the served model, a judge."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gip_exp.artifacts import read_pool, read_test
from gip_exp.config import Config
from gip_exp.config.evaluation import (
    AnswerNllEvaluation,
    BbhEvaluation,
    Gsm8kEvaluation,
    MtBenchEvaluation,
)
from gip_exp.config.judge import LLMJudge
from gip_exp.errors import UserError
from gip_exp.evaluation import requirements
from gip_exp.evaluation.spec import Evaluation, Questions
from gip_exp.evaluation.tuned_model import TunedModel, serve
from gip_exp.signals import llm_judge
from gip_exp.stage import Job
from gip_exp.storage.files import file_digest, write_jsonl

if TYPE_CHECKING:
    from eval.results import EvalResult  # and scipy with it

BBH_QUESTIONS, BBH_TASKS = 6_511, 27
BBH_READ, BBH_WRITTEN = 1_000, 200  # tokens: three worked examples and the question; a reasoned answer
MT_QUESTIONS, MT_CATEGORIES, MT_TURNS = 80, 8, 2
MT_READ = 600  # tokens a turn, on average over the first and the second, which holds the first answer
RATING = r"Rating: \[\[(10|[1-9])\]\]"  # what MT-Bench's prompts ask a judge to end with


def test_rows(job: Job, limit: int | None) -> list[dict[str, str]]:
    """The first `limit` test rows. Raises UserError when the data came without any."""
    rows = read_test(job.inputs)[:limit]
    if not rows:
        raise UserError(requirements.NO_TEST_ROWS)
    return rows


def gsm8k(job: Job, tuned: TunedModel) -> "EvalResult":
    """GSM8K exact match: zero-shot in the training format, or lm-eval's own few-shot task."""
    from eval import gsm8k as task

    config = job.config.evaluation.gsm8k
    assert config is not None
    rows = test_rows(job, config.limit)
    with serve(tuned) as served:
        if config.task == "few_shot":
            return task.few_shot(
                served.lm(),
                test=[_question(example) for example in rows],
                train=[_question(example) for example in read_pool(job.inputs)],
                num_fewshot=config.shots,
                max_gen_toks=config.max_new_tokens,
            )
        asked = [
            {
                "id": row["id"],
                "prompt": tuned.render.training_row(row)["prompt"],
                "reference": row["completion"],
            }
            for row in rows
        ]
        stop = [tuned.tokenizer.eos_token]
        return task.zero_shot(served.lm(), asked, stop=stop, max_gen_toks=config.max_new_tokens)


def _question(example: dict[str, str]) -> dict[str, str]:
    return {"id": example["id"], "question": example["prompt"], "answer": example["completion"]}


def answer_nll(job: Job, tuned: TunedModel) -> "EvalResult":
    """Likelihood of the reference answers, always in this process."""
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
    """BIG-Bench Hard: lm-eval's prompts for the few-shot variants, the training format for the zero-shot ones."""
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


def mt_bench(job: Job, tuned: TunedModel) -> "EvalResult":
    """MT-Bench: both turns played by the tuned model, graded by `evaluation.mt_bench.judge`."""
    from eval import mt_bench as task
    from eval.mt_bench_files import load_mt_bench
    from gip_exp.llm.rubric import neutralise

    config = job.config.evaluation.mt_bench
    assert config is not None
    root = job.config.paths.root
    bench = load_mt_bench(
        config.data_dir, cache_dir=None if config.data_dir else root / "downloads" / "mt_bench"
    )
    with serve(tuned) as served:

        def answer(conversations: list[Any], temperature: float) -> list[str]:
            texts = [tuned.render.conversation(conversation) for conversation in conversations]
            return served.generate(texts, temperature=temperature, max_tokens=config.max_new_tokens)

        answers = task.play(task.select_questions(bench, config.limit_per_category), answer)
    with llm_judge.grader(_held_to_form(config), root=root, console=job.console) as grade:
        result = task.grade(
            bench, answers, _judge(grade, config.judge.round), repeats=config.repeats, shown=neutralise
        )
    _check_unscored(len(result.unscored), len(answers), config.judge.max_unscored, result.warnings)
    write_jsonl(
        job.folder / "answers.jsonl", [{"id": a.question_id, "turns": list(a.turns)} for a in answers]
    )
    write_jsonl(job.folder / "judgements.jsonl", [asdict(judgement) for judgement in result.judgements])
    job.draft.facts.update(
        judge_spread=result.judge_spread,
        judgements=len(result.judgements),
        failed_judgements=len(result.failures),
        unscored_questions=list(result.unscored),
    )
    return result


def _held_to_form(config: MtBenchEvaluation) -> LLMJudge:
    if config.judge_reply == "free":
        return config.judge
    form = {"structured_outputs": {"regex": RATING}}  # vLLM's field
    return config.judge.model_copy(update={"extra_body": {**config.judge.extra_body, **form}})


def _judge(grade: llm_judge.Grader, again: int) -> Callable[[list[Any], int], Sequence[Any]]:
    """The judge as MT-Bench takes it. What has no rating is asked `again` times more (`judge.round`)."""
    from eval.mt_bench import Failed
    from eval.mt_bench_scores import parse_rating

    def ask(conversations: list[Any], repeat: int) -> Sequence[Any]:
        replies: list[Any] = [Failed("not asked")] * len(conversations)
        open_ones = list(range(len(conversations)))
        for attempt in range(again + 1):
            got = grade([conversations[i] for i in open_ones], repeat, attempt)
            for i, (text, why) in zip(open_ones, got, strict=True):
                replies[i] = text if text is not None else Failed(why)
            open_ones = [
                i
                for i in open_ones
                if isinstance(replies[i], Failed) or isinstance(parse_rating(replies[i]), Failed)
            ]
            if not open_ones:
                break
        return replies

    return ask


def _check_unscored(unscored: int, n: int, most: float, warnings: Sequence[str]) -> None:
    if unscored > most * n:
        raise UserError(
            f"MT-Bench: {unscored} of {n} questions have no score, more than evaluation.mt_bench.judge.max_unscored="
            f"{most:g} allows ({'; '.join(warnings)}). Usable replies are kept: set "
            "evaluation.mt_bench.judge.round=1 to ask again for the others, or allow more"
        )


def _bbh_files(section: BbhEvaluation, _: Config) -> dict[str, Any]:
    """Digests of local question files, which the user may change."""
    if not section.data_dir:
        return {}
    return {"files": {path.name: file_digest(path) for path in sorted(Path(section.data_dir).glob("*.json"))}}


def _judge_of_mt_bench(section: MtBenchEvaluation, config: Config) -> dict[str, Any]:
    """Its judge is its weights, not where they lie; in this process, the draws of a batch come from one generator."""
    batch = {"batch_size": config.engine.batch_size} if config.engine.kind == "hf" else {}
    return {"judge": llm_judge.identity(section.judge), **batch}


def _gsm8k_asks(section: Gsm8kEvaluation, rows: Any) -> Questions:
    written = min(section.max_new_tokens, 2 * rows.completion_tokens)
    read = rows.prompt_tokens + section.shots * rows.tokens
    return Questions(min(rows.test, section.limit or rows.test), read, written)


def _answer_nll_asks(section: AnswerNllEvaluation, rows: Any) -> Questions:
    return Questions(min(rows.test, section.limit or rows.test), rows.tokens)


def _bbh_asks(section: BbhEvaluation, _: Any) -> Questions:
    tasks = BBH_TASKS if section.tasks is None else len(section.tasks)
    each = BBH_QUESTIONS / BBH_TASKS
    return Questions(round(tasks * min(each, section.limit or each)), BBH_READ, BBH_WRITTEN)


def mt_bench_turns(limit_per_category: int | None) -> int:
    """Replies that MT-Bench asks of the model, and gradings that it asks of its judge."""
    questions = MT_QUESTIONS if limit_per_category is None else MT_CATEGORIES * limit_per_category
    return min(questions, MT_QUESTIONS) * MT_TURNS


def _mt_bench_asks(section: MtBenchEvaluation, _: Any) -> Questions:
    return Questions(mt_bench_turns(section.limit_per_category), MT_READ, section.max_new_tokens, MT_TURNS)


EVALUATIONS = {
    "gsm8k": Evaluation(gsm8k, (gsm8k,), asks=_gsm8k_asks, test_rows=True),
    "answer_nll": Evaluation(answer_nll, (answer_nll,), asks=_answer_nll_asks, test_rows=True, served=False),
    "bbh": Evaluation(bbh, (bbh,), requirements.bbh, _bbh_files, _bbh_asks),
    "mt_bench": Evaluation(
        mt_bench, (mt_bench,), requirements.mt_bench, _judge_of_mt_bench, _mt_bench_asks, harness=False
    ),
}
