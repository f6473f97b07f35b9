"""Selectors: functions that rank the rows of a pool, found by name.

A selector is one function,

    def select(features, budget, *, seed: Seed, candidates=None) -> Selection: ...

in `baselines/<kind>.py`, or in an installed package with an entry point in the group `gip_exp.selectors`. The harness
fills the parameters listed in `READS`; the others become the keys `selector.<option>`, validated by their types. A
function marked with `selection.types.per_budget` is called for every budget; any other once per budget class.
"""

import pkgutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from inspect import signature
from types import ModuleType
from typing import Any

from baselines._target_rules import SUBTASKS, Aggregate
from gip_exp.errors import UserError
from gip_exp.registry.signature import split_parameters

__all__ = [
    "GROUP",
    "READS",
    "SUBTASKS",
    "Aggregate",
    "Selector",
    "find",
    "installed",
    "own",
    "register_installed",
]
GROUP = "gip_exp.selectors"  # of entry points
READS = {
    "n": "number of rows in the pool",
    "features": "(n, d) float32, the embeddings",
    "scores": "(n, k) float64, the columns of the signal; None for a signal without scores",
    "score_names": "names of the k columns of the scores",
    "completions": "the completions of the n rows of the pool",
    "losses": "(n, 2) float32, mean loss of each completion with and without its prompt",
    "texts": "n texts of the pool, prompt and completion",
    "target_texts": "texts of the held-out target rows",
    "target_features": "(t, d) float32, the embeddings of the held-out target rows",
    "target_labels": "values of the target rows in the metadata column that `subtasks` names, else None",
    "gradients": "one folder per LESS checkpoint, with the gradient features of the pool and of the target rows",
    "checkpoint_weights": "one weight per LESS checkpoint",
    "candidates": "(n,) bool, the rows that may be picked, or None for all",
    "scratch": "a folder for temporary files if the embeddings fill half of the memory; else None",
    "note": "a function that shows a sentence and records it with the result",
    "budget": "number of rows to pick",
}
_TAKEN = {"kind", "name", "signal", "signals", "embedder"}  # keys of the config section of a selector
AT_TARGET = frozenset({"target_texts", "target_features", "gradients"})
# Selectors with slow imports, listed with their parameters so that configs are validated without importing them.
_HEAVY = {
    "gip": ("selection.select:gip_select", ("features", "scores", "candidates", "scratch")),
    "less": (
        "baselines.less.influence:select_by_gradients",
        ("gradients", "checkpoint_weights", "target_labels", "candidates"),
    ),
}


@dataclass(frozen=True)
class Selector:
    """One selector.

    Attributes:
        kind: Its name in configs (`selector.kind`).
        function: Its function, as `module:name`.
        reads: The parameters that the harness fills, except the budget.
        options: name -> (type, default or `...`) of the other parameters; empty for gip and less, whose options are
            defined in `gip_exp.config.selector`.
        nested: Whether the picks for a small budget are the first picks for a larger one.
        package: `name==version` of the installed package; empty for the project's own selectors.
    """

    kind: str
    function: str
    reads: frozenset[str]
    options: Mapping[str, tuple[Any, Any]]
    nested: bool = True
    package: str = ""

    @property
    def at_target(self) -> bool:
        """Whether it uses the held-out target rows."""
        return bool(self.reads & AT_TARGET)

    def load(self) -> Any:
        """Import the function."""
        module, _, name = self.function.partition(":")
        return getattr(import_module(module), name)

    def options_of(self, config: Any) -> dict[str, Any]:
        """Return the options of the function, from the config section of the selector."""
        accepted = signature(self.load()).parameters.keys() - READS.keys()
        return {name: getattr(config, name) for name in type(config).model_fields if name in accepted}


@cache
def own() -> Mapping[str, Selector]:
    """Return the project's own selectors by kind."""
    import baselines

    found = {
        kind: Selector(kind, function, frozenset(reads), {}) for kind, (function, reads) in _HEAVY.items()
    }
    for module in pkgutil.iter_modules(baselines.__path__):
        if module.name.startswith("_") or module.name in found:
            continue
        select = getattr(_imported(f"baselines.{module.name}"), "select", None)
        if select is not None:
            found[module.name] = _own(module.name, select)
    return dict(sorted(found.items()))


def _imported(name: str) -> ModuleType:
    try:
        return import_module(name)
    except (ImportError, SyntaxError, NameError) as error:
        raise UserError(
            f"{name.replace('.', '/')}.py cannot be imported ({type(error).__name__}: {error}), and it may be a selector: "
            "correct it, or take it away"
        ) from error


def _own(kind: str, select: Any) -> Selector:
    try:
        return _from_signature(kind, select)
    except (TypeError, NameError) as error:
        raise UserError(
            f"baselines/{kind}.py: the function select cannot be used as a selector ({error}); the parameters that are filled "
            f"are {', '.join(READS)}"
        ) from error


@cache
def installed() -> Mapping[str, EntryPoint]:
    """Return the entry points of installed packages by kind, without importing them; own names take precedence."""
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in own()}


@cache
def find(kind: str) -> Selector:
    """Return the selector of this kind. Raises UserError if it is unknown or its package cannot be used."""
    if kind in own():
        return own()[kind]
    if kind not in installed():
        raise UserError(
            f"selector.kind={kind!r}: there is no such selector; choose from: {', '.join([*own(), *installed()])}"
        )
    point = installed()[kind]
    package = f"{point.dist.name}=={point.dist.version}" if point.dist else ""
    try:
        return _from_signature(kind, point.load(), package)
    except (ImportError, AttributeError, TypeError, NameError) as error:
        raise UserError(
            f"selector.kind={kind}: the function {point.value} of the installed package {package or point.value} cannot "
            f"be used ({type(error).__name__}: {error}): correct, reinstall or uninstall the package"
        ) from error


def _from_signature(kind: str, select: Any, package: str = "") -> Selector:
    reads, options = split_parameters(select, READS)
    if "budget" not in reads:
        raise TypeError("it has no parameter budget, the number of rows to pick")
    if taken := _TAKEN & options.keys():
        raise TypeError(f"{min(taken)}: is a key of every selector, so the option needs another name")
    function = f"{select.__module__}:{select.__qualname__}"
    nested = not getattr(select, "per_budget", False)
    return Selector(kind, function, reads - {"budget"}, options, nested, package)


def register_installed(arguments: Iterable[str]) -> None:
    """Register a config `selector=<kind>` in Hydra for each installed selector named in the arguments.

    An option `seed` without a default is set to the run's seed; other options without a default are required.
    """
    if not installed():
        return
    from hydra.core.config_store import ConfigStore

    named = " ".join(argument for argument in arguments if argument.startswith("selector="))
    for kind in (kind for kind in installed() if kind in named):
        options = {name: default for name, (_, default) in find(kind).options.items()}
        given = {name: "???" if default is ... else default for name, default in options.items()}
        if options.get("seed") is ...:
            given["seed"] = "${seed}"
        signal = "judge" if "scores" in find(kind).reads else "none"
        ConfigStore.instance().store(
            group="selector", name=kind, node={"kind": kind, "name": kind, "signal": signal, **given}
        )
