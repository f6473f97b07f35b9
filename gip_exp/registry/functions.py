"""Families of functions found by name: one module a kind, its function's signature says what it reads.

    EMBEDDERS  `embed` in `gip_exp/models/embedders/<kind>.py`
    JUDGES     `judge` in `gip_exp/signals/judges/<kind>.py`

The harness fills the parameters listed in `reads`; the others become the keys `embedder.<option>` or
`judge.<option>`, checked by their types. `conf/<group>/<kind>.yaml` gives their values.
"""

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Literal

from pydantic import BaseModel, create_model

from gip_exp.registry.signature import Options, sort


@dataclass(frozen=True)
class Family:
    """Functions of one name in the modules of one package.

    Attributes:
        package: the package; a module of it is a kind.
        name: the function's name in each module.
        reads: parameter -> what the harness fills it with.
    """

    package: str
    name: str
    reads: Mapping[str, str]

    def kinds(self) -> tuple[str, ...]:
        """The kinds there are."""
        return tuple(module.name for module in pkgutil.iter_modules(import_module(self.package).__path__))

    def module(self, kind: str) -> ModuleType:
        """The module of a kind."""
        return import_module(f"{self.package}.{kind}")

    def function(self, kind: str) -> Callable[..., Any]:
        """The function of a kind."""
        function: Callable[..., Any] = getattr(self.module(kind), self.name)
        return function

    def signature(self, kind: str) -> tuple[frozenset[str], Options]:
        """(what it reads, its options with types and defaults)."""
        return sort(self.function(kind), self.reads)

    def sections(self, base: type[BaseModel]) -> list[Any]:
        """A config class for each kind: `kind` and the options, on top of `base`."""
        made = []
        for kind in self.kinds():
            fields: dict[str, Any] = {"kind": (Literal[kind], ...), **self.signature(kind)[1]}
            made.append(create_model(f"{kind}{base.__name__}", __base__=base, **fields))
        return made

    def call(self, section: Any, filled: Mapping[str, Any]) -> Any:
        """Call the function of `section.kind` with what it reads of `filled` and with its options from `section`."""
        reads, options = self.signature(section.kind)
        known = {name: filled[name] for name in reads}
        return self.function(section.kind)(**known, **{name: getattr(section, name) for name in options})


EMBEDDERS = Family(
    "gip_exp.models.embedders",
    "embed",
    {
        "texts": "n texts of the pool, prompt and completion",
        "facts": "a dict: what is put there is recorded with the output",
        "note": "note(text): a warning about the vectors, shown now and whenever they are reused",
    },
)
JUDGES = Family(
    "gip_exp.signals.judges",
    "judge",
    {
        "examples": "n rows of the pool, dicts with `prompt` and `completion`",
        "rubric": "name of the rubric (`rubric.name`)",
        "reasons": "a dict: why the row of this number is unscored (its scores are NaN)",
        "facts": "a dict: what is put there is recorded with the output",
        "note": "note(text): a warning about the scores, shown now and whenever they are reused",
    },
)


def rubrics(kind: str) -> Mapping[str, tuple[str, ...]] | None:
    """Rubric -> attributes of a judge that is a function (`RUBRICS` in its module); None where it does not say."""
    return getattr(JUDGES.module(kind), "RUBRICS", None)
