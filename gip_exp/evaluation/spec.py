"""What an evaluation is: how it runs, what it needs, what it costs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eval.results import EvalResult
    from gip_exp.config import Config
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
