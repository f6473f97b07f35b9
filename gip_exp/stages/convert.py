"""`base` for `model.path=FILE.gguf`: the model of the file as an ordinary model folder, dequantised to float32.

It takes the place of the model that `stages.base` trains: made once per file, then loaded by every later stage. A judge
that vLLM serves from another GGUF file has a stage of its own (`base/judge`, `base/mt_bench`).
"""

from functools import partial
from typing import Any

from gip_exp.config import Config
from gip_exp.models import converted, gguf_file, loading
from gip_exp.stage import Entries, Job, Stage
from gip_exp.storage.files import file_digest


def stages(config: Config) -> list[Stage]:
    """Return a stage for each GGUF file of the run."""
    return [
        Stage(
            name,
            lambda _: (),
            partial(_settings, name),
            partial(_build, name),
            partial(_missing, name),
            code=lambda _: (gguf_file.convert,),
        )
        for name in converted.files(config)
    ]


def _settings(name: str, config: Config, _: Entries) -> dict[str, Any]:
    file = converted.source(config, name)
    return {"file": file_digest(file) if file.is_file() else None}  # None: see `_missing`


def _missing(name: str, config: Config) -> list[str]:
    if name != converted.MODEL:
        return []  # the stage that asks the judge checks its file
    chat = config.model.prompt.style == "chat"
    why = gguf_file.problem(converted.source(config, name), chat=chat)
    return [f"model.path={config.model.path}: {why}"] if why else loading.missing_requirements(config)


def _build(name: str, job: Job) -> None:
    file = converted.source(job.config, name)
    found = gguf_file.convert(file, job.folder, converted.KEYS[name])
    facts = {fact: found[fact] for fact in ("file", "architecture", "parameters", "types")}
    job.draft.facts.update(facts, digest=file_digest(file))
    job.console.say(
        f"  {file.name} ({', '.join(found['types'])}) is converted to a model folder: {found['parameters']:,} weights, "
        "dequantised to float32; its results are those of the quantised model, not of the original"
    )
