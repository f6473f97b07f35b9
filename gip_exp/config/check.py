"""Validation of a composed config; all problems are reported together."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, ValidationError, create_model

from gip_exp.config.keys import kind_of_file, options, unknown_key
from gip_exp.config.root import Config
from gip_exp.config.selector import RankingSelector, section_of
from gip_exp.errors import UserError, listed
from gip_exp.redaction import REMEDY, secret_places
from gip_exp.registry.selectors import installed

LONGEST = 120  # maximum characters of a value in a message


def _impossible_stop(config: Config) -> str:
    """Return why `until` names a stage that this experiment does not have, or ''."""
    if config.until == "contamination" and config.data.kind == "arithmetic":
        return (
            "until=contamination: the generated pool contains no test questions; give rows (data.path=FILE)"
        )
    if config.until == "base" and not config.model.made:
        return (
            "until=base: the model is neither trained from scratch (model.scratch) nor converted from a GGUF file, choose "
            "another stage"
        )
    if config.until in ("warmup", "gradients") and config.selector.kind != "less":
        return f"until={config.until}: only selector=less has this stage, choose another"
    if config.until == "train" and config.train.kind == "none":
        return "until=train: train=none has no such stage, choose another"
    if config.until == "evaluate" and not config.evaluation.chosen():
        return "until=evaluate: no evaluation is chosen (evaluation=[...])"
    return ""


def parse(values: Mapping[str, Any]) -> Config:
    """Validate a composed config. Raises `UserError` that lists all problems."""
    if places := list(secret_places(values)):
        raise UserError(f"{', '.join(places)}: holds what looks like a secret; {REMEDY}")
    if absent := list(_missing_keys(values)):
        raise listed("the configuration has several problems:", [missing(key) for key in absent])
    try:
        config = _model(values).model_validate(dict(values))
    except ValidationError as error:
        raise listed(
            "the configuration has several problems:", [_message(problem) for problem in error.errors()]
        ) from None
    if problem := _impossible_stop(config):
        raise UserError(problem)
    return config


def _model(values: Mapping[str, Any]) -> type[Config]:
    """Return `Config`, with the options of a selector from an installed package."""
    selector = values.get("selector")
    kind = selector.get("kind") if isinstance(selector, Mapping) else None
    if not isinstance(kind, str) or kind not in installed():
        return Config
    # A union, so that pydantic reports its problems at the same locations as for other selectors.
    kinds: Any = section_of(kind) | RankingSelector
    selectors: Any = Annotated[kinds, Field(discriminator="kind")]
    return create_model("Config", __base__=Config, selector=(selectors, ...))


# In these sections, pydantic inserts the kind, which is not part of the key, into a problem's location.
_UNIONS = ("data", "judge", "sampler", "embedder", "selector", "train")


def _missing_keys(values: Any, key: str = "") -> Iterator[str]:
    """Yield the keys whose value is `???`, OmegaConf's mark for a missing value."""
    if isinstance(values, Mapping):
        for name, value in values.items():
            yield from _missing_keys(value, f"{key}.{name}" if key else str(name))
    elif isinstance(values, str) and values == "???":
        yield key


def missing(key: str) -> str:
    """Return the message for a key without a value."""
    return f"{key} is missing: give it a value ({key}=...)"


def _missing_line(key: str, group: str) -> str:
    """Return the message for a key that the file chosen from a group should have, but has not."""
    if group not in _UNIONS or key.count(".") != 1:
        return missing(key)
    usual = {"selector.signal": "judge", "selector.seed": "${seed}"}.get(key, "VALUE")
    return (
        f"{key} is missing: the chosen file of conf/{group}/ needs the line `{key.partition('.')[2]}: {usual}`, or the command "
        f"+{key}=VALUE"
    )


_MESSAGES = {
    "path_type": "must be a folder, e.g. outputs",
    "int_parsing_size": "must be a smaller whole number",
}


def _message(problem: Mapping[str, Any]) -> str:
    """Format a problem found by pydantic as `key=value: what is allowed`."""
    location = [str(part) for part in problem["loc"]]
    if len(location) > 1 and location[0] in _UNIONS:
        location.pop(1)
        if location[0] == "selector" and location[1:2] == ["embedder"] and len(location) > 3:
            location.pop(2)
    key = ".".join(part for part in location if part not in ("int", "float"))
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "extra_forbidden":
        return unknown_key(key)
    if problem["type"] == "missing":
        return _missing_line(key, location[0])
    if problem["type"] in ("union_tag_invalid", "union_tag_not_found"):
        kind = problem["input"].get("kind") if isinstance(problem["input"], Mapping) else problem["input"]
        group = key.rpartition(".")[2]  # the embedder of a selector is chosen like any other
        if key == "selector" and isinstance(kind, str) and kind_of_file(group, kind) == kind:
            return (
                f"selector.kind={_shown(kind)}: conf/selector/ has a file of this name, but there is no function `select` in "
                f"baselines/{kind}.py, nor an installed package with it: write it, or correct `kind` in the file"
            )
        choice = f"{key}=NAME" if group == key else f"+{group}@{key}=NAME"
        return f"{key}.kind={_shown(kind)}: choose {choice}, with NAME one of {', '.join(options(group))}"
    if problem["type"] == "value_error":
        return message if not key or key.split(".")[0] in message else f"{key}: {message}"
    message = _MESSAGES.get(problem["type"], message)
    return f"{key}={_shown(problem['input'])}: {message[0].lower()}{message[1:]}"


def _shown(value: Any) -> str:
    """Return the representation of a value, shortened if it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}... ({len(text):,} characters)"
