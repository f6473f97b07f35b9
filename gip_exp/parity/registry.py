"""The comparisons by method and peer."""

from collections.abc import Callable
from dataclasses import dataclass

from gip_exp.parity import checkouts, geometry, harness, importance
from gip_exp.parity.agreement import Outcome

# Option of the command line -> the authors' repository, and the file by which a checkout is known.
CHECKOUTS = {
    "less": ("princeton-nlp/LESS", "less/data_selection/matching.py"),
    "disf": ("MediaBrain-SJTU/DiSF", "DISF/select_disf.py"),
}


@dataclass(frozen=True)
class Comparison:
    """One row of the table.

    Attributes:
        method: Ours, as `selector=` or `evaluation=` names it.
        what: What is compared.
        run: Computes both from a `Pool` and, with `checkout`, the path of the checkout.
        package: The peer on PyPI.
        module: Its import name.
        checkout: Key of `CHECKOUTS`. Without package and checkout, the peer is the definition, written out here.
    """

    method: str
    what: str
    run: Callable[..., Outcome]
    package: str = ""
    module: str = ""
    checkout: str = ""


COMPARISONS = (
    Comparison("mp_ma", "picks", geometry.gip_and_definition),
    Comparison("facility_location", "picks", geometry.cover_and_submodlib, "submodlib-py", "submodlib"),
    Comparison("facility_location", "picks, gains", geometry.cover_and_apricot, "apricot-select", "apricot"),
    Comparison("dpp", "log det of picks", geometry.log_det_and_submodlib, "submodlib-py", "submodlib"),
    Comparison(
        "dsir", "log weights, top rows", importance.dsir_and_package, "data-selection", "data_selection"
    ),
    Comparison("gsm8k_few_shot", "prompts, replies, scores", harness.gsm8k_and_lm_eval, "lm-eval", "lm_eval"),
    Comparison("bbh", "prompts, replies, scores", harness.bbh_and_lm_eval, "lm-eval", "lm_eval"),
    Comparison("lm_eval", "prompts, scores", harness.any_task_and_lm_eval, "lm-eval", "lm_eval"),
    Comparison("less", "gradients, plain; Adam's", checkouts.less_gradients_and_checkout, checkout="less"),
    Comparison("less", "influence; picks", checkouts.less_matching_and_checkout, checkout="less"),
    Comparison("disf", "picks of one batch", checkouts.disf_and_checkout, checkout="disf"),
)
