"""A judged pool read back: rows, scores, reasons for missing scores, and the judge's replies from the reply cache."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gip_exp.artifacts import POOL
from gip_exp.config import Config, parse
from gip_exp.config.judge import LLMJudge
from gip_exp.errors import UserError
from gip_exp.llm.cache import Cache
from gip_exp.llm.errors import LLMError
from gip_exp.llm.rubric import Rubric
from gip_exp.llm.transcript import JudgeReply, replies
from gip_exp.runs.folder import CONFIG, RESULT
from gip_exp.runs.records import RunResult, parse_result
from gip_exp.signals.judge_endpoint import CACHE, endpoint_of, judge_settings
from gip_exp.signals.table import SCORES, UNSCORED
from gip_exp.storage.files import read_jsonl
from gip_exp.storage.row_table import RowTable, read_table
from selection.signals import SignalTable, read_signals


@dataclass(frozen=True, eq=False)
class Judgements:
    """A pool of n rows with the scores of one judge.

    Attributes:
        title: judge and rubric.
        pool: the rows, in pool order.
        table: their scores, in the same order; NaN without a score.
        reasons: id -> why the row has no score.
        root: folder with the reply cache.
        config: of the run; None if it cannot be read.
        without_replies: why there are no replies to show; "" if there are.
    """

    title: str
    pool: RowTable
    table: SignalTable
    reasons: Mapping[str, str]
    root: Path
    config: Config | None = None
    without_replies: str = field(default="")

    @cached_property
    def means(self) -> np.ndarray:
        """Mean of a row's attributes, (n,); NaN without a score."""
        return np.asarray(self.table.values.mean(axis=1))

    def ranked(self, attribute: str | None = None) -> list[int]:
        """Return the scored rows, best first by one attribute or by the mean of all; ties in pool order.

        Raises:
            UserError: there is no such attribute.
        """
        if attribute is not None and attribute not in self.table.names:
            raise UserError(
                f"--attribute {attribute}: the scores have {', '.join(self.table.names)}: choose one"
            )
        by = self.means if attribute is None else self.table.column(attribute)
        scored = np.flatnonzero(self.table.scored)
        return [int(row) for row in scored[np.argsort(-by[scored], kind="stable")]]

    @cached_property
    def unscored(self) -> list[int]:
        """Rows that were judged and have no score, in pool order."""
        return [int(r) for r in np.flatnonzero(~self.table.scored) if self.table.ids[r] in self.reasons]

    @property
    def n_not_judged(self) -> int:
        """Number of rows outside the sample that was judged (`judge.sample`)."""
        return int((~self.table.scored).sum()) - len(self.unscored)

    def replies(self, row: int) -> list[JudgeReply]:
        """Return the judge's replies to a row that are in the reply cache."""
        if self._source is None:
            return []
        rubric, settings, cache = self._source
        return replies(self.pool[row], rubric, settings, cache)

    @cached_property
    def _source(self) -> tuple[Rubric, Any, Cache] | None:
        if self.without_replies or self.config is None:
            return None
        judge = self.config.judge
        assert isinstance(judge, LLMJudge)
        settings = judge_settings(judge, endpoint_of(judge))
        rubric = Rubric.from_mapping(self.config.rubric.model_dump())
        return rubric, settings, Cache(self.root / CACHE, refresh_s=3600)

    def find(self, name: str) -> int:
        """Return the row with this id, or with this id of its own. Raises UserError if there is none."""
        if name in self.table.ids:
            return self.table.ids.index(name)
        own = next((row for row, one in enumerate(self.pool) if str(one.get("own_id")) == name), None)
        if own is None:
            known = ", ".join(self.table.ids[:3])
            raise UserError(f"--row {name}: no row has this id; ids look like {known}")
        return own


def of_run(folder: Path) -> Judgements:
    """Read the judged pool of a run.

    Args:
        folder: a run folder.

    Raises:
        UserError: it is not a run, it made no scores, or its outputs are gone.
    """
    result = read_result(folder)
    keys = {name: stage["key"] for name, stage in result["stages"].items()}
    if "score" not in keys:
        raise UserError(f"{folder}: this run has no scores of a judge (stages: {', '.join(keys) or 'none'})")
    config, problem = _config(folder)
    root = _root(folder, config)
    places = {name: root / "store" / name / keys[name] for name in ("data", "score")}
    for name, file in (("data", POOL), ("score", SCORES)):
        if not (places[name] / file).is_file():
            raise UserError(
                f"{folder}: {places[name] / file} is gone; run it again, or give the folder of the run below its "
                "paths.root"
            )
    label = str(result.get("judge") or "")
    return read(config, root, data=places["data"], score=places["score"], problem=problem, label=label)


def read(
    config: Config | None, root: Path, *, data: Path, score: Path, problem: str = "", label: str = ""
) -> Judgements:
    """Read a judged pool from its two stage outputs.

    Args:
        config: of the run; None if it cannot be read.
        root: `paths.root`.
        data: folder of the output of `data`.
        score: folder of the output of `score`.
        problem: why the config cannot be read.
        label: name of the judge if there is no config.
    """
    pool, table = read_table(data / POOL), read_signals(score / SCORES)
    reasons = (
        {row["id"]: row["reason"] for row in read_jsonl(score / UNSCORED)}
        if (score / UNSCORED).is_file()
        else {}
    )
    title = f"{config.judge.name}, rubric {config.rubric.name}" if config else label
    missing = problem or _no_replies(config, root)
    return Judgements(title, pool, table.aligned(pool.ids), reasons, root, config, missing)


def read_result(folder: Path) -> RunResult:
    """Read `result.json` of a run folder. Raises UserError if there is none, or it is damaged."""
    try:
        return parse_result(json.loads((folder / RESULT).read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(
            f"{folder} is not the folder of a finished run ({RESULT}: {error.strerror}): give one below outputs/runs"
        ) from error
    except ValueError as error:
        raise UserError(f"{folder / RESULT} is damaged ({error}): run it again") from error


def _config(folder: Path) -> tuple[Config | None, str]:
    """Return the config of a run, or None and why it cannot be read."""
    import yaml

    try:
        return parse(yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))), ""
    except OSError as error:
        return None, f"{CONFIG} cannot be read ({error.strerror})"
    except (UserError, ValueError, yaml.YAMLError) as error:
        return None, f"{CONFIG} is of another version ({str(error).splitlines()[0]})"


def _root(folder: Path, config: Config | None) -> Path:
    """Return `paths.root`: where the run folder is now, else as configured."""
    above: Sequence[Path] = folder.resolve().parents
    if len(above) > 2 and (above[2] / "store").is_dir():
        return above[2]
    return config.paths.root if config else above[-1]


def _no_replies(config: Config | None, root: Path) -> str:
    """Return why there are no replies of a judge; "" if there are."""
    if config is None or not isinstance(config.judge, LLMJudge):
        return "the judge is a function, which gives no replies" if config else "the config is unknown"
    if not (root / CACHE).is_dir():
        return f"the reply cache {root / CACHE} is gone (gip-exp replies import FILE)"
    try:
        endpoint_of(config.judge)
    except (LLMError, OSError, UserError) as error:
        return f"the judge's model cannot be read ({error})"
    return ""
