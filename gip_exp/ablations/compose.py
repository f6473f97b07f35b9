"""Compose and check the config and the settings of an ablation.

The keys of an ablation are under `ablation.` and are described by `Settings` in its module; everything else is the
config of the harness, composed as by `python -m gip_exp`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_module
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf
from pydantic import ValidationError

from gip_exp.ablations.material import Material, load
from gip_exp.config import Config, parse
from gip_exp.config.base import Section
from gip_exp.config.keys import unknown_key
from gip_exp.config.selector import GipSelector
from gip_exp.console import Console
from gip_exp.errors import UserError, listed

GROUP = "ablation"


@dataclass(frozen=True)
class Setup:
    """What an ablation works with; `overrides` are those of the command line, to compose a neighbouring config."""

    name: str
    config: Config
    settings: Any  # the `Settings` of the ablation's module
    overrides: tuple[str, ...]
    console: Console

    @property
    def selector(self) -> GipSelector:
        """The GIP rule that the ablation varies: the `selector` of the config."""
        selector = self.config.selector
        if not isinstance(selector, GipSelector) or selector.signal != "judge":
            raise UserError(
                f"selector={selector.name}: the ablations vary GIP on scores; choose mp_ma, omp_ma or logdet_ma"
            )
        return selector

    def material(self) -> Material:
        """Return scores and embeddings of the pool, made or reused."""
        return load(self.config, self.console)

    def with_embedder(self, name: str) -> Config:
        """Return the same config with another embedder; the one named on the command line keeps its keys."""
        if name == self.config.embedder.name or f"embedder={name}" in self.overrides:
            return self.config
        kept = [
            text for text in self.overrides if not text.lstrip("+").startswith(("embedder=", "embedder."))
        ]
        return _compose(self.name, [*kept, f"embedder={name}"])[0]


def module_of(name: str) -> ModuleType:
    """Import the module of an ablation."""
    return import_module(f"gip_exp.ablations.{name}")


def setup(name: str, overrides: Sequence[str], console: Console) -> Setup:
    """Compose and check; UserError lists every problem, Hydra's errors are for unknown keys and groups."""
    config, raw = _compose(name, overrides)
    try:
        settings = module_of(name).Settings.model_validate(raw)
    except ValidationError as error:
        problems = [_say(problem, name) for problem in error.errors()]
        raise listed("the ablation's settings have several problems:", problems) from None
    return Setup(name, config, settings, tuple(overrides), console)


def defaults_of(name: str) -> str:
    """Return the ablation's own keys and their defaults as YAML."""
    return OmegaConf.to_yaml(OmegaConf.create({GROUP: module_of(name).Settings().model_dump(mode="json")}))


def _compose(name: str, overrides: Sequence[str]) -> tuple[Config, dict[str, Any]]:
    with _offered(name, module_of(name).Settings()), initialize_config_module("conf", version_base="1.3"):
        composed = hydra_compose("config", [f"+{GROUP}={name}", *overrides])
    values = OmegaConf.to_container(composed, resolve=True)
    assert isinstance(values, dict)
    own = values.pop(GROUP)
    return parse({str(key): value for key, value in values.items()}), own


@contextmanager
def _offered(name: str, defaults: Section) -> Iterator[None]:
    """Register the group `ablation` with Hydra while the config of an ablation is composed."""
    store = ConfigStore.instance()
    store.store(group=GROUP, name=name, node=defaults.model_dump(mode="json"))
    try:
        yield
    finally:
        store.repo.pop(GROUP, None)


def keys_of(name: str) -> list[str]:
    """Return the ablation's own keys, dotted."""
    return [f"{GROUP}.{field}" for field in module_of(name).Settings.model_fields]


def _say(problem: Any, name: str) -> str:
    key = ".".join([GROUP, *(str(part) for part in problem["loc"])])
    if problem["type"] == "extra_forbidden":
        return unknown_key(key, keys_of(name))
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key}={problem['input']!r}: {message[0].lower()}{message[1:]}"
