"""Checks, before a run starts, that models, data sets and servers are available."""

import os
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from gip_exp.models.packaged import instead_of

SECONDS = 3.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")


def missing_model(name: str, revision: str | None, key: str = "model.path") -> list[str]:
    """Return why a hub model is not available, with the remedy; empty if it is cached or can be downloaded."""
    from huggingface_hub import try_to_load_from_cache

    if isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str):
        return []
    packaged = instead_of(name, key)
    remedy = f"give its folder ({key}=DIR)" + (f", or {packaged}" if packaged else "")
    return _missing("model", name, revision, key, remedy)


def missing_dataset(name: str, revision: str | None = None) -> list[str]:
    """Return why a hub data set is not available, with the remedy; empty if it is cached or can be downloaded."""
    if cached_dataset(name):
        return []
    return _missing("dataset", name, revision, "data.hub.name", "give local files (data.path=FILE_OR_FOLDER)")


def _missing(kind: str, name: str, revision: str | None, key: str, remedy: str) -> list[str]:
    """Return why a model or dataset (`kind`) is not available."""
    what = _description(kind, name)
    if why := unreachable():
        return [
            f"{what} is not in the local cache, and {_named_endpoint()} cannot be reached ({why}): {remedy}, or go online"
        ]
    return _refused(kind, name, revision, key, remedy)


def _description(kind: str, name: str) -> str:
    return f"the {'data set' if kind == 'dataset' else kind} {name}"


def _refused(kind: str, name: str, revision: str | None, key: str, remedy: str) -> list[str]:
    import httpx
    from huggingface_hub import HfApi
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )
    from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

    what = _description(kind, name)
    try:
        # Like HfApi.auth_check, which has no timeout.
        address = f"{endpoint()}/api/{kind}s/{name}/auth-check"
        hf_raise_for_status(get_session().get(address, headers=build_hf_headers(), timeout=SECONDS))
        HfApi(endpoint=endpoint()).repo_info(name, repo_type=kind, revision=revision, timeout=SECONDS)
    except GatedRepoError:
        return [f"{what} is gated: accept its terms on its page and set HF_TOKEN, or {remedy}"]
    except RevisionNotFoundError:
        return [f"{what} has no revision {revision!r}: check {key.rpartition('.')[0]}.revision"]
    except RepositoryNotFoundError:
        return [
            f"there is no {what.removeprefix('the ')} on {endpoint()} (or it is private: set HF_TOKEN): check {key}, "
            f"or {remedy}"
        ]
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        return [
            f"the request to {endpoint()} for {what} failed ({type(error).__name__}): try again, or {remedy}"
        ]
    return []


def cached_dataset(name: str) -> bool:
    """Return whether some revision of a hub data set is in the local cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return os.path.isdir(os.path.join(HF_HUB_CACHE, "datasets--" + name.replace("/", "--")))


def other_revision(name: str, config: str | None, revision: str) -> str:
    """Return the revision that `datasets` would read instead of the given one, or ''.

    Where it cannot reach the hub, it takes the newest one in its cache, whichever is asked for.
    """
    from datasets import load_dataset_builder
    from datasets.packaged_modules.cache.cache import Cache

    builder = load_dataset_builder(name, config, revision=revision)
    if not isinstance(builder, Cache):
        return ""
    cached = str(builder.hash)
    return "" if cached in (revision, _commit(name, revision)) else cached


def _commit(name: str, revision: str) -> str | None:
    """Return the commit of a branch or tag of a data set as the local cache knows it."""
    from huggingface_hub.constants import HF_HUB_CACHE

    file = Path(HF_HUB_CACHE, "datasets--" + name.replace("/", "--"), "refs", revision)
    return file.read_text(encoding="utf-8").strip() if file.is_file() else None


def endpoint() -> str:
    """Return the address of the hub: HF_ENDPOINT, or the public one."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")


def _named_endpoint() -> str:
    """Return the address, with the environment variable if it is set."""
    return f"HF_ENDPOINT={endpoint()}" if "HF_ENDPOINT" in os.environ else endpoint()


def unreachable() -> str:
    """Return why the hub cannot be reached, or ''."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return "HF_HUB_OFFLINE is set"
    return no_answer(endpoint())


@cache
def no_answer(address: str) -> str:
    """Return why no working server answers at `address`, or ''. Checked once per process.

    As the client would ask: through the environment's proxy, which cannot reach this machine's own addresses.
    """
    import httpx

    proxied = urlsplit(address).hostname not in LOOPBACK
    try:
        with httpx.stream("GET", address, timeout=SECONDS, trust_env=proxied) as response:
            status = response.status_code
    except httpx.TimeoutException:
        return f"no answer within {SECONDS:g} s"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"{type(error).__name__}: {error}"
    # 501: the server works, but does not support GET.
    return f"it answers with status {status}" if status >= 500 and status != 501 else ""


def missing_server(key: str, address: str) -> list[str]:
    """Return a problem if no server answers at an address in the config."""
    if why := no_answer(address):
        return [
            f"{key}={address}: no server answers there ({why}); check the address, or start the server first"
        ]
    return []
