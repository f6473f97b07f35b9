"""GIP: greedy information projection. Arrays in, Selection out."""

from selection.objective import mutual_information, projection_energy
from selection.select import gip_select
from selection.types import Selection

__all__ = ["Selection", "gip_select", "mutual_information", "projection_energy"]
