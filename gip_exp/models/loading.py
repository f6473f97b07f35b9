"""The language model of an experiment: its location, its requirements, loading it."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gip_exp.config import Config
from gip_exp.config.model import Model
from gip_exp.errors import UserError
from gip_exp.models import folder as model_folder
from gip_exp.models import gguf_file
from gip_exp.models import weights as model_files
from gip_exp.models.hub import missing_model
from gip_exp.models.packaged import resolved
from gip_exp.quiet import no_loading_bars
from gip_exp.storage.files import folder_sketch
from gip_exp.storage.store import Entry

LARGEST_ON_CPU = 1e9  # parameters; larger models require a GPU, because a CPU would take days
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def location(config: Config, entries: Mapping[str, Entry]) -> str:
    """Return the model's folder: as configured, the output of `base`, or the hub's snapshot (downloaded if needed)."""
    if config.model.made or config.model.path is None:
        return str(entries["base"].folder)
    return fetched(config.model.path, config.model.revision)


def fetched(path: str, revision: str | None) -> str:
    """Return a model's folder: `path` itself, or the hub's snapshot.

    Raises:
        UserError: it cannot be downloaded, or loading it would run custom code.
    """
    path = resolved(path)
    place = path if Path(path).is_dir() else _from_hub(path, revision)
    if why := model_folder.foreign_code(Path(place)):
        raise UserError(f"the model {path}: {why}")
    return place


def _from_hub(path: str, revision: str | None) -> str:
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    duplicate = ["consolidated*"]  # the same weights in Mistral's own format
    try:
        place = snapshot_download(path, revision=revision, allow_patterns=wanted, ignore_patterns=duplicate)
    except (HfHubHTTPError, LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        raise UserError(
            f"the model {path} cannot be downloaded ({type(error).__name__}): run the same command again to continue the "
            "download, or give its folder"
        ) from error
    if why := model_folder.problem(_transformer(Path(place))):  # offline, the cache may be incomplete
        raise UserError(f"the model {path}, in the hub's cache at {place}, {why}; or go online")
    return place


def identity(model: Model) -> dict[str, Any]:
    """Return what identifies a model in keys: its files (local folder) or its name and revision (hub)."""
    if model.made or model.path is None:
        return {}  # identified by the key of `base`
    folder = Path(resolved(model.path))
    if not folder.is_dir():
        return {"hub": model.path, "revision": model.revision}
    return {"files": folder_sketch(folder)}


def name_in_key(path: str | None) -> str | None:
    """Return the name of a hub model, or `local` for a folder or file, whose content is in the key instead."""
    return "local" if path and Path(resolved(path)).exists() else path


def missing_requirements(config: Config) -> list[str]:
    """Return the unmet requirements of the model: its files, and a GPU for a large model."""
    model = config.model
    no_device = _missing_device(config)
    if model.path is None:
        return no_device
    place = Path(resolved(model.path))
    if model.gguf:  # the stage that converts it checks the file
        return no_device or _missing_gpu(model, gguf_file.parameters(place) or model.parameters or 0)
    files = missing_weights(model.path, model.revision, "model.path") or _missing_template(model, place)
    return files + (no_device or _missing_gpu(model, _parameters(model, place)))


def missing_weights(path: str, revision: str | None, key: str, *, trusted: bool = False) -> list[str]:
    """Return why a model folder cannot be used, or a hub model is not available.

    Args:
        path: Folder or hub id.
        revision: Revision on the hub.
        key: Config key of the path, for messages.
        trusted: Whether custom code of the model may run.

    Returns:
        Problems with their remedies.
    """
    folder = Path(resolved(path))
    if folder.is_dir() or path.startswith((".", "/", "~")) or path.count("/") > 1:
        place = _transformer(folder)
        why = model_folder.problem(place, trusted=trusted)
        why = why or model_files.damage(place, writes=not key.startswith("embedder"))
        return [f"{key}={path}: {why}"] if why else []
    return missing_model(path, revision, key)


def _transformer(folder: Path) -> Path:
    """Return the folder of the transformer, which sentence-transformers may keep in a subfolder."""
    nested = folder / "0_Transformer"
    return nested if nested.is_dir() else folder


def _missing_template(model: Model, folder: Path) -> list[str]:
    if model.prompt.style != "chat" or not folder.is_dir() or model_files.has_template(folder):
        return []
    return [
        f"model.prompt.style=chat, but the tokenizer in {folder} has no chat template: use model.prompt.style=plain with "
        "model.prompt.template, or put chat_template.jinja beside it"
    ]


def context(model: Model) -> int | None:
    """Return the model's context length in tokens, if it is known before downloading."""
    if model.scratch is not None:
        return model.scratch.context
    if model.path is None:
        return None
    read = gguf_file.context if model.gguf else model_files.context
    return read(Path(resolved(model.path)))


