"""What a judge grades (`rubric=`)."""

from typing import Any

from gip_exp.config.base import Section


class Rubric(Section):
    """What a judge grades: attributes with five anchors each. The rule judge takes the name only."""

    name: str
    comment: bool
    material: str
    attributes: list[dict[str, Any]]
