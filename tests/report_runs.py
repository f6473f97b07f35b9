"""Run folders with known outcomes, written as the pipeline lays them out, for the report's tests."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

GSM8K = "gsm8k/exact_match"


def write_run(
    root: Path,
    selector: str = "mp_ma",
    *,
    seed: int = 0,
    budget: int | float = 0.1,
    experiment: str = "toy",
    model: str = "tiny_arithmetic",
    values: Mapping[str, Sequence[float]] | None = None,
    selected: Sequence[int] | None = None,
    n_pool: int = 100,
    data_key: str = "data0",
    seconds: Mapping[str, float] | None = None,
    keys: Mapping[str, str] | None = None,
    settings: Mapping[str, object] | None = None,
    tuned: bool = True,
    name: str = "",
    reference: str = "answer",
    **result: object,
) -> Path:
    """One run folder below `root`/experiment; returns it.

    `values`: metric -> outcomes of q00, q01, ...; `seconds`: stage -> cost; `keys`: stage -> store key (default:
    its own); `settings` go into config.yaml; further keywords replace fields of result.json.
    """
    values = {GSM8K: [1, 0]} if values is None else values
    budget = 1.0 if selector == "full" else budget
    n_selected = budget if isinstance(budget, int) else max(1, round(budget * n_pool))
    name = name or f"{selector}_b{budget}_s{seed}{'' if tuned else '_base'}"
    folder = root / experiment / name
    folder.mkdir(parents=True)
    spent = {"data": 0.5, "select": 0.1, "train": 4.0, "evaluate": 1.0, **(seconds or {})}
    if not tuned:
        del spent["train"]
    own = {stage: f"{stage}-{experiment}-{name}" for stage in spent} | {"data": data_key} | dict(keys or {})
    content = {
        "experiment": experiment,
        "model": model,
        "judge": "rules",
        "selector": selector,
        "budget": budget,
        "seed": seed,
        "config_key": "00000000",
        "n_pool": n_pool,
        "n_selected": n_selected,
        "n_unscored": 0,
        "metrics": {metric: _summary(outcomes) for metric, outcomes in values.items()},
        "subset": {},
        "stages": {s: {"key": own[s], "seconds": cost, "cached": False} for s, cost in spent.items()},
        "status": "done",
        **result,
    }
    (folder / "result.json").write_text(json.dumps(content))
    config = {"train": {"kind": "lora" if tuned else "none"}, **(settings or {})}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    ids = range(n_selected) if selected is None else selected
    write_rows(folder / "selected.jsonl", [{"id": f"train-{i:03d}"} for i in ids])
    for metric, outcomes in values.items():
        rows = [
            {"id": f"q{i:02d}", "value": value, "output": "", "reference": f"{reference} {i}"}
            for i, value in enumerate(outcomes)
        ]
        write_rows(folder / "predictions" / f"{metric}.jsonl", rows)
    return folder


def write_rows(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    """A JSONL file, its folder made if need be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _summary(outcomes: Sequence[float]) -> dict[str, float]:
    return {"value": sum(outcomes) / len(outcomes), "n": len(outcomes), "low": 0.0, "high": 1.0}
