"""MT-Bench of a run: the tuned model answers both turns, and a judge behind an endpoint grades the answers."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from gip_exp.config import Config
from gip_exp.config.evaluation import MtBenchEvaluation
from gip_exp.config.judge import LLMJudge
from gip_exp.errors import UserError
from gip_exp.evaluation.spec import Questions
from gip_exp.evaluation.tuned_model import TunedModel, serve
from gip_exp.models import converted
from gip_exp.signals import judge_endpoint, lifetime, llm_judge
from gip_exp.stage import Job
from gip_exp.storage.files import read_jsonl, write_jsonl

if TYPE_CHECKING:
    from eval.mt_bench_files import Question
    from eval.mt_bench_scores import Answer, MTBenchResult

ANSWERS = "answers.jsonl"
PLAYED = "played"  # folder of the answers until they are graded
MT_QUESTIONS, MT_CATEGORIES, MT_TURNS = 80, 8, 2
MT_READ = 600  # tokens per turn, mean of the first turn and the second, which contains the first answer
RATING = r"Rating: \[\[(10|[1-9])\]\]"  # the last line that MT-Bench's prompts ask a judge for


def mt_bench(job: Job, tuned: TunedModel) -> "MTBenchResult":
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
    asked = task.select_questions(bench, config.limit_per_category)
    answers = _answers(job, lambda: _played(asked, config, tuned))
    with llm_judge.grader(
        _judge_config(config),
        root=root,
        console=job.console,
        place=converted.place(job.config, config.judge.model, job.inputs),
        repeats=config.repeats,
    ) as grade:
        result = task.grade(
            bench, answers, _judge(grade, config.judge.round), repeats=config.repeats, shown=neutralise
        )
        llm = grade.stats.as_dict()
    for text in lifetime.warnings([("evaluation.mt_bench.judge", config.judge)]):
        job.note(text)
    _check_unscored(len(result.unscored), len(answers), config.judge.max_unscored, result.warnings)
    write_jsonl(job.folder / ANSWERS, [{"id": a.question_id, "turns": list(a.turns)} for a in answers])
    write_jsonl(job.folder / "judgements.jsonl", [asdict(judgement) for judgement in result.judgements])
    job.draft.facts.update(
        llm=llm,
        judge_spread=result.judge_spread,
        judgements=len(result.judgements),
        failed_judgements=len(result.failures),
        unscored_questions=list(result.unscored),
    )
    return result


def _played(
    questions: "Sequence[Question]", config: MtBenchEvaluation, tuned: TunedModel
) -> tuple["Answer", ...]:
    """Return the tuned model's answers to both turns."""
    from eval import mt_bench as task

    with serve(tuned) as served:

        def answer(conversations: list[Any], temperature: float) -> list[str]:
            texts = [tuned.render.conversation(conversation) for conversation in conversations]
            return served.generate(texts, temperature=temperature, max_tokens=config.max_new_tokens)

        return task.play(questions, answer)


def _answers(job: Job, play: "Callable[[], tuple[Answer, ...]]") -> tuple["Answer", ...]:
    """Return the answers that an earlier start left, or play and keep them.

    A judge that stops midway (batches not ended, no money left) must grade the same answers when it goes on: sampled
    anew they would differ, and their judgements would be bought again.
    """
    from eval.mt_bench_scores import Answer

    path = job.draft.scratch(PLAYED) / ANSWERS
    if path.is_file():
        job.console.say("  MT-Bench: the answers of an earlier start are graded")
        return tuple(Answer(**{**row, "turns": tuple(row["turns"])}) for row in read_jsonl(path))
    answers = play()
    path.parent.mkdir(exist_ok=True)
    write_jsonl(path, [asdict(answer) for answer in answers])
    return answers


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


def settings(section: MtBenchEvaluation, config: Config) -> dict[str, Any]:
    """Return the identity of the judge and, for engine=hf, the batch size: a batch shares one random generator."""
    batch = {"batch_size": config.engine.batch_size} if config.engine.kind == "hf" else {}
    return {"judge": judge_endpoint.identity(section.judge), **batch}


def mt_bench_turns(limit_per_category: int | None) -> int:
    """Return the number of replies of the model in MT-Bench, each of which is graded."""
    questions = MT_QUESTIONS if limit_per_category is None else MT_CATEGORIES * limit_per_category
    return min(questions, MT_QUESTIONS) * MT_TURNS


def questions(section: MtBenchEvaluation, _: Any) -> Questions:
    """Return the replies to generate and their tokens."""
    return Questions(mt_bench_turns(section.limit_per_category), MT_READ, section.max_new_tokens, MT_TURNS)
