#!/bin/bash
# slurm/submit.sh DIR [--dry-run] [--max-jobs N]: the command `gip-exp submit`, from a checkout that is not installed.
here=$(dirname "$(readlink -f "$0")")
python=${GIP_PYTHON:-python}
export PYTHONPATH="${here%/slurm}${PYTHONPATH:+:$PYTHONPATH}"
if ! why=$("$python" -c "import gip_exp.cli.submit" 2>&1); then
  echo "error: $python cannot run gip_exp (${why##*$'\n'}): activate its environment, or set GIP_PYTHON to its interpreter" >&2
  exit 2
fi
exec "$python" -m gip_exp submit "$@"
