"""What the Hugging Face hub must give and whether it can: asked before a run starts, answered in seconds."""

import os
from functools import cache

SECONDS = 3.0


def missing_model(name: str, revision: str | None, key: str = "model.path") -> list[str]:
    """Why a hub model cannot be had, with the remedy; empty when it is cached or can be fetched."""
    from huggingface_hub import try_to_load_from_cache

    if isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str):
        return []
    return _missing("model", name, revision, key, f"give a folder that holds it ({key}=DIR)")


def missing_dataset(name: str, revision: str | None = None) -> list[str]:
    """Why a hub data set cannot be had, with the remedy; empty when it is cached or can be fetched."""
    if cached_dataset(name):
        return []
    return _missing("dataset", name, revision, "data.hub.name", "give local files (data.path=FILE_OR_FOLDER)")


def _missing(kind: str, name: str, revision: str | None, key: str, remedy: str) -> list[str]:
    """`kind` as the hub calls it: model or dataset."""
    what = _in_words(kind, name)
    if why := unreachable():
        return [
            f"{what} is neither in the local cache nor can {_named_endpoint()} be reached ({why}): {remedy}, or go online"
        ]
    return _refused(kind, name, revision, key, remedy)


def _in_words(kind: str, name: str) -> str:
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

    what = _in_words(kind, name)
    try:
        # HfApi.auth_check, which would wait without end.
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
        return [f"asking {endpoint()} for {what} failed ({type(error).__name__}): try again, or {remedy}"]
    return []


def cached_dataset(name: str) -> bool:
    """Whether some revision of a hub data set lies in the local cache."""
    from huggingface_hub.constants import HF_HUB_CACHE

    return os.path.isdir(os.path.join(HF_HUB_CACHE, "datasets--" + name.replace("/", "--")))


def endpoint() -> str:
    """The hub's address: HF_ENDPOINT, or the public one."""
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co")


def _named_endpoint() -> str:
    """The address, and the variable where that set it."""
    return f"HF_ENDPOINT={endpoint()}" if "HF_ENDPOINT" in os.environ else endpoint()


def unreachable() -> str:
    """Why the hub cannot be asked, or ''."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return "HF_HUB_OFFLINE is set"
    return silence(endpoint())


@cache
def silence(address: str) -> str:
    """Why no server answers at `address` as one at work would, or ''. Asked once a process, over the proxy if there is one."""
    import httpx

    try:
        with httpx.stream("GET", address, timeout=SECONDS) as response:
            status = response.status_code
    except httpx.TimeoutException:
        return f"no answer within {SECONDS:g} s"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"{type(error).__name__}: {error}"
    # 501: it is at work, and does not take GET.
    return f"it answers with status {status}" if status >= 500 and status != 501 else ""


def silent(key: str, address: str) -> list[str]:
    """What to say of an address in the config where nobody answers; empty where somebody does."""
    if why := silence(address):
        return [
            f"{key}={address}: nobody answers there ({why}); check the address, or start the server first"
        ]
    return []
