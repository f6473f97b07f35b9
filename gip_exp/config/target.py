"""The rows held out of the pool for every method (`target=`)."""

from typing import Annotated

from pydantic import Field

from gip_exp.config.base import Section, Seed


class Target(Section):
    """Number of rows to hold out, at most a share of all rows. They are the target of DSIR and LESS."""

    n: Annotated[int, Field(ge=0)]
    max_share: Annotated[float, Field(ge=0, lt=1)]
    seed: Seed
