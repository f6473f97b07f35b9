"""Whether a model folder is damaged or half-downloaded, from headers and small files: no weight is read.

What must be there at all, and what it must not ask for, is for `model_folder`.
"""

import json
import struct
from pathlib import Path
from typing import Any

HEADER = 8  # bytes of a safetensors file that give its header's length
LONGEST_HEADER = 100_000_000  # bytes; safetensors refuses more
INDEX = "model.safetensors.index.json"
# Architectures that end so read text and write none (GPT2LMHeadModel ends in Model too, hence the exception).
NOT_WRITING = (
    "ForMaskedLM",
    "ForSequenceClassification",
    "ForTokenClassification",
    "ForQuestionAnswering",
    "Model",
)


def damage(folder: Path, *, writes: bool) -> str:
    """Why a folder that holds all that a model needs cannot be loaded, with the remedy, or ''.

    writes: whether the model must generate text.
    """
    return _config(folder, writes) or _weights(folder)


def context(folder: Path) -> int | None:
    """The tokens that the model was made for, prompt and reply together, where its config says so."""
    length = (read_config(folder) or {}).get("max_position_embeddings")
    return length if isinstance(length, int) else None


def has_template(folder: Path) -> bool:
    """Whether a chat template stands beside the model, wherever tokenizers keep one."""
    path = folder / "tokenizer_config.json"
    inside = path.is_file() and '"chat_template"' in path.read_text(encoding="utf-8", errors="replace")
    return inside or any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json"))


def read_config(folder: Path) -> dict[str, Any] | None:
    """`config.json`, or None where it is no JSON object."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return config if isinstance(config, dict) else None


def _config(folder: Path, writes: bool) -> str:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    config = read_config(folder)
    if config is None:
        return "config.json is damaged or half-written: copy the model again"
    kind = config.get("model_type")
    if kind not in CONFIG_MAPPING_NAMES and "auto_map" not in config:
        return f"config.json names model_type={kind!r}, which this transformers does not know: give another model"
    names = config.get("architectures") or []
    if writes and names and all(_reads_only(str(name)) for name in names):
        return f"config.json names {', '.join(map(str, names))}, which writes no text: give a causal language model"
    return ""


def _reads_only(architecture: str) -> bool:
    return architecture.endswith(NOT_WRITING) and not architecture.endswith("LMHeadModel")


def _weights(folder: Path) -> str:
    files = sorted(folder.glob("*.safetensors"))
    if (folder / INDEX).is_file():
        try:
            wanted = set(json.loads((folder / INDEX).read_text(encoding="utf-8"))["weight_map"].values())
        except (ValueError, KeyError, TypeError, AttributeError):
            return f"{INDEX} is damaged or half-written: copy the model again"
        if absent := sorted(name for name in wanted if not (folder / name).is_file()):
            return f"lacks {', '.join(absent)}, which {INDEX} names: download or copy the rest of the weights"
    broken = [path.name for path in files if not _whole(path)]
    if broken:
        return f"{', '.join(broken)} cut short or no safetensors at all (a Git LFS pointer?): download or copy it again"
    return ""


def _whole(path: Path) -> bool:
    """Whether the file is as long as its own header says."""
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(HEADER))
            if length > min(size, LONGEST_HEADER):
                return False
            header = json.loads(stream.read(length))
        ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
    except (struct.error, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return False
    return HEADER + length + max(ends, default=0) == size
