"""Distortions of what the selector reads (`distort.*`), to learn what a selection depends on."""

from typing import Literal

from pydantic import model_validator

from gip_exp.config.base import NonNegative, Section, Seed


class Distortion(Section):
    """What is done to embeddings and scores before the selector sees them; see `gip_exp.signals.distort`.

    Attributes:
        embeddings: Kind of distortion of the embeddings.
        embeddings_level: Its strength: the length of the noise as a share of a row's, or the share of columns that a
            random projection keeps; a rotation has none.
        scores: Kind of distortion of the scores.
        scores_level: Its strength in standard deviations of each score column.
        seed: Of the distortion.
    """

    embeddings: Literal["none", "rotation", "projection", "noise", "adversarial"] = "none"
    embeddings_level: NonNegative = 1.0
    scores: Literal["none", "noise", "length", "subject"] = "none"
    scores_level: NonNegative = 1.0
    seed: Seed = 0

    @model_validator(mode="after")
    def _share(self) -> "Distortion":
        if self.embeddings == "projection" and not 0 < self.embeddings_level <= 1:
            raise ValueError(
                f"distort.embeddings_level={self.embeddings_level} is the share of columns that a projection keeps: give a "
                "number in (0, 1]"
            )
        return self
