"""The dotted names of all config keys, and the message for an unknown key."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel

from gip_exp.config.root import Config
from gip_exp.registry.selectors import installed

PLUS = ("experiment", "sweep")  # groups that are not in the default config: +experiment=NAME


def nearest(word: str, known: Iterable[str], cutoff: float = 0.6) -> str:
    """Return `; did you mean X?` for the known name closest to `word`, or '' if none is close."""
    close = get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return f"; did you mean {close[0]}?" if close else ""


def unknown_key(key: str, also: Iterable[str] = ()) -> str:
    """Return the message for a key that the config does not have, with a suggestion; `also` are further known keys."""
    owners = _owners(key)
    if owners:
        group = key.partition(".")[0]
        return f"the chosen {group} has no key {key}; choose one that has: {', '.join(f'{group}={o}' for o in owners)}"
    if key in keys() and key.count(".") == 1:
        group, _, option = key.partition(".")
        return (
            f"no file of conf/{group}/ has the line `{option}: VALUE`; if the chosen {group} knows this option, add the line to "
            f"its file, or write +{key}=VALUE"
        )
    last = key.rpartition(".")[2]
    known = [*keys(), *also]
    # A key in the wrong section (lr=1e-4) is as frequent as a misspelled one.
    elsewhere = [name for name in known if name.rpartition(".")[2] == last]
    beside = [name for name in known if name.rpartition(".")[0] == key.rpartition(".")[0] != ""]
    meant = nearest(key, beside, cutoff=0.8) or (
        f"; did you mean {' or '.join(elsewhere[:3])}?" if elsewhere else nearest(key, [*known, *groups()])
    )
    return f"{key} is not a key of this configuration: remove it or check its spelling{meant}"


def free(key: str) -> bool:
    """Return whether `key` is in a mapping with free names (prices, selector.signals, extra_body)."""
    return any(key.startswith(f"{name}.") for name in mappings())


@cache
def keys() -> tuple[str, ...]:
    """Return the keys of all sections and all their kinds."""
    return tuple(dict.fromkeys(name for name, _ in _fields()))


@cache
def groups() -> tuple[str, ...]:
    """Return the config groups: the folders of `conf/`."""
    return tuple(
        sorted(part.name for part in files("conf").iterdir() if part.is_dir() and part.name[0] not in "._")
    )


@cache
def options(group: str) -> tuple[str, ...]:
    """Return the names of a group's files; empty for an unknown group."""
    folder = files("conf").joinpath(*group.split("/"))
    if group not in groups() or not folder.is_dir():
        return ()
    names = {part.name[:-5] for part in folder.iterdir() if part.name.endswith(".yaml")}
    return tuple(sorted(names | set(installed()) if group == "selector" else names))


def kind_of_file(group: str, name: Any) -> Any:
    """Return the value of `kind` in a file of a group; None if there is no such file."""
    import yaml

    file = files("conf").joinpath(group, f"{name}.yaml")
    return yaml.safe_load(file.read_text(encoding="utf-8")).get("kind") if file.is_file() else None


def _owners(key: str) -> list[str]:
    """Return the files of a config group that contain `key` (such as `data.path`)."""
    import yaml

    group, _, rest = key.partition(".")
    first = rest.partition(".")[0]
    if first in options(group):  # in `evaluation`, several files of the group are combined
        return [f"[{first}]"] if key in keys() else []
    owners = []
    for name in options(group) if rest else ():
        loaded = yaml.safe_load(files("conf").joinpath(group, f"{name}.yaml").read_text(encoding="utf-8"))
        if first in (loaded or {}):
            owners.append(name)
    return owners if key in keys() else []


@cache
def mappings() -> tuple[str, ...]:
    """Return the keys whose value is a mapping with free names."""
    return tuple(
        name
        for name, annotation in _fields()
        if any(get_origin(part) is dict for part in union_members(annotation))
    )


def _fields() -> Iterator[tuple[str, Any]]:
    return _fields_of(Config, "")


def _fields_of(section: type[BaseModel], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, info in section.model_fields.items():
        yield f"{prefix}{name}", info.annotation
        for part in union_members(info.annotation):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _fields_of(part, f"{prefix}{name}.")


def union_members(annotation: Any) -> list[Any]:
    """Return the members of a union at any depth, without their annotations."""
    if get_origin(annotation) is Annotated:
        return union_members(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [member for part in get_args(annotation) for member in union_members(part)]
    return [annotation]
