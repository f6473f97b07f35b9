"""The experiment's language model: which folder or hub id it is, what it needs, and loading it (with its adapter)."""

import hashlib
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from gip_exp.config import Config
from gip_exp.config.learning import Model
from gip_exp.errors import UserError
from gip_exp.files import file_digest
from gip_exp.hub import missing_model
from gip_exp.quiet import no_loading_bars
from gip_exp.store import Entry

SMALL_FILE = 32 * 2**20
LARGEST_ON_CPU = 1e9  # parameters; beyond this a CPU would need days, so a GPU counts as missing
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def location(config: Config, entries: Mapping[str, Entry]) -> str:
    """The model's folder: given, the `base` stage's output, or the hub's snapshot (downloaded, with its bars)."""
    if config.model.path is None:
        return str(entries["base"].folder)
    if Path(config.model.path).is_dir():
        return config.model.path
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    return snapshot_download(config.model.path, revision=config.model.revision, allow_patterns=wanted)


def identity(model: Model) -> dict[str, Any]:
    """What makes a given model that model: its files (local folder) or its name and revision (hub)."""
    if model.path is None:
        return {}  # the base stage's key says it
    folder = Path(model.path)
    if not folder.is_dir():
        return {"hub": model.path, "revision": model.revision}
    return {"files": {path.name: _fingerprint(path) for path in sorted(folder.iterdir()) if path.is_file()}}


def _fingerprint(path: Path) -> str:
    """SHA-256 of a small file; of size, first and last megabyte of a large one (weights: seconds instead of minutes)."""
    size = path.stat().st_size
    if size <= SMALL_FILE:
        return file_digest(path)
    sketch = hashlib.sha256(str(size).encode())
    with path.open("rb") as stream:
        sketch.update(stream.read(2**20))
        stream.seek(-(2**20), 2)
        sketch.update(stream.read())
    return sketch.hexdigest()


def missing(config: Config) -> list[str]:
    """What this machine lacks for the model: the files, or a GPU large enough to make sense."""
    model = config.model
    if model.path is None:
        return []
    folder = Path(model.path)
    looks_local = folder.is_dir() or model.path.startswith((".", "/", "~")) or model.path.count("/") > 1
    if looks_local:
        absent = _absent_files(folder)
        problems = [f"model.path={model.path}: {absent}"] if absent else []
    else:
        problems = missing_model(model.path, model.revision)
    return problems + _missing_gpu(model, folder)


def _absent_files(folder: Path) -> str:
    if not folder.is_dir():
        return "no such folder: give a model folder (config.json, tokenizer, safetensors) or a hub id"
    if not (folder / "config.json").is_file():
        return "holds no config.json: it is not a model folder"
    if not any(folder.glob("*.safetensors")):
        return "holds no *.safetensors weights (pickled weights are not loaded): convert the checkpoint"
    if not any(
        (folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "tokenizer_config.json")
    ):
        return "holds no tokenizer: copy tokenizer.json and tokenizer_config.json beside the weights"
    return ""


def _missing_gpu(model: Model, folder: Path) -> list[str]:
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors")) if folder.is_dir() else 0
    parameters = size / BYTES[model.dtype] if folder.is_dir() else (model.parameters or 0)
    if parameters <= LARGEST_ON_CPU:
        return []
    import torch

    if torch.cuda.is_available():
        return []
    gigabytes = parameters * BYTES[model.dtype] / 2**30
    return [
        f"a GPU: {model.name} has {parameters / 1e9:.1f} billion parameters ({gigabytes:.0f} GiB in {model.dtype}) "
        "and this machine has no CUDA device; run where there is one, stop before training with until=select, "
        "or take a small model (model=tiny)"
    ]


def device(config: Config) -> str:
    """`engine.device`, with `auto` resolved to what the machine has. Raises UserError for a GPU that is not there."""
    import torch

    wanted = config.engine.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("engine.device=cuda, but torch sees no CUDA device: use engine.device=auto or cpu")
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def load_tokenizer(place: str) -> Any:
    """The tokenizer beside a model. No remote code is run."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(place, trust_remote_code=False)


def load_base(place: str, dtype: str) -> Any:
    """The untouched causal language model, weights from safetensors only, no remote code."""
    import torch
    from transformers import AutoModelForCausalLM

    no_loading_bars()
    return AutoModelForCausalLM.from_pretrained(
        place, dtype=getattr(torch, dtype), trust_remote_code=False, use_safetensors=True
    )


@lru_cache(maxsize=1)
def load(place: str, adapter: str | None, dtype: str, where: str) -> Any:
    """The model in evaluation mode on `where`, with the LoRA adapter if any. The last one stays loaded."""
    model = load_base(place, dtype)
    if adapter is not None:
        from peft import PeftModel

        _check_adapter(place, adapter, model)
        model = PeftModel.from_pretrained(model, adapter)
    return model.to(where).eval()


def _check_adapter(place: str, adapter: str, model: Any) -> None:
    config = json.loads((Path(adapter) / "adapter_config.json").read_text())
    targets = config.get("target_modules") or []
    names = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
    absent = sorted(set(targets) - names) if isinstance(targets, list) else []
    if absent:
        raise UserError(
            f"the adapter {adapter} does not fit the model {place}: it has no layers named {absent}"
        )
