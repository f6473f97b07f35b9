"""Requirements of a judge or sampler behind an endpoint, checked before any stage runs."""

import os
from pathlib import Path

from gip_exp.config.judge import LLMJudge
from gip_exp.config.rubric import Rubric
from gip_exp.config.sampler import EndpointSampler
from gip_exp.models import gguf_file, hub, loading
from gip_exp.models import weights as model_files
from gip_exp.models.packaged import resolved
from gip_exp.signals import lifetime

TRUSTING = "--trust-remote-code"  # option of vLLM, in judge.server_args


def missing_vllm(what: str, instead: str) -> list[str]:
    """Return a problem if vLLM is not installed."""
    from importlib.util import find_spec

    return [] if find_spec("vllm") else [f"{what} needs vLLM: pip install 'gip-exp[vllm]', or use {instead}"]


def missing_judge(config: LLMJudge, key: str = "judge") -> list[str]:
    """Return the unmet requirements of the judge at the config key `key`."""
    if config.dry_run:
        return [] if key == "judge" else [f"{key}.dry_run=true: only judge.dry_run is available; unset it"]
    if config.batch and config.kind == "vllm":
        return [f"{key}.batch=true: batches need an endpoint ({key}=openai); unset it"]
    if config.offline:
        return []
    if config.kind == "vllm":
        weights = _missing_weights(config, f"{key}.model")
        return missing_vllm(f"{key}=vllm", f"{key}=openai") + (weights or too_long(config, key))
    instead = ", or use judge=rules" if key == "judge" else ""
    return lifetime.ended(config, key) or missing_key(config, key, instead)


def _missing_weights(config: LLMJudge, key: str) -> list[str]:
    if config.gguf:
        why = gguf_file.problem(Path(resolved(config.model)), chat=True)
        return [f"{key}={config.model}: {why}"] if why else []
    return loading.missing_weights(config.model, None, key, trusted=TRUSTING in config.server_args)


def too_long(config: LLMJudge, key: str) -> list[str]:
    """Return a problem if the judge is to be served with a longer context than its files allow."""
    read = gguf_file.context if config.gguf else model_files.longest_served
    longest, asked = read(Path(resolved(config.model))), config.max_model_len
    if longest is None or asked is None or asked <= longest:
        return []
    named = "the file's context_length" if config.gguf else "max_position_embeddings in its config.json"
    return [
        f"{key}.max_model_len={asked}: {config.model} takes {longest} tokens ({named}); "
        f"lower it, or set {key}.max_model_len=null for the model's own"
    ]


def missing_rubric(rubric: Rubric) -> list[str]:
    """Return a problem if the rubric is not valid for an LLM judge."""
    from gip_exp.llm.errors import LLMError
    from gip_exp.llm.rubric import Rubric as LLMRubric

    try:
        LLMRubric.from_mapping(rubric.model_dump())
    except LLMError as error:
        return [str(error)]
    return []


def missing_key(config: LLMJudge | EndpointSampler, key: str, instead: str = "") -> list[str]:
    """Return a problem if an endpoint's API key is missing or none of its servers answers."""
    if config.batch and len(config.addresses) > 1:
        return [f"{key}.batch=true goes to one address: give one {key}.base_url, not {len(config.addresses)}"]
    usual = "AZURE_OPENAI_API_KEY" if config.provider == "azure" else "OPENAI_API_KEY"
    variable = config.key_variable or usual
    if config.provider == "azure" and config.base_url is None:
        return [f"{key}.base_url: provider=azure needs it, https://RESOURCE.openai.azure.com"]
    if config.base_url is None and os.environ.get("OPENAI_BASE_URL", "").strip():
        return [
            f"OPENAI_BASE_URL is set, but which server replied must be in the config: give {key}.base_url, or unset "
            "OPENAI_BASE_URL"
        ]
    keyless = config.base_url is not None and config.provider == "openai" and config.key_variable is None
    if keyless or os.environ.get(variable):
        problems = [hub.missing_server(f"{key}.base_url", url) for url in config.addresses]
        return [] if [] in problems else [found for one in problems for found in one]  # one server is enough
    return [
        f"{key}: {config.model} needs {variable}: export it, or give {key}.base_url (a local server needs no key){instead}"
    ]
