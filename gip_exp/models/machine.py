"""Base model, precision, device and attention kernel of a fine-tuning, and its unmet requirements."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from gip_exp.config import Config
from gip_exp.config.train import LoraTrain
from gip_exp.errors import UserError
from gip_exp.models import loading
from gip_exp.storage.store import Entry

FLASH = "flash_attention_2"


@dataclass(frozen=True)
class Machine:
    """Folder of the base model, its precision and device."""

    place: str
    dtype: str
    device: str


def machine(config: Config, entries: Mapping[str, Entry]) -> Machine:
    """Return the base model and device of the experiment."""
    return Machine(loading.location(config, entries), config.model.dtype, loading.device(config))


def kernel(train: LoraTrain, device: str) -> str | None:
    """Return the attention implementation to request from transformers; None for its default."""
    if train.attention != "auto":
        return train.attention
    return FLASH if device == "cuda" and loading.has_flash_attention() else None


def missing_for_training(train: LoraTrain, config: Config) -> list[str]:
    """Return the unmet requirements of the settings of a training, each with its remedy."""
    try:
        device = loading.device(config)
    except UserError:
        return []  # reported by loading.missing_requirements
    return missing_for_processes("train.processes", train.processes, config) + _attention(train, device)


def missing_for_processes(key: str, processes: int, config: Config, *, nodes: int = 1) -> list[str]:
    """Return why a stage cannot run in several processes, each with its own GPU if there are GPUs.

    Args:
        key: The config key of the number of processes.
        processes: Its value.
        config: The config.
        nodes: Number of machines that share the processes.
    """
    world = os.environ.get("WORLD_SIZE", "1")
    if not world.isdigit():
        return [
            f"WORLD_SIZE={world!r} must be a number of processes: unset it (torchrun sets it for its own)"
        ]
    if int(world) > 1:
        return [
            "this is one of several processes started by torchrun or accelerate: run "
            f"`python -m gip_exp ... {key}={world}` instead, which starts processes for the stages that can "
            "use them"
        ]
    return _missing_gpus(key, processes, config, nodes) if processes > 1 else []


def _missing_gpus(key: str, processes: int, config: Config, nodes: int) -> list[str]:
    from torch import cuda

    if processes % nodes:
        return [
            f"{key}={processes} must be a multiple of {nodes}, the number of nodes of this SLURM job, or 1"
        ]
    try:
        gpus = cuda.device_count() if loading.device(config) == "cuda" else processes
    except UserError as error:
        return [str(error)]
    if processes // nodes <= gpus:
        return []
    each = f" on each of {nodes} nodes" if nodes > 1 else ""
    return [
        f"{key}={processes}, but torch sees {gpus} GPUs{each}: lower it, or make more visible (CUDA_VISIBLE_DEVICES)"
    ]


def _attention(train: LoraTrain, device: str) -> list[str]:
    if not train.packing and train.attention != FLASH:
        return []
    if train.attention not in ("auto", FLASH):
        return [
            f"train.packing=true with train.attention={train.attention}: only FlashAttention prevents attention between "
            "packed examples; use train.attention=auto"
        ]
    if device == "cuda" and loading.has_flash_attention():
        return []
    setting = "train.packing=true" if train.packing else f"train.attention={FLASH}"
    why = "there is no GPU" if device != "cuda" else "the package flash-attn is not installed"
    return [f"{setting} needs FlashAttention, and {why}: use train.packing=false train.attention=auto"]
