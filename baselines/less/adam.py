"""AdamW's state from a trainer's checkpoint, paired with parameters by name, and the Adam-corrected gradient.

An `optimizer.pt` numbers its parameters in the order in which the optimiser received them, without names.
Pairing them by the order of another model fails silently when that order differs. The warm-up therefore
writes the names beside the state (`write_parameter_names`), and the shape of every tensor is checked against
the model.
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
    """Adam's state of every parameter.

    Attributes:
        first: first moment (`exp_avg`) by parameter name.
        second: second moment (`exp_avg_sq`) by parameter name.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
    """

    first: Mapping[str, Tensor]
    second: Mapping[str, Tensor]
    beta1: float = 0.9
    beta2: float = 0.999

    def direction(self, name: str, gradients: Tensor) -> Tensor:
        """Return `adam_direction` of one parameter for gradients (b, size)."""
        first, second = (moments[name].reshape(1, -1) for moments in (self.first, self.second))
        return adam_direction(gradients, first, second, beta1=self.beta1, beta2=self.beta2)

    def to(self, device: torch.device | str) -> AdamState:
        """Return the same state in float32 on `device`."""
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
    """Compute the step that Adam would take for this gradient alone (LESS, section 3.1).

    Elementwise (beta1 first + (1 - beta1) g) / sqrt(beta2 second + (1 - beta2) g^2 + epsilon): epsilon is
    inside the root, and there is no bias correction.

    Args:
        gradient: g, any shape.
        first: first moment, broadcastable to g.
        second: second moment, broadcastable to g.
        beta1: decay of the first moment.
        beta2: decay of the second moment.
        epsilon: added under the root.

    Returns:
        The direction, in the shape of g.

    Example:
        >>> zero = torch.zeros(1)
        >>> round(adam_direction(torch.tensor([1.0]), zero, zero).item(), 3)
        3.162
    """
    # Four passes over the gradients; written out as above there would be nine, each with an array of its own.
    root = torch.addcmul(beta2 * second + epsilon, gradient, gradient, value=1.0 - beta2).rsqrt_()
    return torch.add(beta1 * first, gradient, alpha=1.0 - beta1).mul_(root)


def write_parameter_names(model: nn.Module, optimizer: Any, folder: str | Path) -> None:
    """Write the names of the optimiser's parameters, group by group, beside its state.

    Call it during training, after a checkpoint has been saved. `module.` prefixes of wrappers are dropped.

    Args:
        model: the model that is trained.
        optimizer: its optimiser, also wrapped by accelerate.
        folder: the checkpoint's folder, which must exist.

    Raises:
        ValueError: the optimiser holds a parameter that the model lacks.

    Example:
        >>> import tempfile
        >>> layer = nn.Linear(2, 1)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_parameter_names(layer, torch.optim.AdamW(layer.parameters()), folder)
        ...     (Path(folder) / NAMES_FILE).read_text()
        '[["weight", "bias"]]'
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
    """Read Adam's state from a transformers or TRL checkpoint folder, paired by name.

    Args:
        folder: holds `optimizer.pt` and the names written by `write_parameter_names`.
        model: the model with the adapter of this checkpoint loaded; every LoRA weight needs a state.
        assume_model_order: for a checkpoint without names, assume that the state follows the order of the
            LoRA parameters of `model`. This holds only for the model class and library versions that
            trained it.

    Returns:
        AdamState over the LoRA parameters of `model`.

    Raises:
        ValueError: no optimiser state, a state of another optimiser, no names, or names or shapes that do
            not match.

    Example:
        A module with one LoRA weight, after one step:

        >>> import tempfile
        >>> model = nn.ModuleDict({"lora_A": nn.Linear(2, 1, bias=False)})
        >>> optimizer = torch.optim.AdamW(model.parameters())
        >>> model["lora_A"](torch.ones(1, 2)).sum().backward()
        >>> optimizer.step()
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     torch.save(optimizer.state_dict(), Path(folder) / STATE_FILE)
        ...     write_parameter_names(model, optimizer, folder)
        ...     state = adam_state(folder, model)
        >>> {name: moment.shape for name, moment in state.first.items()}
        {'lora_A.weight': torch.Size([1, 2])}
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
    """Return parameter names in the order of the saved groups: from the names file, the groups, or the model."""
    path = folder / NAMES_FILE
    if path.is_file():
        return [name for group in json.loads(path.read_text(encoding="utf-8")) for name in group]
    if all("param_names" in group for group in groups):
        return [name.removeprefix("module.") for group in groups for name in group["param_names"]]
    if assume:
        return [name for name, _ in _lora(model)]
    raise ValueError(
        f"folder: {folder} does not name the parameters of its optimiser state (no {NAMES_FILE}); call "
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
                    f"{tuple(parameter.shape)}; names and state come from different checkpoints"
                )
