"""Where the run is tracked (`tracking=`)."""

from typing import Literal

from gip_exp.config.base import Section


class Tracking(Section):
    """Weights & Biases, or none."""

    kind: Literal["wandb", "none"]
    project: str | None = None
    entity: str | None = None
    group: str | None = None
    mode: Literal["auto", "online", "offline"] = "auto"
