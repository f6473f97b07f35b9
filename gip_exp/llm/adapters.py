"""Models and LoRA adapters on disk as vLLM needs them: ranks, adapters it cannot serve, fingerprints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from gip_exp.llm.errors import LLMError
from gip_exp.storage.files import digest, file_digest, folder_sketch

SERVABLE_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)


def rank_to_serve(adapters: Mapping[str, str]) -> int:
    """Return the smallest rank setting of vLLM that fits every adapter folder.

    Raises LLMError listing every adapter that vLLM cannot serve (DoRA, rank above 512, extra full layers).
    """
    problems, largest = [], 1
    for name, path in adapters.items():
        config = json.loads((Path(path) / "adapter_config.json").read_text())
        ranks = [int(config.get("r", 0)), *map(int, (config.get("rank_pattern") or {}).values())]
        largest = max(largest, *ranks)
        if config.get("use_dora"):
            problems.append(f"{name} uses DoRA")
        if config.get("modules_to_save"):
            problems.append(f"{name} replaces whole layers ({', '.join(config['modules_to_save'])})")
        if max(ranks) > SERVABLE_RANKS[-1]:
            problems.append(f"{name} has rank {max(ranks)}")
    if problems:
        raise LLMError(
            f"vLLM cannot serve these adapters: {'; '.join(problems)}. It takes plain LoRA up to rank "
            f"{SERVABLE_RANKS[-1]}; merge the adapter into the model, or use engine=hf."
        )
    return next(rank for rank in SERVABLE_RANKS if rank >= largest)


def fingerprint(model: str) -> str:
    """Return 16 hex digits over the files of a model folder or over a GGUF file, or the name itself for a hub name.

    Large files enter by samples of their content (`folder_sketch`), so that a 16 GB model takes seconds. The location
    of the folder does not enter.
    """
    folder = Path(model)
    if folder.is_file():
        return file_digest(folder)[:16]
    return digest(folder_sketch(folder)) if folder.is_dir() else model
