"""AdamW's state from a trainer's checkpoint, paired with parameters by name, and the Adam-corrected gradient.

An `optimizer.pt` numbers its parameters in the order in which the optimiser was given them, and does not
say which they were. Pairing by a later model's order goes wrong silently when that order differs, so the
warm-up writes the names beside the state (`write_parameter_names`) and every tensor's shape is checked
against the model's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

NAMES_FILE = "optimizer_parameter_names.json"
STATE_FILE = "optimizer.pt"


@dataclass(frozen=True)
class AdamState:
    """First and second moments (`exp_avg`, `exp_avg_sq`) of every parameter by name, and Adam's betas."""

    first: Mapping[str, Tensor]
    second: Mapping[str, Tensor]
    beta1: float = 0.9
    beta2: float = 0.999

    def direction(self, name: str, gradients: Tensor) -> Tensor:
        """`adam_direction` of one parameter; gradients: (b, size)."""
        first, second = (moments[name].reshape(1, -1) for moments in (self.first, self.second))
        return adam_direction(gradients, first, second, beta1=self.beta1, beta2=self.beta2)

    def to(self, device: torch.device | str) -> AdamState:
        """The same state in float32 on `device`."""
        first, second = (
            {name: moment.to(device, torch.float32) for name, moment in moments.items()}
            for moments in (self.first, self.second)
        )
        return AdamState(first, second, self.beta1, self.beta2)


def adam_direction(
    gradient: Tensor,
    first: Tensor,
    second: Tensor,
    *,
    beta1: float = 0.9,
    beta2: float = 0.999,
    epsilon: float = 1e-8,
) -> Tensor:
    """The step Adam would take for this gradient alone, with epsilon inside the root and no bias correction:

    (beta1 first + (1 - beta1) g) / sqrt(beta2 second + (1 - beta2) g^2 + epsilon), elementwise (LESS,
    section 3.1).
    """
    root = torch.sqrt(beta2 * second + (1.0 - beta2) * gradient**2 + epsilon)
    return (beta1 * first + (1.0 - beta1) * gradient) / root


def write_parameter_names(model: nn.Module, optimizer: Any, folder: str | Path) -> None:
    """Write the names of the optimiser's parameters, group by group, beside its state in `folder`.

    Call it while training, when a checkpoint has been saved. Wrappers' `module.` prefixes are dropped.
    Raises ValueError where the optimiser holds a parameter that the model lacks.
    """
    while hasattr(optimizer, "optimizer"):  # accelerate wraps the optimiser
        optimizer = optimizer.optimizer
    names = {id(parameter): name.removeprefix("module.") for name, parameter in model.named_parameters()}
    groups = [[names.get(id(p)) for p in group["params"]] for group in optimizer.param_groups]
    if any(name is None for group in groups for name in group):
        raise ValueError(
            "optimizer: holds parameters that are not the model's; pass the model it was made for"
        )
    (Path(folder) / NAMES_FILE).write_text(json.dumps(groups), encoding="utf-8")


def adam_state(folder: str | Path, model: nn.Module, *, assume_model_order: bool = False) -> AdamState:
    """Adam's state from a transformers or TRL checkpoint folder, paired by name.

    Args:
        folder: holds `optimizer.pt` and, from `write_parameter_names`, the names that belong to it.
        model: the model with this checkpoint's adapter loaded; every one of its LoRA weights needs a state.
        assume_model_order: for a foreign checkpoint without names: take the state to follow `model`'s own
            order of LoRA parameters. That is right only for the model class and library versions that
            trained it.

    Raises:
        ValueError: no optimiser state, a state of another optimiser, no names, or names or shapes that do
            not fit.
    """
    path = Path(folder) / STATE_FILE
    if not path.is_file():
        raise ValueError(
            f"folder: {folder} has no {STATE_FILE}; LESS needs the optimiser state, so save checkpoints with "
            "save_only_model=False and keep the file"
        )
    saved = torch.load(path, map_location="cpu", weights_only=True)
    groups = saved["param_groups"]
    numbers = [number for group in groups for number in group["params"]]
    names = _names(Path(folder), model, groups, assume=assume_model_order)
    if len(names) != len(numbers):
        raise ValueError(
            f"folder: {path} holds {len(numbers)} parameters, but {len(names)} names belong to it; "
            "it was saved by another model"
        )
    states = {name: saved["state"].get(number) for name, number in zip(names, numbers, strict=True)}
    _check_states(path, states, model)
    beta1, beta2 = groups[0].get("betas", (0.9, 0.999))
    wanted = [name for name, _ in _lora(model)]
    return AdamState(
        first={name: states[name]["exp_avg"] for name in wanted},
        second={name: states[name]["exp_avg_sq"] for name in wanted},
        beta1=float(beta1),
        beta2=float(beta2),
    )


def _lora(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, p) for name, p in model.named_parameters() if ".lora_" in f".{name}"]


def _names(folder: Path, model: nn.Module, groups: list[dict[str, Any]], *, assume: bool) -> list[str]:
    """Parameter names in the order of the saved groups: from the names file, the groups, or the model."""
    path = folder / NAMES_FILE
    if path.is_file():
        return [name for group in json.loads(path.read_text(encoding="utf-8")) for name in group]
    if all("param_names" in group for group in groups):
        return [name.removeprefix("module.") for group in groups for name in group["param_names"]]
    if assume:
        return [name for name, _ in _lora(model)]
    raise ValueError(
        f"folder: {folder} does not say whose optimiser state it holds (no {NAMES_FILE}); call "
        "write_parameter_names when the checkpoint is saved, or pass assume_model_order=True at your own risk"
    )


def _check_states(path: Path, states: Mapping[str, Any], model: nn.Module) -> None:
    """Raise ValueError unless every LoRA weight of `model` has moments of its own shape."""
    for name, parameter in _lora(model):
        state = states.get(name)
        if state is None:
            raise ValueError(
                f"folder: {path} has no state for parameter {name!r}; it was saved by another model"
            )
        if "exp_avg" not in state or "exp_avg_sq" not in state:
            raise ValueError(
                f"folder: {path} holds {sorted(state)} for {name!r}, not Adam's exp_avg and exp_avg_sq; "
                "train the warm-up with AdamW"
            )
        for key in ("exp_avg", "exp_avg_sq"):
            if state[key].shape != parameter.shape:
                raise ValueError(
                    f"folder: {path} has {key} of shape {tuple(state[key].shape)} for {name!r} of shape "
                    f"{tuple(parameter.shape)}; names and state do not belong together"
                )
