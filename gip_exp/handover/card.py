"""The dataset card of `export=[hf]`: how the rows were chosen, in the format of the hub."""

from collections.abc import Mapping
from typing import Any

from gip_exp.config import Config
from gip_exp.config.data import RowsData
from gip_exp.config.judge import LLMJudge
from gip_exp.runs.records import RunResult

OVERLAP = "test questions that share {length} words in a row with a row of the pool: {count} of {n}"


def card(config: Config, result: RunResult) -> str:
    """Return the card as Markdown with a YAML head."""
    given = config.data.license if isinstance(config.data, RowsData) else None
    lines = [
        "---",
        f"license: {given or 'unknown'}",
        "task_categories:\n- text-generation",
        "tags:\n- data-selection\n- sft",
        "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*",
        "---",
        f"# {result['n_selected']:,} of {result['n_pool']:,} rows chosen by {config.selector.name}",
        "",
        "Chosen by Greedy Information Projection's experiment harness (gip-exp). `messages` are the turns, of which the last "
        "is the one to learn; `rank` is the order of the choice, `row` the number of the row in its `source`.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {_cell(value)} |" for name, value in _facts(config, result).items()),
        "",
        "## The subset beside the pool and random subsets of its size",
        "",
        "| measure | subset | pool | random subsets |",
        "|---|---:|---:|---:|",
        *(_measure(name, values) for name, values in result["measures"].items()),
        "",
        "Licence: "
        + ("as given for the source." if given else "not given (`data.license`); that of the source holds."),
        "",
        "`config.yaml` beside the run makes the same selection: `gip-exp --planned config.yaml`.",
        "",
    ]
    return "\n".join(lines)


def _facts(config: Config, result: RunResult) -> dict[str, str]:
    found = {
        "selector": config.selector.name,
        "budget": f"{config.budget} ({result['n_selected']:,} rows)",
        "seed": str(config.seed),
        "embedder": config.embedder.name if "embed" in result["stages"] else "none",
    }
    if result["judge"] is not None:
        model = f" ({config.judge.model})" if isinstance(config.judge, LLMJudge) else ""
        found["judge"] = f"{result['judge']}{model}, rubric {config.rubric.name}"
    for reason, count in result["left_out"].items():
        if count:
            found[f"left out: {reason.replace('_', ' ')}"] = f"{count:,} rows"
    overlap = result["contamination"].get("questions", {})
    for length, count in overlap.items():
        found[f"overlap, {length} words"] = OVERLAP.format(
            length=length, count=count, n=result["contamination"].get("n_test", "?")
        )
    return found


def _measure(name: str, values: Mapping[str, Any]) -> str:
    low, high = values["random_low"], values["random_high"]
    random = f"{low:.3g} to {high:.3g}" if low is not None else ""
    subset, pool = ("" if values[part] is None else f"{values[part]:.3g}" for part in ("subset", "pool"))
    return f"| {_cell(name)} | {subset} | {pool} | {random} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
