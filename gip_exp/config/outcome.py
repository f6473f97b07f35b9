"""How the tuned model is evaluated and where the run is tracked."""

from typing import Annotated, Literal

from pydantic import Field

from gip_exp.config.section import Positive, Section


class Gsm8kEvaluation(Section):
    task: Literal["zero_shot", "few_shot"]
    shots: Annotated[int, Field(ge=0)]
    max_new_tokens: Positive
    limit: Positive | None = None


class AnswerNllEvaluation(Section):
    limit: Positive | None = None


class Evaluations(Section):
    gsm8k: Gsm8kEvaluation | None = None
    answer_nll: AnswerNllEvaluation | None = None

    def chosen(self) -> dict[str, Section]:
        """The evaluations asked for, by name, in a fixed order."""
        named = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: section for name, section in named.items() if section is not None}


class Tracking(Section):
    kind: Literal["wandb", "none"]
    project: str | None = None
    entity: str | None = None
    group: str | None = None
    mode: Literal["auto", "online", "offline"] = "auto"
