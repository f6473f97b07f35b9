"""Config keys that cannot change a result: those marked in the types of `gip_exp.config`."""

from collections.abc import Iterator
from functools import cache
from typing import get_args

from pydantic import BaseModel

from gip_exp import config
from gip_exp.config.base import NEUTRAL


@cache
def neutral_keys() -> frozenset[str]:
    """Return the dotted names of marked fields, over all variants of a section (judge, selector, ...)."""
    return frozenset(_marked(config.Config, ""))


def is_neutral(key: str) -> bool:
    """Return whether a key, or a section that contains it, cannot change a result."""
    parts = key.split(".")
    return any(".".join(parts[: i + 1]) in neutral_keys() for i in range(len(parts)))


def _marked(section: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, info in section.model_fields.items():
        if any(mark is NEUTRAL for mark in info.metadata):
            yield prefix + name
        else:
            for inner in _sections(info.annotation):
                yield from _marked(inner, f"{prefix}{name}.")


def _sections(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the section types inside an annotation, at any depth of unions and lists."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _sections(inner)
