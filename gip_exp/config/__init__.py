"""The typed view of a composed config: what each key means, what it may be, and which keys change a result.

`parse` turns Hydra's plain dictionary into `Config` and reports every problem at once. Fields marked `NEUTRAL`
(paths, devices, batch sizes, credentials' whereabouts) cannot change a result and stay out of every store key.
"""

from gip_exp.config.check import parse
from gip_exp.config.root import STAGES, Config, Paths

__all__ = ["STAGES", "Config", "Paths", "parse"]
