"""The runs of a sweep, expanded exactly as Hydra's own parser and basic sweeper would."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import version
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from gip_exp.errors import UserError
from gip_exp.registry.selectors import register_installed

COUNTED = ("experiment", "model", "judge", "embedder", "selector", "budget", "seed")  # have a plain plural


@contextmanager
def _hydra(config_dir: str | None) -> Iterator[Any]:
    """Initialise Hydra with `conf/` and, like its option --config-dir, the user's folder of config groups."""
    path = create_config_search_path("pkg://conf")
    if config_dir is not None:
        own = Path(config_dir).expanduser().absolute()
        if not own.is_dir():
            raise UserError(f"--config-dir {config_dir} is not a folder: give a folder with config groups")
        path.prepend("command-line", f"file://{own}", SearchPathQuery(provider="schema"))
    version.setbase("1.3")
    Hydra.create_main_hydra2("gip_exp", path)
    try:
        yield GlobalHydra.instance().hydra
    finally:
        GlobalHydra.instance().clear()


def expand(overrides: Sequence[str], config_dir: str | None = None) -> list[list[str]]:
    """Return the overrides of every run: all combinations of the lists, from the command line or from `+sweep=`.

    Keys on the command line take precedence over those of `+sweep=`. Raises Hydra's errors for invalid overrides.
    """
    with _hydra(config_dir) as hydra:
        register_installed(overrides)
        sweep = _compose(hydra, overrides, RunMode.MULTIRUN)
        params = sweep.hydra.sweeper.get("params") or {}
        texts = [f"{key}={value}" for key, value in params.items()]
        texts += list(sweep.hydra.overrides.task)
        parsed = OverridesParser.create(config_loader=hydra.config_loader).parse_overrides(texts)
        # Hydra, too, hands its own settings on to every run; of these only the folders of configs matter here.
        own = [text for text in sweep.hydra.overrides.hydra if text.startswith("hydra.searchpath=")]
        return [[*own, *run] for run in BasicSweeper.split_arguments(parsed, None)[0]]


def axes(runs: Sequence[Sequence[str]]) -> str:
    """Return the size of a sweep by what varies: `2 models x 7 selectors x 4 budgets = 56 runs`."""
    values: dict[str, set[str]] = {}
    for run in swept(runs):
        for text in run:
            key, _, value = text.lstrip("+").partition("=")
            values.setdefault(key, set()).add(value)
    parts = [
        f"{len(found)} {key}s" if key in COUNTED else f"{len(found)} values of {key}"
        for key, found in values.items()
    ]
    total = f"{len(runs)} runs" if len(runs) > 1 else "1 run"
    return f"{' x '.join(parts)} = {total}" if parts else total


def swept(runs: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return, for each run, the overrides that differ between runs."""
    return [[text for text in run if not all(text in other for other in runs)] for run in runs]


def compose(runs: Sequence[Sequence[str]], config_dir: str | None = None) -> Iterator[dict[str, Any]]:
    """Yield the composed config of every run as plain values, with references resolved."""
    with _hydra(config_dir) as hydra:
        for overrides in runs:
            composed = _compose(hydra, overrides, RunMode.RUN)
            OmegaConf.set_struct(composed, False)
            composed.pop("hydra")
            values = OmegaConf.to_container(composed, resolve=True)
            assert isinstance(values, dict)
            yield {str(key): value for key, value in values.items()}


def _compose(hydra: Any, overrides: Sequence[str], mode: RunMode) -> Any:
    return hydra.compose_config(
        "config", list(overrides), run_mode=mode, from_shell=False, with_log_configuration=False
    )
