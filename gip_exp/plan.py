"""`python -m gip_exp.plan +experiment=NAME [+sweep=NAME] [key=value,value ...] [--write DIR]`: plan a sweep.

Prints the runs without duplicates, their cached outputs, and an estimate of the GPU-hours, judge calls, dollars and disk
for the rest. `--write DIR` writes one resolved config per run, for slurm/submit.sh or
`python -m gip_exp --planned DIR/runs/*.yaml`. Runs the stage `data` only.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from gip_exp.errors import UserError, listed

if TYPE_CHECKING:
    from gip_exp.config import Config
    from gip_exp.console import Console
    from gip_exp.sweep.estimate import Estimate, Step, Wanted

os.environ.setdefault("HYDRA_FULL_ERROR", "1")
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
        perform([text for text in overrides if text not in ("-m", "--multirun")], options)
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
    from gip_exp.sweep.cost_model import Speed
    from gip_exp.sweep.estimate import estimate

    console = Console(sys.stdout)
    runs = _runs(overrides, options.config_dir)
    whole = estimate(runs, Console(), Speed(options.tflops, options.bandwidth))  # progress goes to stderr
    # Before the tables, so that no plan is shown that cannot be written.
    new = _write(whole, overrides, options.write) if options.write is not None else False
    show(whole, console)
    if options.write is not None:
        _show_commands(new, options.write, console)


def _runs(overrides: Sequence[str], config_dir: str | None) -> "list[Wanted]":
    """Return the validated config and name of every run. Raises UserError with the problems of all runs."""
    from gip_exp.config import parse
    from gip_exp.sweep import expand
    from gip_exp.sweep.estimate import Wanted

    runs = expand.expand(overrides, config_dir)
    found: list[Wanted] = []
    problems: dict[str, str] = {}
    composed = expand.compose(runs, config_dir)
    for run, swept, values in zip(runs, expand.swept(runs), composed, strict=True):
        others = [text for text in swept if text.partition("=")[0] not in NAMED]
        try:
            config = _with_absolute_paths(parse(values))
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


def _with_absolute_paths(config: "Config") -> "Config":
    """Make paths absolute, because a job may start in another folder."""
    update: dict[str, Any] = {"paths": config.paths.model_copy(update={"root": config.paths.root.absolute()})}
    data_path = getattr(config.data, "path", None)
    if data_path:
        update["data"] = config.data.model_copy(update={"path": str(Path(data_path).absolute())})
    files = {
        name: section.model_copy(update={"data_dir": str(Path(place).absolute())})
        for name, section in config.evaluation.chosen().items()
        if (place := getattr(section, "data_dir", None))
    }
    if files:
        update["evaluation"] = config.evaluation.model_copy(update=files)
    return config.model_copy(update=update)


def show(whole: "Estimate", console: "Console") -> None:
    """Print the runs and the table of costs."""
    from gip_exp.signals import lifetime
    from gip_exp.sweep.estimate import by_group

    dropped = whole.requested - len(whole.runs)
    same = f" ({dropped} duplicates dropped)" if dropped else ""
    console.say(f"{len(whole.runs)} runs{same}, {whole.done} with all stages cached", style="bold")
    for run in whole.runs[:LISTED]:
        console.say(f"  {run.name}  {run.label}")
    if len(whole.runs) > LISTED:
        console.say(f"  and {len(whole.runs) - LISTED} more")
    table = Table(
        "stage", *["all", "cached", "to make", "hours", "GPU-h", "calls", "USD", "in batches", "disk"]
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for group, steps in by_group(whole.steps).items():
        table.add_row(group, *_figures(steps))
    table.add_section()
    table.add_row("", *_figures(list(whole.steps.values())))
    console.table(table)
    console.say(_sources(list(whole.steps.values())), style="dim")
    for text in lifetime.warnings(judge for config in whole.configs for judge in lifetime.judges(config)):
        console.warn(text)


def _figures(steps: "list[Step]") -> list[str]:
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
        _dollars([step.batch_usd for step in left]),
        _size(sum(step.cost.size for step in left)),
    ]


def _dollars(prices: "list[float | None]") -> str:
    """Return the sum of the known prices, with a plus sign if some are unknown."""
    usd, unpriced = sum(price or 0.0 for price in prices), None in prices
    return "no price" if unpriced and not usd else f"{usd:,.2f}" + ("+" if unpriced else "")


def _sources(steps: "list[Step]") -> str:
    left = [step for step in steps if not step.cached]
    count = {known: sum(step.cost.known == known for step in left) for known in ("measured", "rule", "")}
    return (
        f"hours: {count['measured']} outputs measured in this store, {count['rule']} by rule of thumb (one GPU; "
        f"--tflops, --bandwidth), {count['']} without an estimate (seconds to minutes on a CPU, or a judge served by "
        "vLLM); calls: to judges and samplers, without retries; in batches: with judge.batch=true and sampler.batch=true"
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
    console.say(f"{'written' if new else 'unchanged'}: {folder}; next:")
    console.say(f"  gip-exp submit {folder}                   run on a cluster")
    console.say(f"  gip-exp --planned {folder}/runs/*.yaml    run on this machine")
    console.say(f"  gip-exp status {folder} --watch           watch the state of the runs")


if __name__ == "__main__":
    from gip_exp.stdout import run_and_exit

    run_and_exit(main)