def _missing_device(config: Config) -> list[str]:
    try:
        device(config)
    except UserError as error:
        return [str(error)]
    return []


def _parameters(model: Model, folder: Path) -> float:
    size = sum(path.stat().st_size for path in folder.glob("*.safetensors")) if folder.is_dir() else 0
    return size / BYTES[model.dtype] if folder.is_dir() else (model.parameters or 0)


def _missing_gpu(model: Model, parameters: float) -> list[str]:
    if parameters <= LARGEST_ON_CPU:
        return []
    import torch

    if torch.cuda.is_available():
        return []
    gigabytes = parameters * BYTES[model.dtype] / 2**30
    return [
        f"{model.name} needs a GPU: it has {parameters / 1e9:.1f} billion parameters ({gigabytes:.0f} GiB in "
        f"{model.dtype}), and this machine has no CUDA device; use a machine with a GPU, stop before training with "
        "until=select, or use a small model (model=tiny)"
    ]


def device(config: Config) -> str:
    """Return `engine.device` with `auto` resolved. Raises UserError if a requested GPU is not available."""
    import torch

    wanted = config.engine.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("engine.device=cuda, but torch sees no CUDA device: use engine.device=auto or cpu")
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    return wanted


def load_tokenizer(place: str) -> Any:
    """Load the tokenizer of a model, without running remote code."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(place, trust_remote_code=False)
    except ValueError as error:  # unknown class, or one in custom code
        raise UserError(f"the tokenizer in {place} cannot be loaded: {str(error).splitlines()[0]}") from error


def load_base(place: str, dtype: str, *, attention: str | None = None) -> Any:
    """Load the causal language model without adapter, from safetensors only, without running remote code.

    Args:
        place: Folder or hub id.
        dtype: Precision.
        attention: Attention implementation of transformers; None for its default.
    """
    import torch
    from transformers import AutoModelForCausalLM

    no_loading_bars()
    chosen = {} if attention is None else {"attn_implementation": attention}
    return AutoModelForCausalLM.from_pretrained(
        place, dtype=getattr(torch, dtype), trust_remote_code=False, use_safetensors=True, **chosen
    )


# Fields of generation_config.json that change which token comes next.
_SAMPLING = (
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "min_p",
    "typical_p",
    "repetition_penalty",
    "no_repeat_ngram_size",
)


def reset_sampling(model: Any) -> None:
    """Ignore the sampling defaults of the model's generation_config.json, so that greedy is plain on every engine."""
    from transformers import GenerationConfig

    neutral = GenerationConfig()
    for name in _SAMPLING:
        setattr(model.generation_config, name, getattr(neutral, name))


def has_flash_attention() -> bool:
    """Return whether FlashAttention is installed."""
    return find_spec("flash_attn") is not None


def check_adapter(place: str, adapter: str) -> None:
    """Raise UserError unless every weight of the adapter fits a layer of the model folder `place`.

    Only headers are read, so the check is fast and needs no loaded model.
    """
    weights = _shapes(Path(adapter))
    problems = _misfits(weights, _shapes(Path(place)))
    if problems:  # transformers names layers otherwise than the files of some models, such as Gemma 3
        problems = _misfits(weights, _module_shapes(place))
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise UserError(
            f"the adapter {adapter} does not fit the model {place}: {problems[0]}{more}; it was trained on another base"
        )


def _misfits(weights: Mapping[str, tuple[int, ...]], layers: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Return why weights of an adapter do not fit the layers of a model."""
    problems = []
    for name, shape in weights.items():
        layer, _, part = name.removeprefix("base_model.model.").rpartition(".lora_")
        base = layers.get(f"{layer}.weight")
        if not part.startswith(("A.", "B.")):
            continue
        side = 1 if part.startswith("A.") else 0  # A has the layer's input dimension, B its output dimension
        if base is None:
            problems.append(f"there is no layer {layer}")
        elif base[side] != shape[side]:
            problems.append(f"{layer} is {base[0]} x {base[1]}, which {shape[0]} x {shape[1]} does not fit")
    return problems


def _module_shapes(place: str) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the model's weights by the names of its modules; nothing is loaded."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.from_pretrained(place, trust_remote_code=False)
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    return {name: tuple(weight.shape) for name, weight in model.named_parameters()}


def _shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    from safetensors import safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            shapes |= {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
    return shapes
