"""Checks of a model folder: what it must hold, and what it must not request (pickled weights, code, another model)."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")


def problem(folder: Path, *, trusted: bool = False) -> str:
    """Return why a folder cannot be loaded, with the remedy, or ''; `trusted` allows code that comes with it."""
    return _absent(folder) or ("" if trusted else foreign(folder))


def _absent(folder: Path) -> str:
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


def foreign(folder: Path) -> str:
    """Return what loading the folder would run or load from elsewhere, or ''. Only its JSON files are read."""
    config = _read(folder / "config.json")
    code = "is not run: take a model of an architecture that transformers has, or convert this one"
    if "auto_map" in config and not _is_known(config.get("model_type")):
        return f"config.json asks for code of its own (auto_map), which {code}"
    if "auto_map" in _read(folder / "tokenizer_config.json") and not (folder / "tokenizer.json").is_file():
        return f"its tokenizer asks for code of its own (auto_map in tokenizer_config.json), which {code}"
    # transformers loads attention code from the hub if the name looks like that of a repository.
    if kernel := next((value for value in _attentions(config) if "/" in value), None):
        return f"config.json asks for attention code from {kernel!r}, which is not run: remove that entry"
    if (folder / "adapter_config.json").is_file():
        return (
            "has an adapter_config.json, so transformers would load another model in its place: remove that file, "
            "or merge the adapter into its model"
        )
    return ""


def _is_known(model_type: object) -> bool:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    return isinstance(model_type, str) and model_type in CONFIG_MAPPING_NAMES


def _attentions(config: Any) -> Iterator[str]:
    """Yield the attention implementations that a config and its parts name."""
    if isinstance(config, dict):
        for name, value in config.items():
            if "attn_implementation" in str(name):
                yield from (_texts(value))
            yield from _attentions(value)


def _texts(value: Any) -> Iterator[str]:
    """Yield `value` if it is text, or the texts in a mapping by part."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (item for item in value.values() if isinstance(item, str))


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}  # reported when it is loaded
    return found if isinstance(found, dict) else {}
