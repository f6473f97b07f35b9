"""The typed view of a composed config: the meaning and allowed values of each key, and which keys change a result.

`parse` turns Hydra's plain dictionary into `Config` and reports every problem at once. Fields marked `NEUTRAL`
(paths, devices, batch sizes, names of key variables) cannot change a result and do not enter store keys.
"""

from gip_exp.config.check import parse
from gip_exp.config.root import STAGES, Config, Paths

__all__ = ["STAGES", "Config", "Paths", "parse"]
