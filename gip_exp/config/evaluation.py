"""How the tuned model is evaluated (`evaluation=`)."""

from importlib.resources import files
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, create_model, model_validator

from gip_exp.config.base import NEUTRAL, Positive, Section
from gip_exp.config.judge import LLMJudge
from gip_exp.registry import evaluations


class Gsm8kEvaluation(Section):
    """GSM8K exact match, zero-shot in the training format or few-shot as in lm-eval."""

    task: Literal["zero_shot", "few_shot"]
    shots: Annotated[int, Field(ge=0)]
    max_new_tokens: Positive
    limit: Positive | None = None

    @model_validator(mode="after")
    def _shots_of_the_task(self) -> "Gsm8kEvaluation":
        if (self.task == "few_shot") != (self.shots > 0):
            raise ValueError(
                f"evaluation.gsm8k.task={self.task} with evaluation.gsm8k.shots={self.shots}: few_shot shows worked "
                "examples (lm-eval's gsm8k has shots=5), zero_shot shows none (shots=0)"
            )
        return self


class AnswerNllEvaluation(Section):
    """Likelihood of the reference answers."""

    limit: Positive | None = None


class BbhEvaluation(Section):
    """BIG-Bench Hard in one of lm-eval's variants."""

    variant: Literal["cot_fewshot", "fewshot", "cot_zeroshot", "zeroshot"]
    tasks: list[str] | None = None
    data_dir: Annotated[str | None, NEUTRAL] = None  # a folder of <task>.json; null reads the hub
    limit: Positive | None = None  # questions per task
    max_new_tokens: Positive | None = None


class LmEvalEvaluation(Section):
    """Tasks of lm-eval by name."""

    tasks: list[str]  # names of tasks, groups or tags
    include_path: Annotated[str | None, NEUTRAL] = None  # a folder of further task definitions
    limit: Positive | None = None  # questions per task


class MtBenchEvaluation(Section):
    """MT-Bench with its own judge."""

    data_dir: Annotated[str | None, NEUTRAL] = None  # the published files; null downloads them once
    limit_per_category: Positive | None = None
    max_new_tokens: Positive
    repeats: Positive  # gradings per answer
    judge_reply: Literal["free", "rating"] = "free"  # rating: vLLM restricts the judge's reply to a rating
    judge: LLMJudge


_WRITTEN: dict[str, type[Section]] = {
    "gsm8k": Gsm8kEvaluation,
    "answer_nll": AnswerNllEvaluation,
    "bbh": BbhEvaluation,
    "lm_eval": LmEvalEvaluation,
    "mt_bench": MtBenchEvaluation,
}


class _Evaluations(Section):
    """The chosen evaluations; the others are None."""

    def chosen(self) -> dict[str, Section]:
        """Return the chosen evaluations by name, in a fixed order."""
        named = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: section for name, section in named.items() if section is not None}


def _sections() -> dict[str, type[Section]]:
    """Return the section of every evaluation: those above, and those generated from functions in `eval`."""
    names = (path.name.removesuffix(".yaml") for path in files("conf").joinpath("evaluation").iterdir())
    generated = {
        name: create_model(f"{name}Evaluation", __base__=Section, **evaluations.signature(name)[1])  # type: ignore[call-overload]
        for name in sorted(names)
        if name not in _WRITTEN and evaluations.exists(name)
    }
    return {**_WRITTEN, **generated}


if TYPE_CHECKING:

    class Evaluations(_Evaluations):
        """The evaluations above, for type checkers."""

        gsm8k: Gsm8kEvaluation | None = None
        answer_nll: AnswerNllEvaluation | None = None
        bbh: BbhEvaluation | None = None
        lm_eval: LmEvalEvaluation | None = None
        mt_bench: MtBenchEvaluation | None = None
else:
    Evaluations = create_model(
        "Evaluations",
        __base__=_Evaluations,
        **{name: (section | None, None) for name, section in _sections().items()},
    )
