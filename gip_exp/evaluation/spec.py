"""The definition of an evaluation: how it runs, what it requires, what it costs."""

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
    """The work of an evaluation: number of replies, tokens read and written per reply."""

    n: int = 0
    read: float = 0.0
    written: float = 0.0
    turns: int = 1  # of a conversation, which must be generated one after the other


@dataclass(frozen=True)
class Evaluation:
    """One evaluation.

    Attributes:
        run: Computes the result from the job and the tuned model.
        code: Functions whose code is part of the stage's key.
        missing: Its unmet requirements besides the model, each with its remedy.
        settings: What can change its result besides its options.
        questions: Its work, from its options and the rows of the data (`sweep.cost_model.Rows`).
        test_rows: Whether it needs the test rows of the data.
        served: Whether it uses `engine`; likelihoods are computed in this process.
        resumable: Whether a run that stopped midway goes on from what it left in the folder of its output.
        harness: Whether lm-eval generates the replies; it refuses replies longer than the context.
    """

    run: Callable[["Job", "TunedModel"], "EvalResult"]
    code: tuple[str | Callable[..., Any], ...] = ()
    missing: Callable[[Any, "Config"], list[str]] = field(default=lambda *_: [])
    settings: Callable[[Any, "Config"], dict[str, Any]] = field(default=lambda *_: {})
    questions: Callable[[Any, Any], Questions] = field(default=lambda *_: Questions())
    test_rows: bool = False
    served: bool = True
    resumable: bool = False
    harness: bool = True
