"""Models in one GGUF file, as llama.cpp uses them: checks before a run, and the conversion to a model folder.

The weights are dequantised to float32, which holds every quantised value exactly; a run then loads them in `model.dtype`.
Nothing in the file is run: it holds numbers, texts and a chat template.
"""

import re
from contextlib import contextmanager
from functools import lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gip_exp.errors import UserError
from gip_exp.quiet import no_loading_bars

SUFFIX = ".gguf"
MAGIC = b"GGUF"
PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
INSTALL = "pip install gguf"


def problem(file: Path, *, chat: bool) -> str:
    """Return why a GGUF file cannot be used, with the remedy, or ''.

    Args:
        file: The file.
        chat: Whether the model needs a chat template.
    """
    return _unreadable(file) or _unsuitable(described(file), chat)


def _unreadable(file: Path) -> str:
    if not file.is_file():
        return "no such file: give a GGUF file, a model folder or a hub id"
    with file.open("rb") as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            return "is not a GGUF file (a Git LFS pointer?): download or copy it again"
    if PART.search(file.name):
        return "is one part of several: merge them (llama.cpp's gguf-split --merge), or give a model folder"
    if find_spec("gguf") is None:
        return f"GGUF files are read by the package gguf, which is not installed: {INSTALL}"
    try:
        described(file)
    except ValueError as error:
        return f"is damaged or incomplete ({error}): download or copy it again"
    return ""


def _unsuitable(found: dict[str, Any], chat: bool) -> str:
    if found["architecture"] not in _known():
        return (
            f"holds a model of the architecture {found['architecture']!r}, which this transformers does not read from GGUF: "
            "give its folder or hub id"
        )
    if chat and not found["has_template"]:
        return (
            "model.prompt.style=chat, but the file has no chat template: use model.prompt.style=plain with "
            "model.prompt.template"
        )
    return ""


def parameters(file: Path) -> float | None:
    """Return the number of weights in the file; None if it cannot be read, which `problem` explains."""
    try:
        return float(described(file)["parameters"])
    except (ImportError, OSError, ValueError):
        return None


def context(file: Path) -> int | None:
    """Return the model's context length in tokens, if the file has it and can be read."""
    try:
        return described(file)["context"]
    except (ImportError, OSError, ValueError):
        return None


def described(file: Path) -> dict[str, Any]:
    """Return the file's name, architecture, context, number of weights, types of its matrices, and pre-tokenizer.

    Raises:
        ValueError: the file is damaged.
    """
    stat = file.stat()
    return _described(file, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=16)
def _described(file: Path, *_: int) -> dict[str, Any]:
    from gguf import GGUFReader

    try:
        reader = GGUFReader(file)
        fields = reader.fields
        architecture = str(fields["general.architecture"].contents())
        length = fields.get(f"{architecture}.context_length")
        pre = fields.get("tokenizer.ggml.pre")
        matrices = [tensor for tensor in reader.tensors if len(tensor.shape) > 1]
        return {
            "file": file.name,
            "architecture": architecture,
            "context": int(length.contents()) if length else None,
            "parameters": sum(int(tensor.n_elements) for tensor in reader.tensors),
            "types": sorted({tensor.tensor_type.name for tensor in matrices}),
            "pre_tokenizer": str(pre.contents()) if pre else None,
            "has_template": "tokenizer.chat_template" in fields,
        }
    except (KeyError, IndexError, TypeError, UnicodeDecodeError, OverflowError, MemoryError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _known() -> set[str]:
    from transformers.modeling_gguf_pytorch_utils import GGUF_SUPPORTED_ARCHITECTURES

    return set(GGUF_SUPPORTED_ARCHITECTURES)


def convert(file: Path, folder: Path, key: str = "model.path") -> dict[str, Any]:
    """Write the model of a GGUF file as a model folder in float32, with its tokenizer and chat template.

    Args:
        file: The GGUF file.
        folder: An existing folder to write to.
        key: Config key of the file, for messages.

    Returns:
        What `described` returns.

    Raises:
        UserError: transformers cannot read the file.
    """
    import torch
    from tqdm import tqdm
    from transformers import AutoModelForCausalLM, AutoTokenizer, modeling_gguf_pytorch_utils

    no_loading_bars()
    # Its bar ignores the setting above.
    modeling_gguf_pytorch_utils.tqdm = partial(tqdm, disable=True)
    found = described(file)
    with _readable(file, key):
        tokenizer = AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name)
        model = AutoModelForCausalLM.from_pretrained(
            str(file.parent), gguf_file=file.name, dtype=torch.float32
        )
    # Without these, transformers takes the dequantised weights for quantised ones and does not write them.
    del model.config.quantization_config
    model.hf_quantizer = None  # type: ignore[assignment]
    model.config._name_or_path = ""
    _split_digits(tokenizer, found["pre_tokenizer"])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return found


@contextmanager
def _readable(file: Path, key: str) -> Any:
    try:
        yield
    except (ValueError, KeyError, NotImplementedError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{key}={file.name}: transformers cannot read this GGUF file ({reason}): give the model's folder or hub id"
        ) from error


def _split_digits(tokenizer: Any, pre_tokenizer: str | None) -> None:
    """Split every digit first, as the file asks for: transformers does not read the name of the pre-tokenizer.

    Without this, only texts with several spaces before a number would be tokenised otherwise than by the hub's tokenizer.
    """
    from tokenizers import pre_tokenizers

    if pre_tokenizer == "smollm":
        digits = pre_tokenizers.Digits(individual_digits=True)
        own = tokenizer.backend_tokenizer.pre_tokenizer
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, own])
