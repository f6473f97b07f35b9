"""What the Hugging Face hub must give and whether it can: asked before a run starts, answered in seconds."""

import os
import socket
import urllib.request
from functools import cache
from urllib.parse import urlsplit

SECONDS = 3.0


def missing_model(name: str, revision: str | None, key: str = "model.path") -> list[str]:
    """Why a hub model cannot be had, with the remedy; empty when it is cached or can be fetched."""
    from huggingface_hub import try_to_load_from_cache

    if isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str):
        return []
    remedy = f"give a folder that holds it ({key}=DIR)"
    if not reachable():
        return [
            f"the model {name} is neither in the local cache nor can {endpoint()} be reached: {remedy}, or go online"
        ]
    return _refused(name, revision, key, remedy)


def _refused(name: str, revision: str | None, key: str, remedy: str) -> list[str]:
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        HfApi().auth_check(name)
        HfApi().model_info(name, revision=revision, timeout=SECONDS)
    except GatedRepoError:
        return [f"the model {name} is gated: accept its terms on its page and set HF_TOKEN, or {remedy}"]
    except RevisionNotFoundError:
        return [f"the model {name} has no revision {revision!r}: check {key.rpartition('.')[0]}.revision"]
    except RepositoryNotFoundError:
        return [
            f"there is no model {name} on {endpoint()} (or it is private: set HF_TOKEN): check {key}, or {remedy}"
        ]
    except (HfHubHTTPError, OSError) as error:
        return [
            f"asking {endpoint()} for the model {name} failed ({type(error).__name__}): try again, or {remedy}"
        ]
    return []


def missing_dataset(name: str) -> list[str]:
    """Why a hub data set cannot be had, with the remedy."""
    if reachable() or cached_dataset(name):
        return []
    return [
        f"the data set {name} is neither in the local cache nor can {endpoint()} be reached: "
        "give local files (data.path=FILE_OR_FOLDER), or go online"
    ]


def cached_dataset(name: str) -> bool:
    """Whether some revision of a hub data set lies in the local cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return os.path.isdir(os.path.join(HF_HUB_CACHE, "datasets--" + name.replace("/", "--")))


def endpoint() -> str:
    """The hub's address: HF_ENDPOINT, or the public one."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")


@cache
def reachable() -> bool:
    """Whether the hub's host accepts a connection (never when HF_HUB_OFFLINE is set)."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return False
    return answers(endpoint())


@cache
def answers(address: str) -> bool:
    """Whether the host of `address`, or the proxy that the environment names for it, accepts a connection."""
    parts = urlsplit(_proxy(address) or address)
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        with socket.create_connection((parts.hostname or "", port), timeout=SECONDS):
            return True
    except OSError:
        return False


def _proxy(address: str) -> str | None:
    """The proxy through which HTTP clients would reach `address`, as an address; None for a direct way."""
    parts = urlsplit(address)
    proxy = urllib.request.getproxies().get(parts.scheme)
    if proxy is None or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"
