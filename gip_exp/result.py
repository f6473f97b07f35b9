"""The folder of a run and the content of its `result.json`."""

import json
from collections import Counter
from collections.abc import Mapping
from math import log
from pathlib import Path
from typing import Any

from gip_exp.artifacts import (
    ADAPTER,
    CATEGORIES,
    LABELS,
    METADATA_STAGE,
    data_facts,
    rank_facts,
    read_pool,
    read_selected,
    select_facts,
    sizes,
)
from gip_exp.config import Config
from gip_exp.config.base import content
from gip_exp.evaluation import without_overlap
from gip_exp.judgements import known_flaws
from gip_exp.reselection import arm
from gip_exp.runs.folder import RESULT, SCORED_ROWS, SELECTED, SELECTED_ROWS, SELECTION_PAGE, SELECTION_TEXT
from gip_exp.runs.records import Metric, RunResult, StageRecord
from gip_exp.storage.files import digest, read_jsonl
from gip_exp.storage.store import Entry

MOST_VALUES = 20  # values listed per category


def config_key(config: Config, identities: Mapping[str, Any]) -> str:
    """Return 8 hex digits of everything that can change the result: config, data and model files, code of the stages."""
    return digest({"config": content(config), **identities}, 8)


def is_done(folder: Path) -> bool:
    """Return whether the folder holds the result of a finished run."""
    try:
        return bool(json.loads((folder / RESULT).read_text(encoding="utf-8"))["status"] == "done")
    except (OSError, ValueError, KeyError, TypeError):
        return False


def run_folder(config: Config, key: str) -> Path:
    """Return `<root>/runs/<experiment>/<selector>_b<budget>_s<seed>-<key>`, the budget with its unit if that is tokens."""
    unit = "" if config.budget_unit == "rows" else config.budget_unit
    name = f"{arm(config)}_b{config.budget}{unit}_s{config.seed}-{key}"
    return config.paths.root / "runs" / config.experiment / name


def summarise(config: Config, key: str, entries: Mapping[str, Entry], status: str) -> RunResult:
    """Build the content of `result.json` from the stage outputs so far."""
    evaluated = {name: entry for name, entry in entries.items() if entry.stage == "evaluate"}
    plain = {name: entry for name, entry in entries.items() if entry.stage != "evaluate"}
    n_pool = sizes(config, entries)[0] if "data" in entries else None
    chosen = select_facts(entries) if "select" in entries else None
    stages = {name: _stage(entry) for name, entry in plain.items()}
    if evaluated:
        stages["evaluate"] = _merged(evaluated)
    return {
        "experiment": config.experiment,
        "model": config.model.name,
        "judge": config.judge.name if "score" in entries else None,
        "selector": arm(config),
        "budget": config.budget,
        "seed": config.seed,
        "config_key": key,
        "n_pool": n_pool,
        "budget_unit": config.budget_unit,
        "n_selected": chosen["n_selected"] if chosen else None,
        "n_tokens": chosen.get("n_tokens") if chosen else None,
        "mean_words": chosen["mean_words"] if chosen else None,
        "n_unscored": rank_facts(entries)["n_unscored"] if "rank" in entries else None,
        "n_target": data_facts(entries)["n_rows"] - n_pool if n_pool is not None else None,
        "left_out": entries["data"].facts.get("left_out", {}) if "data" in entries else {},
        "test_left_out": entries["data"].facts.get("test_left_out", {}) if "data" in entries else {},
        "metrics": _metrics(evaluated),
        "contamination": without_overlap.summary(entries),
        "base": _converted(entries),
        "subset": subset(entries),
        "flaw_detection": known_flaws.detection(entries),
        "categories": categories(entries),
        "measures": entries["describe"].facts["measures"] if "describe" in entries else {},
        "training": training(entries),
        "adapter": f"store/train/{entries['train'].key}/{ADAPTER}" if "train" in entries else None,
        "stages": stages,
        "status": status,
    }


def _stage(entry: Entry) -> StageRecord:
    record: StageRecord = {"key": entry.key, "seconds": entry.seconds, "cached": entry.cached}
    if entry.changed_code:
        record["changed_code"] = list(entry.changed_code)
    return record


def _converted(entries: Mapping[str, Entry]) -> dict[str, Any]:
    """Return the GGUF file that the model was converted from: name, digest, architecture, weights, types; else empty."""
    facts = entries["base"].facts if "base" in entries else {}
    return dict(facts) if "digest" in facts else {}


