"""A composed config checked: every problem found is reported at once."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError, create_model

from gip_exp.config.keys import options, unknown_key
from gip_exp.config.root import Config
from gip_exp.config.selector import RankingSelector, section_of
from gip_exp.errors import UserError, listed
from gip_exp.redaction import REMEDY, secret_places
from gip_exp.registry.selectors import installed

LONGEST = 120  # characters of a value in a message


def _impossible_stop(config: Config) -> str:
    """Why `until` names a stage that this experiment does not have, or ''."""
    if config.until == "contamination" and config.data.kind == "arithmetic":
        return "until=contamination: this pool is made without the test questions; give rows (data.path=FILE)"
    if config.until == "base" and config.model.scratch is None:
        return "until=base: the model is given, not trained from scratch (model.scratch)"
    if config.until in ("warmup", "gradients") and config.selector.kind != "less":
        return f"until={config.until}: only selector=less has this stage, choose another"
    if config.until == "train" and config.train.kind == "none":
        return "until=train: train=none has no such stage, choose another"
    if config.until == "evaluate" and not config.evaluation.chosen():
        return "until=evaluate: no evaluation is chosen (evaluation=[...])"
    return ""


def parse(values: Mapping[str, Any]) -> Config:
    """Validate a composed config. Raises `UserError` with every problem at once."""
    if places := list(secret_places(values)):
        raise UserError(f"{', '.join(places)}: holds what looks like a secret; {REMEDY}")
    if missing := list(_still_missing(values)):
        raise listed("the configuration has several problems:", [_missing(key) for key in missing])
    try:
        config = _model(values).model_validate(dict(values))
    except ValidationError as error:
        raise listed(
            "the configuration has several problems:", [_say(problem) for problem in error.errors()]
        ) from None
    if problem := _impossible_stop(config):
        raise UserError(problem)
    return config


def _model(values: Mapping[str, Any]) -> type[Config]:
    """Config, with the options of the selector where that comes from an installed package."""
    selector = values.get("selector")
    kind = selector.get("kind") if isinstance(selector, Mapping) else None
    if not isinstance(kind, str) or kind not in installed():
        return Config
    # As a union, so that its problems are located as those of the others.
    kinds: Any = section_of(kind) | RankingSelector
    selectors: Any = Annotated[kinds, Field(discriminator="kind")]
    return create_model("Config", __base__=Config, selector=(selectors, ...))


# For these, pydantic puts the member's kind into a location, which is no key of ours.
_UNIONS = ("data", "judge", "sampler", "embedder", "selector", "train")


def _still_missing(values: Any, place: str = "") -> Iterator[str]:
    """The keys whose value is `???`: OmegaConf's mark for one that has to be given."""
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _still_missing(value, f"{place}.{key}" if place else str(key))
    elif isinstance(values, str) and values == "???":
        yield place


def _missing(key: str) -> str:
    return f"{key} is missing: give it a value ({key}=...)"


_PLAINER = {
    "path_type": "must be a folder, e.g. outputs",
    "int_parsing_size": "must be a smaller whole number",
}


def _say(problem: Mapping[str, Any]) -> str:
    """One pydantic problem as `key=value: what is allowed`."""
    location = [str(part) for part in problem["loc"]]
    if len(location) > 1 and location[0] in _UNIONS:
        location.pop(1)
    key = ".".join(part for part in location if part not in ("int", "float"))
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return unknown_key(key)
    if problem["type"] == "missing":
        return _missing(key)
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        kind = problem["input"].get("kind") if isinstance(problem["input"], Mapping) else problem["input"]
        return f"{key}.kind={_shown(kind)}: choose {key}=NAME, with NAME one of {', '.join(options(key))}"
    if problem["type"] == "value_error":
        return message if not key or key.split(".")[0] in message else f"{key}: {message}"
    message = _PLAINER.get(problem["type"], message)
    return f"{key}={_shown(problem['input'])}: {message[0].lower()}{message[1:]}"


def _shown(value: Any) -> str:
    """A value as it is, or its beginning where it would fill the screen."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text):,} characters)"
