"""The runs of a sweep, expanded exactly as by `python -m gip_exp -m ...`: with Hydra's parser and basic sweeper."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hydra import initialize_config_module
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from gip_exp.registry.selectors import register_installed


@contextmanager
def _hydra() -> Iterator[Any]:
    with initialize_config_module("conf", version_base="1.3"):
        yield GlobalHydra.instance().hydra


def expand(overrides: Sequence[str]) -> list[list[str]]:
    """Return the overrides of every run: all combinations of lists; keys on the command line replace those of `+sweep=`.

    Raises Hydra's errors for overrides that do not parse or compose.
    """
    with _hydra() as hydra:
        register_installed(overrides)
        sweep = _compose(hydra, overrides, RunMode.MULTIRUN)
        params = sweep.hydra.sweeper.get("params") or {}
        texts = [f"{key}={value}" for key, value in params.items()]
        texts += list(sweep.hydra.overrides.task)
        parsed = OverridesParser.create(config_loader=hydra.config_loader).parse_overrides(texts)
        return BasicSweeper.split_arguments(parsed, None)[0]


def compose(runs: Sequence[Sequence[str]]) -> Iterator[dict[str, Any]]:
    """Yield the composed config of every run as plain values, references resolved."""
    with _hydra() as hydra:
        for run in runs:
            composed = _compose(hydra, run, RunMode.RUN)
            OmegaConf.set_struct(composed, False)
            composed.pop("hydra")
            values = OmegaConf.to_container(composed, resolve=True)
            assert isinstance(values, dict)
            yield {str(key): value for key, value in values.items()}


def _compose(hydra: Any, overrides: Sequence[str], mode: RunMode) -> Any:
    return hydra.compose_config(
        "config", list(overrides), run_mode=mode, from_shell=False, with_log_configuration=False
    )
