"""`python -m gip_exp.ablations NAME +experiment=gsm8k_cpu data.path=DIR [ablation.key=value ...]`."""

import argparse
import os
import sys
from collections.abc import Sequence

from gip_exp.ablations.registry import ABLATIONS
from gip_exp.errors import UserError

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

EXAMPLES = """\
NAME is one of:
{names}

  gip-exp ablations ridge +experiment=gsm8k_cpu data.path=DIR
  gip-exp ablations centering +experiment=gsm8k_cpu data.path=DIR --scores synthetic
  gip-exp ablations encoder +experiment=gsm8k_cpu data.path=DIR embedder=sentence_transformer \\
      embedder.model=MODEL_DIR

The other arguments are those of `gip-exp`, and an ablation's own keys: `NAME --cfg` prints them.
Tables (Markdown, CSV) and figures (SVG, PDF) go below paths.root/ablations/NAME/.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one ablation; return 0, or 2 with a message on stderr for an error the user can fix."""
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    options, overrides = _parser().parse_known_args(arguments)
    if options.scores:
        overrides.append(f"ablation.scores={options.scores}")
    try:
        if unknown := [text for text in overrides if text.startswith("--")]:
            from gip_exp.cli.hydra_errors import dashes

            no_option = f"{' '.join(unknown)}: no such option; use one that gip-exp ablations --help lists"
            raise UserError(dashes(unknown) or no_option)
        from gip_exp.ablations import compose, perform

        if options.cfg:
            print(compose.defaults_of(options.name), end="")
        else:
            perform.perform(options.name, overrides)
    except (UserError, HydraException, OmegaConfBaseException) as error:
        from gip_exp.ablations import compose
        from gip_exp.cli.hydra_errors import explained

        print(f"error: {explained(error, overrides, compose.keys_of(options.name))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; finished stages are kept", file=sys.stderr)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    names = "\n".join(f"  {name:<10} {what}" for name, what in ABLATIONS.items())
    parser = argparse.ArgumentParser(
        prog="gip-exp ablations",
        description="One ablation of the selection: no training, only data, scores and embeddings.",
        usage="gip-exp ablations NAME [+experiment=NAME] [data.path=DIR] [key=value ...]",
        epilog=EXAMPLES.format(names=names),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("name", metavar="NAME", choices=ABLATIONS)
    parser.add_argument("--cfg", action="store_true", help="print the ablation's own keys and their defaults")
    parser.add_argument("--scores", metavar="SOURCE", help="short for ablation.scores (judge or synthetic)")
    return parser


if __name__ == "__main__":
    from gip_exp.stdout import run_and_exit

    run_and_exit(main)
