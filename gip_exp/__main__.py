"""`python -m gip_exp ...`: the same as the command `gip-exp ...` (see `gip_exp.cli.main`)."""

from gip_exp.cli.main import main
from gip_exp.stdout import leave

if __name__ == "__main__":
    leave(main)
