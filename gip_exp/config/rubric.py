"""What a judge grades (`rubric=`)."""

from typing import Any

from gip_exp.config.base import Section


class Rubric(Section):
    """Attributes with five anchors each; the rule judge uses only the name."""

    name: str
    comment: bool = False
    material: str
    attributes: list[dict[str, Any]]