def _merged(evaluated: Mapping[str, Entry]) -> StageRecord:
    """Return the evaluations as one stage, with each of them under `parts`."""
    return {
        "key": digest({name: entry.key for name, entry in evaluated.items()}),
        "seconds": round(sum(entry.seconds for entry in evaluated.values()), 3),
        "cached": all(entry.cached for entry in evaluated.values()),
        "parts": {name.split("/", 1)[1]: _stage(entry) for name, entry in evaluated.items()},
    }


def _metrics(evaluated: Mapping[str, Entry]) -> dict[str, Metric]:
    return {
        name: Metric(value=metric["value"], n=metric["n"], low=metric["low"], high=metric["high"])
        for entry in evaluated.values()
        for name, metric in entry.facts["metrics"].items()
    }


def subset(entries: Mapping[str, Entry]) -> dict[str, float]:
    """Return the purity and diversity of the selected rows, for a pool with labels; else empty.

    `skill_entropy` is in nats over the selected rows without flaw; `skills_covered` counts the skills among them. Both
    are of generated pools only: real rows with `data.flawed` have no skills.
    """
    if "select" not in entries:
        return {}
    path = entries["data"].folder / LABELS
    if not path.is_file():
        return {}
    labels = {row["id"]: row for row in read_jsonl(path)}
    chosen = [labels[row["id"]] for row in read_selected(entries)]
    sound = [row for row in chosen if row["flaw"] is None]
    share = {"clean_share": round(len(sound) / len(chosen), 4)}
    if not all("skill" in row for row in chosen):
        return share
    skills = {labels[name]["skill"] for name in read_pool(entries).ids}
    clean = Counter(row["skill"] for row in sound)
    total = len(sound)
    entropy = -sum(n / total * log(n / total) for n in clean.values()) if total else 0.0
    return {
        **share,
        "skills_covered": len(clean),
        "n_skills": len(skills),
        "skill_entropy": round(entropy, 4),
    }


def categories(entries: Mapping[str, Entry]) -> dict[str, dict[str, dict[str, int]]]:
    """Count the pool and subset rows of each value of each text column in `data.metadata`, most frequent first."""
    if "select" not in entries or METADATA_STAGE not in entries:
        return {}
    rows = {row["id"]: row for row in read_jsonl(entries[METADATA_STAGE].folder / CATEGORIES)}
    chosen = [rows[row["id"]] for row in read_selected(entries)] if rows else []
    found = {}
    for column in entries[METADATA_STAGE].facts["categories"]:
        pool = Counter(row[column] for row in rows.values() if row[column] is not None)
        selected = Counter(row[column] for row in chosen)
        found[column] = {
            value: {"pool": n, "selected": selected[value]} for value, n in pool.most_common(MOST_VALUES)
        }
    return found


def training(entries: Mapping[str, Entry]) -> dict[str, Any]:
    """Return the facts of fine-tuning (steps, losses, lengths in tokens, speed, memory); empty without it.

    With `rounds` above 1 they are those of the last round, but steps, seconds and tokens those of all.
    """
    if "train" not in entries:
        return {}
    facts = dict(entries["train"].facts)
    earlier = [entry.facts for name, entry in entries.items() if name.startswith("train/")]
    for name in ("steps", "seconds", "tokens") if earlier else ():
        facts[name] = round(sum(one[name] for one in [*earlier, facts]), 3)
    return facts


def selected_files(entries: Mapping[str, Entry]) -> list[Path]:
    """Return the stored files of the selected rows: the examples and, with `data.keep_rows`, the original rows."""
    if "select" not in entries:
        return []
    files = (entries["select"].folder / name for name in (SELECTED, SELECTED_ROWS))
    return [file for file in files if file.is_file()]


def description_files(entries: Mapping[str, Entry]) -> list[Path]:
    """Return the stored files that describe the selection."""
    if "describe" not in entries:
        return []
    return [entries["describe"].folder / name for name in (SELECTION_PAGE, SELECTION_TEXT, SCORED_ROWS)]


def selected_file(entries: Mapping[str, Entry]) -> Path | None:
    """Return the stored `selected.jsonl`, if it exists."""
    return next(iter(selected_files(entries)), None)
