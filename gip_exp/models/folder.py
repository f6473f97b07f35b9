"""Checks of a model folder: required files, and forbidden requests (pickled weights, code, another model)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")


def problem(folder: Path, *, trusted: bool = False) -> str:
    """Return why a folder cannot be loaded, with the remedy, or ''; `trusted` allows code in the folder."""
    return _missing_file(folder) or ("" if trusted else foreign_code(folder))


def _missing_file(folder: Path) -> str:
    if not folder.is_dir():
        return "no such folder: give a model folder (config.json, tokenizer, safetensors) or a hub id"
    if not (folder / "config.json").is_file():
        if (folder / "adapter_config.json").is_file():
            return "holds an adapter, not a model: give the base model's folder, or merge the adapter into it"
        return "has no config.json, so it is not a model folder: give one with config.json, tokenizer and safetensors"
    if not any(folder.glob("*.safetensors")):
        return "has no *.safetensors weights (pickled weights are not loaded): convert the checkpoint"
    if not any((folder / name).is_file() for name in TOKENIZERS):
        return "has no tokenizer: copy tokenizer.json and tokenizer_config.json beside the weights"
    return ""


def foreign_code(folder: Path) -> str:
    """Return which code or other model loading the folder would use, or ''. Only its JSON files are read."""
    config = _read(folder / "config.json")
    code = "is not run: use a model of an architecture in transformers, or convert this one"
    if "auto_map" in config and not _is_known(config.get("model_type")):
        return f"config.json requests custom code (auto_map), which {code}"
    if "auto_map" in _read(folder / "tokenizer_config.json") and not (folder / "tokenizer.json").is_file():
        return f"its tokenizer requests custom code (auto_map in tokenizer_config.json), which {code}"
    # transformers loads attention code from the hub if the name looks like that of a repository.
    if kernel := next((value for value in _attentions(config) if "/" in value), None):
        return f"config.json requests attention code from {kernel!r}, which is not run: remove that entry"
    if (folder / "adapter_config.json").is_file():
        return (
            "has an adapter_config.json, so transformers would load another model instead: remove that file, or merge the "
            "adapter into its model"
        )
    return ""


def _is_known(model_type: object) -> bool:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return isinstance(model_type, str) and model_type in CONFIG_MAPPING_NAMES


def _attentions(config: Any) -> Iterator[str]:
    """Yield the attention implementations named in a config and its sub-configs."""
    if isinstance(config, dict):
        for name, value in config.items():
            if "attn_implementation" in str(name):
                yield from (_texts(value))
            yield from _attentions(value)


def _texts(value: Any) -> Iterator[str]:
    """Yield `value` if it is text, or the text values of a mapping."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (item for item in value.values() if isinstance(item, str))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}  # reported when the folder is loaded
    return found if isinstance(found, dict) else {}
