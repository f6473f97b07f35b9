"""`python -m gip_exp.plan +experiment=NAME [+sweep=NAME] [key=value,value ...] [--write DIR]`: plan a sweep.

Prints the runs without duplicates, their cached outputs, and an estimate of the GPU-hours, judge calls, dollars and disk
for the rest. `--write DIR` writes one resolved config per run, for `gip-exp submit` or
`python -m gip_exp --planned DIR/runs/*.yaml`. Runs the stage `data` only.
"""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from gip_exp.errors import UserError, listed

if TYPE_CHECKING:
    from gip_exp.console import Console
    from gip_exp.progress import Bar
    from gip_exp.sweep.estimate import Estimate, Step, Wanted

os.environ.setdefault("HYDRA_FULL_ERROR", "1")
PROGRESS_S = 10.0  # seconds between two lines of progress without a terminal
LISTED = 20  # runs listed by name
NAMED = ("selector", "budget", "seed", "model")  # overrides that are part of a run's name already


def main(arguments: Sequence[str] | None = None) -> int:
    """Plan a sweep; return the exit code: 2, with a message on stderr, for an error the user can fix."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    options, overrides = _parser().parse_known_args(arguments)
    try:
        unknown = [text for text in overrides if text.startswith("--")]
        if unknown:
            from gip_exp.cli.hydra_errors import dashes

            no_option = f"{' '.join(unknown)}: no such option; gip-exp plan --help lists the options"
            raise UserError(dashes(unknown) or no_option)
        from gip_exp.cli.main import with_home

        perform([with_home(text) for text in overrides if text not in ("-m", "--multirun")], options)
    except (UserError, HydraException, OmegaConfBaseException) as error:
        from gip_exp.cli.hydra_errors import explained

        print(f"error: {explained(error, overrides)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gip-exp plan",
        usage="gip-exp plan +experiment=NAME [+sweep=NAME] [key=value,value ...] [--write DIR]",
        description="List the runs of a sweep, their cached outputs, and the estimated cost of the rest.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config-dir",
        "-cd",
        metavar="DIR",
        help="folder with your own config groups, used in addition to conf/",
    )
    parser.add_argument("--write", metavar="DIR", type=Path, help="write one resolved config per run to DIR")
    parser.add_argument(
        "--tflops",
        type=_positive,
        default=200.0,
        help="assumed speed of one GPU in training, in TFLOP/s (default 200)",
    )
    parser.add_argument(
        "--bandwidth",
        type=_positive,
        default=2.0,
        help="assumed memory bandwidth of one GPU, in TB/s (default 2)",
    )
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} must be a number above 0")
    return value


def perform(overrides: Sequence[str], options: argparse.Namespace) -> None:
    """Expand the sweep, estimate its cost, print it and, with `--write`, write the plan."""
    from gip_exp.console import Console
    from gip_exp.sweep import expand
    from gip_exp.sweep.cost_model import Speed
    from gip_exp.sweep.estimate import estimate

    console, progress = Console(sys.stdout), Console(every_s=PROGRESS_S)  # progress goes to stderr
    runs = expand.expand(overrides, options.config_dir)
    progress.say(expand.axes(runs), style="bold")  # a refused plan prints nothing to stdout
    with progress.bar("composing the configs", len(runs)) as bar:
        wanted = _wanted(runs, options.config_dir, bar)
    whole = estimate(wanted, progress, Speed(options.tflops, options.bandwidth))
    # Before the tables, so that no plan is shown that cannot be written.
    new = _write(whole, overrides, options.write) if options.write is not None else False
    show(whole, console)
    if options.write is not None:
        _show_commands(new, options.write, console)


def _wanted(runs: Sequence[list[str]], config_dir: str | None, bar: "Bar") -> "list[Wanted]":
    """Return the validated config and name of every run. Raises UserError with the problems of all runs."""
    from gip_exp.config import parse
    from gip_exp.sweep import expand
    from gip_exp.sweep.absolute_paths import with_absolute_paths
    from gip_exp.sweep.estimate import Wanted

    found: list[Wanted] = []
    problems: dict[str, str] = {}
    composed = expand.compose(runs, config_dir)
    for run, swept, values in zip(runs, expand.swept(runs), composed, strict=True):
        bar.advance()
        others = [text for text in swept if text.partition("=")[0] not in NAMED]
        try:
            config = with_absolute_paths(parse(values))
        except UserError as error:
            problems.setdefault(str(error), " ".join(run))
            continue
        name = f"{config.selector.name}_b{config.budget}_s{config.seed} {config.model.name}"
        found.append(Wanted(config, " ".join([name, *others])))
    if problems:
        raise listed(
            "the sweep has invalid runs:",
            [f"{message} (first run: {run})" for message, run in problems.items()],
        )
    return found


def show(whole: "Estimate", console: "Console") -> None:
    """Print the runs and the table of costs."""
    from gip_exp.signals import lifetime
    from gip_exp.sweep.estimate import BATCHED, by_group

    dropped = whole.requested - len(whole.runs)
    same = f" ({dropped} duplicates dropped)" if dropped else ""
    console.say(f"{len(whole.runs)} runs{same}, {whole.done} with all stages cached", style="bold")
    if whole.untuned:
        models = "1 model is" if whole.untuned == 1 else f"{whole.untuned} models are"
        console.say(f"{models} also evaluated before fine-tuning, in the costs below (untuned=false: not)")
    for run in whole.runs[:LISTED]:
        console.say(f"  {run.name}  {run.label}")
    if len(whole.runs) > LISTED:
        console.say(f"  and {len(whole.runs) - LISTED} more")
    table = Table("stage", *["all", "cached", "left", "hours", "GPU-h", "calls", "USD", "disk"])
    for column in table.columns[1:]:
        column.justify = "right"
    for group, steps in by_group(whole.steps).items():
        table.add_row(group, *_figures(steps))
    size = whole.folder_size or 0.0
    if whole.folder_size is not None:
        table.add_row("runs", *_folders(len(whole.runs), whole.folders_left, size))
    table.add_section()
    table.add_row("", *_figures(list(whole.steps.values()), more=whole.folders_left * size))
    console.table(table)
    left = [step for step in whole.steps.values() if not step.cached]
    live, batches = _dollars([step.usd for step in left]), _dollars([step.batch_usd for step in left])
    if batches != live:
        dear = {step.name for step in left if step.batch_usd != step.usd}
        keys = ", ".join(f"{key}=true" for name, key in BATCHED.items() if name in dear)
        console.say(f"in batches ({keys}): {batches} USD instead of {live}")
    console.say(_sources(by_group(whole.steps)), style="dim")
    for text in lifetime.warnings(judge for config in whole.configs for judge in lifetime.judges(config)):
        console.warn(text)


def _folders(runs: int, left: int, size: float) -> list[str]:
    return [str(runs), str(runs - left), str(left), *[""] * 4, _size(left * size)]


def _figures(steps: "list[Step]", more: float = 0.0) -> list[str]:
    """Return the cells of a row; `more` is added to the disk, in bytes."""
    cached = sum(step.cached for step in steps)
    left = [step for step in steps if not step.cached]
    known = [step for step in left if step.cost.known]
    hours = sum(step.cost.seconds for step in known) / 3600
    gpu = sum(step.cost.seconds for step in known if step.gpu) / 3600
    calls = sum(step.calls for step in left)
    return [
        str(len(steps)),
        str(cached),
        str(len(left)),
        (_number(hours) if known else "?") if left else "0",
        _number(gpu),
        f"{calls:,}",
        _dollars([step.usd for step in left]),
        _size(sum(step.cost.size for step in left) + more),
    ]


def _dollars(prices: "list[float | None]") -> str:
    """Return the sum of the known prices, with a plus sign if some are unknown."""
    usd, unpriced = sum(price or 0.0 for price in prices), None in prices
    return "no price" if unpriced and not usd else f"{usd:,.2f}" + ("+" if unpriced else "")


def _sources(groups: "Mapping[str, list[Step]]") -> str:
    """Return how many outputs of each stage are estimated from measurements, and what the other figures are."""
    left = {group: [step for step in steps if not step.cached] for group, steps in groups.items()}
    measured = [
        f"{group} {sum(step.cost.known == 'measured' for step in steps)} of {len(steps)}"
        for group, steps in left.items()
        if steps
    ]
    every = [step for steps in left.values() for step in steps]
    rules, unknown = (sum(step.cost.known == known for step in every) for known in ("rule", ""))
    return (
        f"from outputs measured in this store: {', '.join(measured) or 'nothing to make'}; {rules} by rule of thumb (one "
        f"GPU; --tflops, --bandwidth), {unknown} without hours (seconds to minutes on a CPU, or a judge served by vLLM). "
        "Hours are those of the stages, without the start of each process; calls: to judges and samplers, without "
        "retries"
    )


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:,.1f}" if value >= 0.1 else f"{value:.3f}"


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def _write(whole: "Estimate", overrides: Sequence[str], folder: Path) -> bool:
    """Write the plan; return whether it is new."""
    from gip_exp.pipeline import as_yaml
    from gip_exp.sweep import plan_folder

    return plan_folder.write(folder, overrides, whole.runs, [as_yaml(config) for config in whole.configs])


def _show_commands(new: bool, folder: Path, console: "Console") -> None:
    plan = shlex.quote(str(folder))
    console.say(f"{'written' if new else 'unchanged'}: {folder}; next:")
    commands = {
        f"gip-exp submit {plan}": "run on a cluster",
        f"gip-exp --planned {plan}/runs/*.yaml": "run on this machine",
        f"gip-exp status {plan} --watch": "watch the state of the runs",
    }
    width = max(map(len, commands))
    for command, purpose in commands.items():
        console.say(f"  {command.ljust(width)}   {purpose}")


if __name__ == "__main__":
    from gip_exp.stdout import run_and_exit

    run_and_exit(main)
