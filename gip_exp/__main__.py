"""`python -m gip_exp ...`, equivalent to the command `gip-exp ...` (see `gip_exp.cli.main`)."""

from gip_exp.cli.main import main
from gip_exp.stdout import run_and_exit

if __name__ == "__main__":
    run_and_exit(main)
