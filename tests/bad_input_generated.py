"""Bad-input cases made from the config's own types: every key of every section with every kind of wrong value."""

from collections.abc import Iterator, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from bad_input_files import Case

from gip_exp.config.keys import union_members

QUICK = ("+experiment=quickstart",)
# (section, the choice that makes each of its classes the one in use)
CHOICES: dict[str, Sequence[tuple[str, ...]]] = {
    "": [()],
    "paths": [()],
    "data": [(), ("data=own",)],
    "target": [()],
    "judge": [(), ("judge=openai",)],
    "rubric": [()],
    "sampler": [(), ("sampler=openai", "sampler.model=m")],
    "embedder": [(), ("embedder=hidden_state",), ("embedder=openai",)],
    "selector": [
        *(
            (f"selector={name}",)
            for name in "mp_ma mp_mixture random full top_score gate_random dsir disf".split()
        ),
        *((f"selector={name}",) for name in "k_center facility_location dpp less".split()),
    ],
    "model": [()],
    "train": [(), ("train=none",)],
    "engine": [()],
    "evaluation": [(), ("evaluation=[bbh,mt_bench]",)],
    "tracking": [()],
}
NUMBERS = {
    "a word for a number": "lots",
    "a list for a number": "[1,2]",
    "an empty text for a number": "''",
    "nan": "nan",
    "infinity": "inf",
}
MISSING_REFERENCE = "${no.such.key}"


def generated() -> list[Case]:
    """All of them, without those that say the same again (a key that several classes share)."""
    seen: dict[tuple[str, str, str], Case] = {}
    for section, choices in CHOICES.items():
        for choice in choices:
            for case in _of_section(section, choice):
                seen.setdefault((case.cause, case.arguments[-1], _class_of(section, choice).__name__), case)
    return list(seen.values())


def _of_section(section: str, choice: tuple[str, ...]) -> Iterator[Case]:
    chosen = _class_of(section, choice)
    base = (*QUICK, *choice)
    for key, annotation, optional in _fields(section, chosen):
        for cause, text in _wrong(annotation, optional):
            named = (
                "no.such.key" if text == MISSING_REFERENCE else key
            )  # OmegaConf may name a key that needs this one
            yield Case(cause, (*base, f"++{key}={text}"), (named,))
    dot = f"{section}." if section else ""
    yield Case("an unknown key", (*base, f"+{dot}no_such_key=1"), (f"{dot}no_such_key",))
    last = next(reversed([key for key, *_ in _fields(section, chosen)]))
    misspelt = last[:-1] if len(last.rpartition(".")[2]) > 3 else last + "s"
    yield Case("a misspelt key, added", (*base, f"+{misspelt}=1"), (misspelt, "did you mean", last))
    yield Case("a misspelt key", (*base, f"{misspelt}=1"), (misspelt, "did you mean", last))


def _class_of(section: str, choice: tuple[str, ...]) -> Any:
    """The class behind a section under a choice of its group."""
    from gip_exp.config import Config

    if not section:
        return Config
    members = [
        part for part in union_members(Config.model_fields[section].annotation) if part is not NoneType
    ]
    if len(members) == 1:
        return members[0]
    return next(
        member
        for member in members
        if _kind(section, choice) in get_args(member.model_fields["kind"].annotation)
    )


def _kind(section: str, choice: tuple[str, ...]) -> str:
    """`kind` of the section as the group's file says it."""
    import yaml
    from bad_input_files import ROOT

    default = {
        "data": "arithmetic",
        "judge": "rules",
        "sampler": "model",
        "embedder": "tfidf",
        "train": "lora_tiny",
    }
    name = choice[0].partition("=")[2] if choice else default[section]
    return yaml.safe_load((ROOT / "conf" / section / f"{name}.yaml").read_text())["kind"]


def _bounds(annotation: Any) -> list[Any]:
    """The constraints on a number, wherever they stand in the annotation."""
    if get_origin(annotation) is Annotated:
        inner, *marks = get_args(annotation)
        marks = [part for mark in marks for part in getattr(mark, "metadata", [mark])]
        return [*_bounds(inner), *marks]
    if get_origin(annotation) in (Union, UnionType):
        return [mark for part in get_args(annotation) for mark in _bounds(part)]
    return []


def _fields(section: str, chosen: Any) -> Iterator[tuple[str, Any, bool]]:
    """(dotted key, annotation, whether null is allowed) of the section and the sections inside it."""
    from pydantic import BaseModel

    for name, info in chosen.model_fields.items():
        key = f"{section}.{name}" if section else name
        if not section and name in CHOICES:
            continue  # a section of its own
        whole = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
        members = union_members(info.annotation)
        inner = next(
            (part for part in members if isinstance(part, type) and issubclass(part, BaseModel)), None
        )
        if inner is not None:
            if name in ("hub", "embedder") or inner.__name__ in ("BbhEvaluation", "MtBenchEvaluation"):
                continue  # not chosen here: all its keys would be missing
            yield from _fields(key, inner)
        else:
            yield key, whole, NoneType in members


def _wrong(annotation: Any, optional: bool) -> Iterator[tuple[str, str]]:
    """(cause, value on the command line) that the annotation must refuse."""
    members = [member for member in union_members(annotation) if member is not NoneType]
    if not optional:
        yield "null where a value is needed", "null"
    if all(member in (int, float) for member in members):
        yield from NUMBERS.items()
        yield from _out_of_range(_bounds(annotation), whole=members == [int])
    elif bool in members:
        yield "a word for true or false", "perhaps"
    elif get_origin(members[0]) is Literal:
        yield "an unknown word", f"{get_args(members[0])[0]}x"
        yield "a number for a word", "7"
    elif members == [str]:
        yield "a list for a text", "[1,2]"
        yield "a mapping for a text", "{a: 1}"
    elif get_origin(members[0]) in (list, dict):
        yield "a word for a list or mapping", "word"
    yield "a reference to a key that is not there", MISSING_REFERENCE
    if not optional:
        yield "a value that is still missing (???)", "???"


def _out_of_range(bounds: Sequence[Any], *, whole: bool) -> Iterator[tuple[str, str]]:
    for bound in bounds:
        if isinstance(bound, Ge):
            yield "a number below its range", str(bound.ge - 1)
        if isinstance(bound, Gt):
            yield "a number below its range", str(bound.gt)
        if isinstance(bound, Le):
            yield "a number above its range", str(bound.le + 1)
        if isinstance(bound, Lt):
            yield "a number above its range", str(bound.lt)
    if whole:
        yield "a fraction for a whole number", "1.5"
