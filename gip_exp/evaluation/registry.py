"""All evaluations by name: those of `tasks.py`, and functions in `eval/` (see `gip_exp.registry.evaluations`)."""

from contextlib import ExitStack
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from gip_exp.artifacts import read_test
from gip_exp.config import Config
from gip_exp.config.base import Section
from gip_exp.errors import UserError
from gip_exp.evaluation import requirements
from gip_exp.evaluation.spec import Evaluation, Questions
from gip_exp.evaluation.tasks import EVALUATIONS
from gip_exp.evaluation.tuned_model import ServedModel, TunedModel, serve
from gip_exp.registry import evaluations
from gip_exp.signals import judge_requirements
from gip_exp.stage import Entries, Job

if TYPE_CHECKING:
    from eval.results import EvalResult  # and scipy with it


def find(name: str) -> Evaluation:
    """Return the evaluation of this name, which a validated config contains."""
    return EVALUATIONS[name] if name in EVALUATIONS else _from_signature(name)


def missing_requirements(config: Config, name: str) -> list[str]:
    """Return the requirements of an evaluation that are not met, each with its remedy."""
    chosen, evaluation = config.evaluation.chosen()[name], find(name)
    problems = []
    if config.engine.kind == "vllm" and evaluation.served:
        problems += judge_requirements.missing_vllm("engine=vllm", "engine=hf") + requirements.served_rank(
            config
        )
    if evaluation.harness:  # else lm-eval would refuse a reply longer than the context, after the training
        problems += requirements.reply_length(name, chosen, config)
    return problems + evaluation.missing(chosen, config)


def check_test_rows(config: Config, entries: Entries) -> None:
    """Raise UserError if an evaluation needs test rows and the data has none."""
    names = [name for name in config.evaluation.chosen() if find(name).test_rows]
    if names and not read_test(entries):
        raise UserError(f"evaluation={names}: {requirements.NO_TEST_ROWS}")


@cache
def _from_signature(name: str) -> Evaluation:
    reads, _ = evaluations.signature(name)
    return Evaluation(
        run=partial(_run, name),
        code=(f"eval.{name}:evaluate",),
        questions=_questions,
        test_rows="test" in reads,
        served=bool({"generate", "lm"} & reads),
        harness=False,
    )


def _questions(section: Any, rows: Any) -> Questions:
    """Estimate one reply per test row, of `max_new_tokens` or twice the mean reference answer, whichever is less."""
    limit, longest = getattr(section, "limit", None), getattr(section, "max_new_tokens", None)
    n = min(rows.test, limit or rows.test)
    return Questions(n, rows.prompt_tokens, min(longest or float("inf"), 2 * rows.completion_tokens))


def _run(name: str, job: Job, tuned: TunedModel) -> "EvalResult":
    """Call `evaluate` with the parameters it reads and its options."""
    section: Section = job.config.evaluation.chosen()[name]
    function = evaluations.function(name)
    reads, options = evaluations.signature(name)
    arguments: dict[str, Any] = {option: getattr(section, option) for option in options}
    if "test" in reads:
        arguments["test"] = read_test(job.inputs)
    if "tokenizer" in reads:
        arguments["tokenizer"] = tuned.tokenizer
    with ExitStack() as stack:
        if "model" in reads:
            arguments["model"] = stack.enter_context(tuned.loaded())
        if reads & {"generate", "lm"}:
            served = stack.enter_context(serve(tuned))
            if "lm" in reads:
                arguments["lm"] = served.lm()
            if "generate" in reads:
                arguments["generate"] = partial(_generate, tuned, served)
        return function(**arguments)


def _generate(
    tuned: TunedModel,
    served: ServedModel,
    prompts: list[str],
    *,
    max_new_tokens: int,
    temperature: float = 0.0,
) -> list[str]:
    """Generate one completion per prompt, in the training format."""
    texts = [tuned.render.prompt(prompt) for prompt in prompts]
    return served.generate(texts, temperature=temperature, max_tokens=max_new_tokens)
