"""Check whether a model folder is damaged or incomplete, from headers and small files; no weights are read.

Required files and forbidden requests are checked in `folder`.
"""

import json
from pathlib import Path
from typing import Any

INDEX = "model.safetensors.index.json"
# Architectures with these endings do not generate text (except GPT2LMHeadModel and others with this ending).
NOT_GENERATING = (
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "Model",
)


def damage(folder: Path, *, writes: bool) -> str:
    """Return why a folder with all required files cannot be loaded, with the remedy, or ''.

    Args:
        folder: The model folder.
        writes: Whether the model must generate text.
    """
    return _config(folder, writes) or _weights(folder)


def context(folder: Path) -> int | None:
    """Return the model's context length in tokens, if its config has it."""
    length = _text_config(folder).get("max_position_embeddings")
    return length if isinstance(length, int) else None


def longest_served(folder: Path) -> int | None:
    """Return the longest context that a server accepts for the model; None if its config does not say, or scales it."""
    config = _text_config(folder)
    scaling = config.get("rope_scaling") or config.get("rope_parameters") or {}
    scaled = isinstance(scaling, dict) and "factor" in scaling
    return None if scaled else context(folder)


def _text_config(folder: Path) -> dict[str, Any]:
    """Return the part of `config.json` about the language model, which models that also read images nest."""
    config = read_config(folder) or {}
    text = config.get("text_config")
    return text if isinstance(text, dict) else config


def has_template(folder: Path) -> bool:
    """Return whether the model has a chat template, in any of the places where tokenizers keep one."""
    path = folder / "tokenizer_config.json"
    inside = path.is_file() and '"chat_template"' in path.read_text(encoding="utf-8", errors="replace")
    return inside or any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json"))


def read_config(folder: Path) -> dict[str, Any] | None:
    """Return `config.json`, or None if it is not a JSON object."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return config if isinstance(config, dict) else None


def _config(folder: Path, writes: bool) -> str:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    config = read_config(folder)
    if config is None:
        return "config.json is damaged or incomplete: copy the model again"
    kind = config.get("model_type")
    if kind not in CONFIG_MAPPING_NAMES and "auto_map" not in config:
        return f"config.json names model_type={kind!r}, which this transformers does not know: give another model"
    names = config.get("architectures") or []
    if writes and names and all(_encoder_only(str(name)) for name in names):
        return f"config.json names {', '.join(map(str, names))}, which cannot generate text: give a causal language model"
    return ""


def _encoder_only(architecture: str) -> bool:
    return architecture.endswith(NOT_GENERATING) and not architecture.endswith("LMHeadModel")


def _weights(folder: Path) -> str:
    files = sorted(folder.glob("*.safetensors"))
    if (folder / INDEX).is_file():
        try:
            wanted = set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError):
            return f"{INDEX} is damaged or incomplete: copy the model again"
        if absent := sorted(name for name in wanted if not (folder / name).is_file()):
            return f"lacks {', '.join(absent)}, which {INDEX} names: download or copy the rest of the weights"
    broken = [path.name for path in files if not _complete(path)]
    if broken:
        return f"{', '.join(broken)} truncated or not safetensors (a Git LFS pointer?): download or copy it again"
    return ""


def _complete(path: Path) -> bool:
    """Return whether safetensors accepts the header and the length of the file."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy"):
            return True
    except (SafetensorError, OSError):
        return False
