"""The GGUF files of a run: the stage that converts each to a model folder, and where that folder is."""

from collections.abc import Mapping
from pathlib import Path

from gip_exp.config import Config
from gip_exp.config.judge import LLMJudge
from gip_exp.models.packaged import resolved
from gip_exp.storage.store import Entry

MODEL, JUDGE, MT_BENCH = "base", "base/judge", "base/mt_bench"
KEYS = {MODEL: "model.path", JUDGE: "judge.model", MT_BENCH: "evaluation.mt_bench.judge.model"}


def files(config: Config) -> dict[str, str]:
    """Return the GGUF files by the stage that converts them; one that has two uses is converted once."""
    bench = config.evaluation.mt_bench
    judges = {JUDGE: config.judge, MT_BENCH: bench.judge if bench else None}
    asked = {MODEL: config.model.path if config.model.gguf else None}
    asked |= {name: one.model for name, one in judges.items() if isinstance(one, LLMJudge) and _served(one)}
    found: dict[str, str] = {}
    for name, path in asked.items():
        if path is not None and path not in found.values():
            found[name] = path
    return found


def _served(judge: LLMJudge) -> bool:
    return judge.gguf and not (judge.offline or judge.dry_run)  # else nothing is sent


def stages_of(config: Config, path: str) -> tuple[str, ...]:
    """Return the name of the stage that converts the model `path`; none for a folder or hub id."""
    return tuple(name for name, file in files(config).items() if file == path)


def place(config: Config, path: str, entries: Mapping[str, Entry]) -> str:
    """Return what loads the model `path`: the folder it was converted to, its own folder, or its hub id."""
    made = stages_of(config, path)
    return str(entries[made[0]].folder) if made else resolved(path)


def source(config: Config, stage: str) -> Path:
    """Return the file that a stage converts."""
    return Path(resolved(files(config)[stage]))
