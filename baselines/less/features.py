"""Projected gradient features of a data set, in shards on disk: resumable, and shared between processes.

A feature is the gradient of an example (Adam-corrected for training data, plain for targets), projected
parameter by parameter as the backward pass produces them, and scaled to unit length. Shard i holds rows from
i * shard_size on; process r of w computes shards r, r + w, ... A shard is written under another name and
renamed, so a shard that exists is complete, and a killed run continues after its last finished shard.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from baselines._checks import check_count, check_seed
from baselines.less.adam import AdamState
from baselines.less.gradients import IGNORED, collate, lora_parameters, stream_gradients
from baselines.less.projection import CountSketch
from selection.checks import Problems

_SPEC = "features.json"


def gradient_features(
    model: nn.Module,
    examples: Sequence[Mapping[str, Sequence[int]]],
    *,
    folder: str | Path,
    adam: AdamState | None = None,
    dim: int = 8192,
    seed: int = 0,
    batch_tokens: int = 4096,
    shard_size: int = 256,
    rank: int | None = None,
    world_size: int | None = None,
    on_shard: Callable[[int, bool], None] = lambda *_: None,
) -> Path:
    """Write this process's shards of unit-length gradient features to a folder.

    If torch.distributed is initialised, rank and world size are taken from it, and the call returns when
    every process is done, so that any of them may call `load_features` next.

    Args:
        model: causal language model with LoRA on the device to use; a bf16 base is fine, gradients are
            projected in float32.
        examples: one mapping per example with `input_ids` and `labels` (lists of the same length; -100 where
            there is no loss). Neither padded nor truncated here.
        folder: created if needed; an earlier call with the same arguments is continued.
        adam: the state of the checkpoint for Adam-corrected features (training data); None for plain
            gradients (targets).
        dim: dimensions of the projection.
        seed: of the projection; features can only be compared when dim and seed agree.
        batch_tokens: tokens of a backward pass, padding included, but at least one example; changes rounding, never
            more.
        shard_size: rows a shard, the most that a kill can cost each process.
        rank: number of this process, to share the work without torch.distributed.
        world_size: number of processes, likewise.
        on_shard: called after each shard with its number of rows and whether it existed already.

    Raises:
        ValueError: bad arguments, an example without a token to predict, a folder made with other
            arguments, a gradient that is not finite.

    Example:
        >>> import tempfile
        >>> from peft import LoraConfig, get_peft_model
        >>> from transformers import Qwen3Config, Qwen3ForCausalLM
        >>> shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "head_dim": 8}
        >>> config = Qwen3Config(vocab_size=8, num_attention_heads=1, num_key_value_heads=1, **shape)
        >>> model = get_peft_model(Qwen3ForCausalLM(config), LoraConfig(r=1, target_modules=["q_proj"]))
        >>> examples = [{"input_ids": [0, 1, 2], "labels": [-100, 1, 2]}] * 3
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     load_features(gradient_features(model, examples, folder=folder, dim=4)).shape
        (3, 4)
    """
    rank, world_size = _share(rank, world_size)
    sizes = {"dim": dim, "batch_tokens": batch_tokens, "shard_size": shard_size}
    _check_arguments(examples, sizes, seed, rank, world_size)
    names = lora_parameters(model)
    folder = Path(folder)
    _claim(folder, _spec(examples, names, adam, dim=dim, seed=seed, shard_size=shard_size))
    sketch = CountSketch(dim, seed)
    state = None if adam is None else adam.to(next(model.parameters()).device)
    for shard in range(rank, -(-len(examples) // shard_size), world_size):
        path, start = folder / _shard_name(shard), shard * shard_size
        part = examples[start : start + shard_size]
        kept = _is_whole(path, (len(part), dim))
        if not kept:
            rows = _shard(model, part, names, adam=state, sketch=sketch, batch_tokens=batch_tokens)
            bad = ~np.isfinite(rows).all(axis=1)
            if bad.any():
                raise ValueError(f"examples: row {start + int(bad.argmax())} has a gradient with NaN or inf")
            _write_shard(path, rows)
        on_shard(len(part), kept)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
    return folder


def load_features(folder: str | Path) -> NDArray[np.float32]:
    """Read all features of a folder.

    Args:
        folder: written by `gradient_features`, all shards finished.

    Returns:
        (n, dim) float32, rows in the order of the examples.

    Raises:
        ValueError: the folder holds no features, or shards are missing.
    """
    folder = Path(folder)
    if not (folder / _SPEC).is_file():
        raise ValueError(f"folder: {folder} holds no gradient features (no {_SPEC})")
    spec = json.loads((folder / _SPEC).read_text(encoding="utf-8"))
    paths = [folder / _shard_name(i) for i in range(-(-spec["rows"] // spec["shard_size"]))]
    missing = [path.name for path in paths if not path.exists()]
    if missing:
        raise ValueError(
            f"folder: {folder} lacks {len(missing)} of {len(paths)} shards, first {missing[0]}; "
            "run gradient_features again to finish it"
        )
    result = np.empty((spec["rows"], spec["dim"]), dtype=np.float32)
    for i, path in enumerate(paths):
        result[i * spec["shard_size"] : (i + 1) * spec["shard_size"]] = np.load(path)
    return result


def _shard(
    model: nn.Module,
    examples: Sequence[Mapping[str, Sequence[int]]],
    names: Sequence[str],
    *,
    adam: AdamState | None,
    sketch: CountSketch,
    batch_tokens: int,
) -> NDArray[np.float32]:
    """Compute features (len(examples), dim). Batches hold examples of similar length, to pad little."""
    rows = np.empty((len(examples), sketch.dim), dtype=np.float32)
    for members in _batches([len(example["input_ids"]) for example in examples], batch_tokens):
        batch = collate([examples[i] for i in members])
        total = torch.zeros(len(members), sketch.dim, device=next(model.parameters()).device)

        def project(name: str, block: Tensor, total: Tensor = total) -> None:
            sketch.add(total, name, block if adam is None else adam.direction(name, block))

        stream_gradients(model, batch, names, project)
        rows[members] = nn.functional.normalize(total, dim=1, eps=1e-30).cpu().numpy()
    return rows


def _batches(lengths: Sequence[int], tokens: int) -> Iterator[list[int]]:
    """Yield the examples of each batch: of similar length, and padded to at most that many tokens, or one alone.

    Example:
        >>> list(_batches([5, 1, 2, 9], tokens=8))
        [[1, 2], [0], [3]]
    """
    members: list[int] = []
    for at in sorted(range(len(lengths)), key=lambda at: lengths[at]):
        if members and (len(members) + 1) * lengths[at] > tokens:
            yield members
            members = []
        members.append(at)
    yield members


def _check_arguments(
    examples: Sequence[Mapping[str, Sequence[int]]],
    sizes: Mapping[str, int],
    seed: int,
    rank: int,
    world_size: int,
) -> None:
    """Raise ValueError naming every bad argument of `gradient_features`."""
    problems = Problems()
    for argument, value in sizes.items():
        check_count(problems, argument, value)
    check_count(problems, "world_size", world_size)
    check_count(problems, "rank", rank, max(0, world_size - 1), low=0)
    check_seed(problems, seed)
    _check_examples(problems, examples)
    problems.raise_if_any()


def _share(rank: int | None, world_size: int | None) -> tuple[int, int]:
    if rank is None and world_size is None:
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return 0, 1
    if rank is None or world_size is None:
        raise ValueError("rank and world_size: give both or neither")
    return rank, world_size


def _write_shard(path: Path, rows: NDArray[np.float32]) -> None:
    """Write a shard under a temporary name and rename it, so that a shard that exists is complete."""
    partial = path.with_suffix(f".{os.getpid()}.tmp")
    with partial.open("wb") as file:
        np.save(file, rows)
        _sync(file)
    partial.replace(path)


def _shard_name(shard: int) -> str:
    return f"shard_{shard:05d}.npy"


def _spec(
    examples: Sequence[Mapping[str, Sequence[int]]],
    names: Sequence[str],
    adam: AdamState | None,
    *,
    dim: int,
    seed: int,
    shard_size: int,
) -> dict[str, Any]:
    """Return what the shards of a folder depend on, except the weights: the caller uses one folder per checkpoint."""
    digest = sha256()
    for example in examples:
        digest.update(repr((list(example["input_ids"]), list(example["labels"]))).encode())
    return {
        "rows": len(examples),
        "dim": dim,
        "seed": seed,
        "shard_size": shard_size,
        "kind": "plain" if adam is None else "adam",
        "parameters": sha256("\n".join(names).encode()).hexdigest(),
        "examples": digest.hexdigest(),
    }


def _claim(folder: Path, spec: Mapping[str, Any]) -> None:
    """Write the folder's description, or raise ValueError if it has a different one.

    Shards without a readable description cannot be attributed to any arguments and are removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / _SPEC
    found = _described(path)
    if found is None:
        for shard in folder.glob("shard_*.npy"):
            shard.unlink(missing_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.tmp")
        with partial.open("w", encoding="utf-8") as file:
            json.dump(spec, file, indent=1)
            _sync(file)
        partial.replace(path)
        found = spec
    different = sorted(key for key in spec if found.get(key) != spec[key])
    if different:
        raise ValueError(
            f"folder: {folder} holds features made with another {', '.join(different)}; use an empty folder"
        )


def _described(path: Path) -> Mapping[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _is_whole(path: Path, shape: tuple[int, int]) -> bool:
    """Return whether a shard exists with the expected shape; a truncated or overwritten file is made again."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False).shape == shape
    except (FileNotFoundError, ValueError, EOFError):
        return False


def _sync(file: IO[Any]) -> None:
    """Wait until the file is on disk, so that its final name never refers to incomplete content."""
    file.flush()
    os.fsync(file.fileno())


def _check_examples(problems: Problems, examples: Sequence[Mapping[str, Sequence[int]]]) -> None:
    if not len(examples):
        problems.add("examples", "is empty; give at least one")
    for i, example in enumerate(examples):
        ids, labels = example["input_ids"], example["labels"]
        if len(ids) != len(labels):
            problems.add(
                "examples", f"row {i} has {len(ids)} input_ids and {len(labels)} labels; give one each"
            )
        elif all(label == IGNORED for label in labels[1:]):
            problems.add("examples", f"row {i} has no token to predict (every label after the first is -100)")
        else:
            continue
        return
