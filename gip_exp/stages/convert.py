"""`base` for `model.path=FILE.gguf`: the model of the file as an ordinary model folder, dequantised to float32.

It takes the place of the model that `stages.base` trains: made once per file, then loaded by every later stage.
"""

from pathlib import Path
from typing import Any

from gip_exp.config import Config
from gip_exp.models import gguf_file, loading
from gip_exp.models.packaged import resolved
from gip_exp.stage import Entries, Job, Stage
from gip_exp.storage.files import file_digest


def _file(config: Config) -> Path:
    assert config.model.path is not None
    return Path(resolved(config.model.path))


def _settings(config: Config, _: Entries) -> dict[str, Any]:
    return {"file": file_digest(_file(config)) if _file(config).is_file() else None}  # None: see `_missing`


def _missing(config: Config) -> list[str]:
    why = gguf_file.problem(_file(config), chat=config.model.prompt.style == "chat")
    return [f"model.path={config.model.path}: {why}"] if why else loading.missing_requirements(config)


def _build(job: Job) -> None:
    file = _file(job.config)
    found = gguf_file.convert(file, job.folder)
    facts = {name: found[name] for name in ("file", "architecture", "parameters", "types")}
    job.draft.facts.update(facts, digest=file_digest(file))
    job.console.say(
        f"  {file.name} ({', '.join(found['types'])}) is converted to a model folder: {found['parameters']:,} weights, "
        "dequantised to float32; its results are those of the quantised model, not of the original"
    )


STAGE = Stage("base", lambda _: (), _settings, _build, _missing, code=lambda _: (gguf_file.convert,))
