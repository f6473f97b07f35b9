"""`gip-exp export-adapter RUN DIR [--merge]`: the adapter of a finished run, to load or to upload elsewhere."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from gip_exp.artifacts import ADAPTER
from gip_exp.config import Config, parse
from gip_exp.errors import UserError
from gip_exp.models import loading
from gip_exp.models.adapter_config import ADAPTER_CONFIG, name_base
from gip_exp.runs.folder import CONFIG, RESULT
from gip_exp.runs.records import RunResult, parse_result
from gip_exp.storage.files import copy_file
from gip_exp.storage.store import Store


def main(arguments: Sequence[str] | None = None) -> int:
    """Export; return the exit code: 2, with a message on stderr, for an error the user can fix."""
    parser = argparse.ArgumentParser(
        prog="gip-exp export-adapter",
        description="Copy the LoRA adapter of a run to a folder for peft, vLLM or the hub. Its config names the base model as "
        "the run's config does, not a folder of this machine's cache.",
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="a run folder, with result.json")
    parser.add_argument("folder", metavar="DIR", type=Path, help="where to write; must not exist or be empty")
    parser.add_argument(
        "--merge", action="store_true", help="write the whole model with the adapter merged into it"
    )
    options = parser.parse_args(arguments)
    try:
        export(options.run, options.folder, merge=options.merge)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(options.folder)
    return 0


def export(run: Path, folder: Path, *, merge: bool) -> None:
    """Write the adapter of a run, or the merged model, to a folder.

    Raises:
        UserError: the run has no adapter, its files are gone, or the folder has content.
    """
    config, result = _read(run)
    root = run.resolve().parents[2]
    stages = result["stages"]
    if "train" not in stages:
        raise UserError(
            f"{run} has no adapter: the run did not fine-tune a model (train={config.train.kind})"
        )
    adapter = Store(root).folder("train", stages["train"]["key"]) / ADAPTER
    if not (adapter / ADAPTER_CONFIG).is_file():
        raise UserError(
            f"the adapter of {run} is gone ({adapter}): repeat the run's command to make it again"
        )
    made = Store(root).folder("base", stages["base"]["key"]) if config.model.made else None
    base = str(made or config.model.path)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"DIR={folder} exists and is not empty: give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    if merge:
        _merge(adapter, base, config, folder)
        return
    for file in sorted(file for file in adapter.iterdir() if file.is_file() and file.name != ADAPTER_CONFIG):
        copy_file(file, folder / file.name)
    # Last: a folder without it is not an adapter.
    name_base(adapter, base, config.model.revision, to=folder)


def _read(run: Path) -> tuple[Config, RunResult]:
    import yaml

    try:
        result = parse_result(json.loads((run / RESULT).read_text(encoding="utf-8")))
        values = yaml.safe_load((run / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise UserError(
            f"RUN={run} is not the folder of a finished run ({error}): give one below outputs/runs"
        ) from None
    return parse(values), result


def _merge(adapter: Path, base: str, config: Config, folder: Path) -> None:
    """Write the base model with the adapter's weights added, in the data type of the config, and its tokenizer."""
    from peft import PeftModel

    place = loading.fetched(base, config.model.revision)
    model = PeftModel.from_pretrained(loading.load_base(place, config.model.dtype), str(adapter))
    model.merge_and_unload().save_pretrained(folder)
    loading.load_tokenizer(place).save_pretrained(folder)


if __name__ == "__main__":
    sys.exit(main())
