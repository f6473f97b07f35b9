"""Base class and field types of all config sections, and the fields that can change a result."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field


class _Neutral:
    """Marks a field that cannot change a result."""


NEUTRAL = _Neutral()
Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]


class Section(BaseModel):
    """A section of the config: unknown keys are errors, values cannot be changed."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=False, allow_inf_nan=False, protected_namespaces=()
    )


def content(section: BaseModel) -> dict[str, Any]:
    """Return the fields of a section that can change a result, as plain JSON values."""
    return {
        name: _plain(getattr(section, name))
        for name, info in type(section).model_fields.items()
        if not any(isinstance(mark, _Neutral) for mark in info.metadata)
    }


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return content(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


LONGEST_NAME = 100  # characters; file systems allow 255 for the whole name of a run folder


def _plain_name(value: str) -> str:
    if not re.fullmatch(rf"[A-Za-z0-9][A-Za-z0-9._+-]{{0,{LONGEST_NAME - 1}}}", value):
        raise ValueError(
            f"{value[:LONGEST_NAME]!r} becomes part of a folder name: use letters, digits, '.', '_', '+' and '-', at most "
            f"{LONGEST_NAME} of them"
        )
    return value


def _safe_url(value: str) -> str:
    try:
        parts = urlsplit(value)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # invalid port, or brackets around the host
        usable = False
    if not usable:
        raise ValueError("must be an address like http://127.0.0.1:8000/v1")
    if parts.username or parts.password or parts.query:
        raise ValueError(
            "must not contain a user, a password or a query: keys come from the environment only"
        )
    return value


def _safe_urls(value: Any) -> Any:
    """Check an address or a list of addresses."""
    if value is None:
        return value
    urls = value if isinstance(value, list | tuple) else [value]
    if not urls or not all(isinstance(url, str) for url in urls):
        raise ValueError("must be an address like http://127.0.0.1:8000/v1, or a list of addresses")
    if len(set(urls)) < len(urls):
        raise ValueError("names an address twice")
    for url in urls:
        _safe_url(url)
    return value


Seed = Annotated[int, Field(ge=0, lt=2**32)]  # valid for every random generator
Name = Annotated[str, AfterValidator(_plain_name)]  # of an experiment or a selector
Url = Annotated[str, AfterValidator(_safe_url)]
Urls = Annotated[str | list[str] | None, BeforeValidator(_safe_urls)]
