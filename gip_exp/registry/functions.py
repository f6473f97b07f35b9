"""Embedders and judges that are one function in a module of their own.

    EMBEDDERS  `embed` in `gip_exp/models/embedders/<kind>.py`
    JUDGES     `judge` in `gip_exp/signals/judges/<kind>.py`

The harness fills the parameters listed in `reads`; the others become the keys `embedder.<option>` or `judge.<option>`,
validated by their types, with values from `conf/<group>/<kind>.yaml`.
"""

import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Literal

from pydantic import BaseModel, create_model

from gip_exp.registry.signature import Options, split_parameters


@dataclass(frozen=True)
class Family:
    """Functions of the same name, one in each module of a package.

    Attributes:
        package: The package; each of its modules is a kind.
        name: Name of the function in each module.
        reads: Description of each parameter that the harness fills.
    """

    package: str
    name: str
    reads: Mapping[str, str]

    def kinds(self) -> tuple[str, ...]:
        """Return all kinds."""
        return tuple(module.name for module in pkgutil.iter_modules(import_module(self.package).__path__))

    def module(self, kind: str) -> ModuleType:
        """Import the module of a kind."""
        return import_module(f"{self.package}.{kind}")

    def function(self, kind: str) -> Callable[..., Any]:
        """Import the function of a kind."""
        function: Callable[..., Any] = getattr(self.module(kind), self.name)
        return function

    def signature(self, kind: str) -> tuple[frozenset[str], Options]:
        """Return (parameters that the harness fills, options with types and defaults)."""
        return split_parameters(self.function(kind), self.reads)

    def sections(self, base: type[BaseModel]) -> list[Any]:
        """Return a config class for each kind: the fields of `base`, with the options of the function."""
        sections = []
        for kind in self.kinds():
            fields: dict[str, Any] = {"kind": (Literal[kind], ...), **self.signature(kind)[1]}
            sections.append(create_model(f"{kind}{base.__name__}", __base__=base, **fields))
        return sections

    def call(self, section: Any, values: Mapping[str, Any]) -> Any:
        """Call the function of `section.kind` with the parameters it reads, from `values`, and its options."""
        reads, options = self.signature(section.kind)
        arguments = {name: values[name] for name in reads} | {
            name: getattr(section, name) for name in options
        }
        return self.function(section.kind)(**arguments)


EMBEDDERS = Family(
    "gip_exp.models.embedders",
    "embed",
    {
        "texts": "n texts of the pool, prompt and completion",
        "facts": "a dict; items added to it are recorded in the manifest",
        "note": "note(text): show a warning, now and whenever the vectors are reused",
        "advance": "advance(n): report that n more texts are done, for the progress bar",
    },
)
JUDGES = Family(
    "gip_exp.signals.judges",
    "judge",
    {
        "examples": "n rows of the pool, dicts with `prompt` and `completion`",
        "rubric": "name of the rubric (`rubric.name`)",
        "reasons": "a dict to be filled: row number -> why the row is unscored (its scores are NaN)",
        "facts": "a dict; items added to it are recorded in the manifest",
        "note": "note(text): show a warning, now and whenever the scores are reused",
        "advance": "advance(n): report that n more rows are done, for the progress bar",
    },
)


def rubrics(kind: str) -> Mapping[str, tuple[str, ...]] | None:
    """Return `RUBRICS` (rubric -> attributes) of the module of a judge; None if it has none."""
    return getattr(JUDGES.module(kind), "RUBRICS", None)
