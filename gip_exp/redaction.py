"""Detect secrets in configs and remove them from text.

Keys come from the environment only. A config is written to run folders, W&B and job scripts, so a config that holds a
key is refused; the message names the place, never the value. Text from outside (an endpoint's error body, a server's
log) goes through `redact` before it is shown, logged or stored.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

HIDDEN = "[secret]"
_SECRET_NAME = re.compile(
    r"((API|ACCESS|SECRET|PRIVATE|ACCOUNT)_?KEY(_ID)?|TOKEN|SECRET|PASSWORD|PASSWD)S?$", re.IGNORECASE
)
# Formats of API keys that need not be in the environment (some endpoints echo a masked or foreign key).
_KEYS = (
    re.compile(r"\bsk-[A-Za-z0-9_\-*]{8,}"),
    re.compile(r"\bhf_[A-Za-z0-9]{20,}"),
    # Groq, xAI, NVIDIA, Google, W&B, GitHub, GitLab, AWS
    re.compile(
        r"\b(?:gsk_|xai-|gh[opsu]_|glpat-)[A-Za-z0-9_]{20,}|\b(?:nvapi-|AIza|wandb_v\d_|github_pat_)[\w\-]{30,}"
    ),
    re.compile(r"\bA[KS]IA[A-Z0-9]{16}\b"),
    re.compile(r"(?i)\b(bearer|authorization:\s*basic|api-key:?)\s+[A-Za-z0-9._\-*+/=]{8,}"),
)
_LOGIN = re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")
_FIELD = r"(api[-_]?key|authorization|password|passwd|secret|credential|(access|auth|api|hf)[-_]?token)s?"
# Fields that hold a secret in any format; names such as max_tokens or tokenizer do not match.
_SECRET_FIELD = re.compile(rf"(^|[^a-z]){_FIELD}$|^token$", re.IGNORECASE)
_OPTION = re.compile(rf"(^|[^\w-])--{_FIELD}([^\w-]|$)", re.IGNORECASE)
# {api_key: ...} on a command line
_INLINE = re.compile(rf"(^|[^a-z]){_FIELD}[\"']?\s*:\s*[^\s}}]", re.IGNORECASE)
_SHORTEST = 8  # minimum length of an environment secret that a config is searched for
REMEDY = (
    "keys come from the environment only (OPENAI_API_KEY, AZURE_OPENAI_API_KEY, HF_TOKEN, WANDB_API_KEY), because a "
    "config is written into run folders, W&B and job scripts: remove it there and export it"
)


def is_secret_name(variable: str) -> bool:
    """Return whether the name of an environment variable indicates a secret."""
    return bool(_SECRET_NAME.search(variable))


def secrets_in_environment(also: Iterable[str] = ()) -> tuple[str, ...]:
    """Return the values of all environment variables whose name indicates a secret.

    Args:
        also: Further variable names.

    Returns:
        The values, longest first, so that a key that contains another one is redacted as a whole. Values under 6
        characters are left out, because redacting them would damage ordinary text.
    """
    names = set(filter(is_secret_name, os.environ)) | set(also)
    values = {os.environ.get(name, "") for name in names}
    return tuple(sorted((v for v in values if len(v) >= 6), key=len, reverse=True))


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Replace the given secrets, and anything in the format of an API key, by a mark."""
    for secret in secrets:
        text = text.replace(secret, HIDDEN)
    for shape in (*_KEYS, _LOGIN):
        text = shape.sub(HIDDEN, text)
    return text


def secret_places(values: Any, place: str = "") -> Iterator[str]:
    """Yield the dotted keys whose value looks like a secret.

    A value does if it has the format of a key, if the name of its field says so, or if it contains the value of an
    environment variable that holds a secret.
    """
    if isinstance(values, Mapping):
        for key, value in values.items():
            here = f"{place}.{key}" if place else str(key)
            if isinstance(value, str) and value and _SECRET_FIELD.search(str(key)):
                yield here
            else:
                yield from secret_places(value, here)
    elif isinstance(values, list | tuple):
        for number, value in enumerate(values):
            yield from secret_places(value, f"{place}[{number}]")
    elif isinstance(values, str) and holds_secret(values):
        yield place


def holds_secret(text: str) -> bool:
    """Return whether a text has the format of a key, passes one as an option (--api-key X), or contains a known one."""
    known = [secret for secret in secrets_in_environment() if len(secret) >= _SHORTEST]
    # Other words may begin like a key (a folder sk-learn-data), but every key contains a digit.
    shaped = any(re.search(r"\d", found[0]) for shape in _KEYS for found in shape.finditer(text))
    written_out = bool(_LOGIN.search(text) or _OPTION.search(text))
    return shaped or written_out or any(secret in text for secret in known)


def secret_arguments(arguments: Iterable[str]) -> list[str]:
    """Return the keys of command-line arguments (key=value) whose value looks like a secret."""
    found = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        place = key.lstrip("+~")
        if any(secret_places({place.rpartition(".")[2]: value})) or _INLINE.search(value):
            found.append(place if value and not holds_secret(place) else "an argument")
    return found
