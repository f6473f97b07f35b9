"""One cell of an experiment, from a composed config to the closing table."""

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from gip_exp.config import parse
from gip_exp.console import Console
from gip_exp.errors import UserError
from gip_exp.quiet import quiet_libraries


def run_cell(composed: Any) -> None:
    """Validate, run, show. A failure is printed here, where it belongs to its cell, and raised to the caller."""
    quiet_libraries()
    console = Console()
    try:
        config = parse(composed)
        from gip_exp import pipeline

        outcome = pipeline.run(config, console)
    except UserError as error:
        console.say(f"error: {error}", style="red")
        error.shown = True  # type: ignore[attr-defined]
        raise
    show(outcome.result, console)
    console.say(f"  {outcome.folder}")


def show(result: Mapping[str, Any], console: Console) -> None:
    """The closing tables: metrics with intervals, then the stages with seconds and what was reused."""
    if result["metrics"]:
        metrics = Table("metric", "value", "95 % interval", "n", title=None, title_justify="left")
        for name, metric in result["metrics"].items():
            metrics.add_row(
                name,
                f"{metric['value']:.4f}",
                f"{metric['low']:.4f} to {metric['high']:.4f}",
                str(metric["n"]),
            )
        console.table(metrics)
    table = Table("stage", "seconds", "", "key")
    for name, stage in result["stages"].items():
        table.add_row(name, f"{stage['seconds']:.1f}", "reused" if stage["cached"] else "made", stage["key"])
    console.table(table)
    selected = result["n_selected"]
    if selected is not None:
        console.say(f"  {selected} of {result['n_pool']} examples by {result['selector']}")
    if result["stages"] and all(stage["cached"] for stage in result["stages"].values()):
        console.say("  every stage was reused: nothing was computed again")
