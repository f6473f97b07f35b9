"""What each evaluation runs, needs and costs: those of `tasks.py`, and any that is one function in `eval/`
(`gip_exp.registry.evaluations` says how to write one).
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from gip_exp.registry import evaluations

if TYPE_CHECKING:
    from eval.results import EvalResult
    from gip_exp.config import Config
    from gip_exp.config.base import Section
    from gip_exp.evaluation.tuned_model import TunedModel
    from gip_exp.stage import Job


@dataclass(frozen=True)
class Questions:
    """What an evaluation asks of the model: how many replies, and tokens read and written for each."""

    n: int = 0
    read: float = 0.0
    written: float = 0.0
    turns: int = 1  # asked one after the other


@dataclass(frozen=True)
class Evaluation:
    """One evaluation.

    Attributes:
        run: makes the result from the job and the tuned model; `module:name` of it is followed for the stage's key.
        missing: what it lacks on this machine beyond the model, each with its remedy.
        settings: what beside its options changes its result.
        asks: replies and tokens that it costs, from its options and the rows of the data (`sweep.cost_model.Rows`).
        test_rows: whether it asks for the data's test rows.
        served: whether it goes through `engine` (a likelihood is computed in this process).
        harness: whether lm-eval generates, which refuses replies longer than the context.
    """

    run: Callable[["Job", "TunedModel"], "EvalResult"]
    code: tuple[str | Callable[..., Any], ...] = ()
    missing: Callable[[Any, "Config"], list[str]] = field(default=lambda *_: [])
    settings: Callable[[Any, "Config"], dict[str, Any]] = field(default=lambda *_: {})
    asks: Callable[[Any, Any], Questions] = field(default=lambda *_: Questions())
    test_rows: bool = False
    served: bool = True
    harness: bool = True


def find(name: str) -> Evaluation:
    """The evaluation of this name; the config has seen to it that there is one."""
    from gip_exp.evaluation.tasks import EVALUATIONS

    return EVALUATIONS[name] if name in EVALUATIONS else _from_signature(name)


@cache
def _from_signature(name: str) -> Evaluation:
    reads, _ = evaluations.signature(name)
    return Evaluation(
        run=partial(_run, name),
        code=(f"eval.{name}:evaluate",),
        asks=_asks,
        test_rows="test" in reads,
        served=bool({"generate", "lm"} & reads),
        harness=False,
    )


def _asks(section: Any, rows: Any) -> Questions:
    """One reply a test row, as long as its options allow or as two reference answers."""
    limit, longest = getattr(section, "limit", None), getattr(section, "max_new_tokens", None)
    n = min(rows.test, limit or rows.test)
    return Questions(n, rows.prompt_tokens, min(longest or float("inf"), 2 * rows.completion_tokens))


def _run(name: str, job: "Job", tuned: "TunedModel") -> "EvalResult":
    """Call `evaluate` with what it reads and with its options."""
    from gip_exp.artifacts import read_test
    from gip_exp.evaluation.tuned_model import serve

    section: Section = job.config.evaluation.chosen()[name]
    function = evaluations.function(name)
    reads, options = evaluations.signature(name)
    given: dict[str, Any] = {option: getattr(section, option) for option in options}
    if "test" in reads:
        given["test"] = read_test(job.inputs)
    if "tokenizer" in reads:
        given["tokenizer"] = tuned.tokenizer
    if "model" in reads:
        given["model"] = tuned.model
    if not reads & {"generate", "lm"}:
        return function(**given)
    with serve(tuned) as served:
        if "lm" in reads:
            given["lm"] = served.lm()
        if "generate" in reads:

            def generate(prompts: list[str], *, max_new_tokens: int, temperature: float = 0.0) -> list[str]:
                texts = [tuned.render.prompt(prompt) for prompt in prompts]
                return served.generate(texts, temperature=temperature, max_tokens=max_new_tokens)

            given["generate"] = generate
        return function(**given)
