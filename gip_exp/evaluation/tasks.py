"""The evaluations of `eval` with their inputs from the run: rows, rendered prompts, the served model, a judge."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
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
    MtBenchEvaluation,
)
from gip_exp.config.judge import LLMJudge
from gip_exp.errors import UserError
from gip_exp.evaluation import requirements
from gip_exp.evaluation.spec import Evaluation, Questions
from gip_exp.evaluation.tuned_model import TunedModel, serve
from gip_exp.signals import judge_endpoint, lifetime, llm_judge
from gip_exp.stage import Job
from gip_exp.storage.files import file_digest, write_jsonl

if TYPE_CHECKING:
    from eval.results import EvalResult  # and scipy with it

BBH_QUESTIONS, BBH_TASKS = 6_511, 27
BBH_READ, BBH_WRITTEN = 1_000, 200  # tokens: three worked examples and the question; an answer with reasoning
GSM8K_TRAIN, LM_EVAL_SHOTS = 7_473, 5  # of lm-eval's task gsm8k
LM_EVAL_QUESTIONS = 1_000  # of a task whose data nobody has counted
MT_QUESTIONS, MT_CATEGORIES, MT_TURNS = 80, 8, 2
MT_READ = 600  # tokens per turn, mean of the first turn and the second, which contains the first answer
RATING = r"Rating: \[\[(10|[1-9])\]\]"  # the last line that MT-Bench's prompts ask a judge for


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
    """Evaluate tasks of lm-eval by name, with its prompts, settings and scores."""
    from eval import lm_eval_tasks as task

    config = job.config.evaluation.lm_eval
    assert config is not None
    folder = Path(config.include_path) if config.include_path else None
    with serve(tuned) as served:
        return task.evaluate(served.lm(), tasks=config.tasks, include_path=folder, limit=config.limit)


def mt_bench(job: Job, tuned: TunedModel) -> "EvalResult":
    """Evaluate MT-Bench: the tuned model answers both turns, `evaluation.mt_bench.judge` grades them."""
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
    with llm_judge.grader(_judge_config(config), root=root, console=job.console) as grade:
        result = task.grade(
            bench, answers, _judge(grade, config.judge.round), repeats=config.repeats, shown=neutralise
        )
        llm = grade.stats.as_dict()
    for text in lifetime.warnings([("evaluation.mt_bench.judge", config.judge)]):
        job.note(text)
    _check_unscored(len(result.unscored), len(answers), config.judge.max_unscored, result.warnings)
    write_jsonl(
        job.folder / "answers.jsonl", [{"id": a.question_id, "turns": list(a.turns)} for a in answers]
    )
    write_jsonl(job.folder / "judgements.jsonl", [asdict(judgement) for judgement in result.judgements])
    job.draft.facts.update(
        llm=llm,
        judge_spread=result.judge_spread,
        judgements=len(result.judgements),
        failed_judgements=len(result.failures),
        unscored_questions=list(result.unscored),
    )
    return result


def _judge_config(config: MtBenchEvaluation) -> LLMJudge:
    """Return the judge, with `judge_reply=rating` restricted to a rating by vLLM's structured outputs."""
    if config.judge_reply == "free":
        return config.judge
    rating = {"structured_outputs": {"regex": RATING}}
    return config.judge.model_copy(update={"extra_body": {**config.judge.extra_body, **rating}})


def _judge(grade: llm_judge.Grader, retries: int) -> Callable[[list[Any], int], Sequence[Any]]:
    """Return the judge as a function for `eval.mt_bench`; replies without a rating are asked for again."""
    from eval.mt_bench import Failed
    from eval.mt_bench_scores import parse_rating

    def ask(conversations: list[Any], repeat: int) -> Sequence[Any]:
        replies: list[Any] = [Failed("not asked")] * len(conversations)
        pending = list(range(len(conversations)))
        for attempt in range(retries + 1):
            outcomes = grade([conversations[i] for i in pending], repeat, attempt)
            for i, (text, why) in zip(pending, outcomes, strict=True):
                replies[i] = text if text is not None else Failed(why)
            pending = [
                i
                for i in pending
                if isinstance(replies[i], Failed) or isinstance(parse_rating(replies[i]), Failed)
            ]
            if not pending:
                break
        return replies

    return ask


def _check_unscored(unscored: int, n: int, limit: float, warnings: Sequence[str]) -> None:
    if unscored > limit * n:
        raise UserError(
            f"MT-Bench: {unscored} of {n} questions have no score, more than evaluation.mt_bench.judge.max_unscored="
            f"{limit:g} allows ({'; '.join(warnings)}). Usable replies are kept: set "
            "evaluation.mt_bench.judge.round=1 to ask again for the others, or raise max_unscored"
        )


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


def _mt_bench_settings(section: MtBenchEvaluation, config: Config) -> dict[str, Any]:
    """Return the identity of the judge and, for engine=hf, the batch size: a batch shares one random generator."""
    batch = {"batch_size": config.engine.batch_size} if config.engine.kind == "hf" else {}
    return {"judge": judge_endpoint.identity(section.judge), **batch}


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


def mt_bench_turns(limit_per_category: int | None) -> int:
    """Return the number of replies of the model in MT-Bench, each of which is graded."""
    questions = MT_QUESTIONS if limit_per_category is None else MT_CATEGORIES * limit_per_category
    return min(questions, MT_QUESTIONS) * MT_TURNS


def _mt_bench_questions(section: MtBenchEvaluation, _: Any) -> Questions:
    return Questions(mt_bench_turns(section.limit_per_category), MT_READ, section.max_new_tokens, MT_TURNS)


EVALUATIONS = {
    "gsm8k": Evaluation(gsm8k, (gsm8k,), questions=_gsm8k_questions, test_rows=True),
    "answer_nll": Evaluation(
        answer_nll, (answer_nll,), questions=_answer_nll_questions, test_rows=True, served=False
    ),
    "bbh": Evaluation(bbh, (bbh,), requirements.bbh, _bbh_files, _bbh_questions),
    "lm_eval": Evaluation(lm_eval, (lm_eval,), requirements.lm_eval, _lm_eval_settings, _lm_eval_questions),
    "mt_bench": Evaluation(
        mt_bench, (mt_bench,), requirements.mt_bench, _mt_bench_settings, _mt_bench_questions, harness=False
    ),
}
