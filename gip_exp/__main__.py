"""`python -m gip_exp +experiment=NAME [key=value ...]`: compose, run, show. Add `-m` to sweep over lists."""

import os
import sys
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from gip_exp.errors import UserError

os.environ.setdefault("HYDRA_FULL_ERROR", "1")  # errors reach the boundary below as they are
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@hydra.main(config_path="../conf", config_name="config", version_base="1.3")
def run(composed: DictConfig) -> None:
    """One cell of the experiment. Its own failure is shown at once, so that a sweep's other cells go on."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from gip_exp.cell import run_cell

    try:
        run_cell(OmegaConf.to_container(composed, resolve=True))
    except UserError as error:
        if HydraConfig.get().mode == RunMode.MULTIRUN:
            raise  # the launcher must know which cells failed; Hydra then prints the cell's overrides
        _leave(error)


def main() -> None:
    """The error boundary: what a user can mend becomes one message and exit code 2, a bug keeps its traceback."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    try:
        run()
    except UserError as error:
        _leave(error)
    except (HydraException, OmegaConfBaseException) as error:
        _leave(error)
    except KeyboardInterrupt:
        print("stopped; finished stages are kept, the same command goes on from there", file=sys.stderr)
        sys.exit(130)


def _leave(error: Exception) -> Any:
    if not getattr(error, "shown", False):
        override = getattr(error, "override", None)  # Hydra's parser says what it stumbled over, not where
        where = (
            f"cannot read the argument {override!r} (quote values with special characters): "
            if override
            else ""
        )
        print(f"error: {where}{error}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
