"""Run folders with known outcomes, written as the pipeline lays them out, for the report's tests."""

import json
from pathlib import Path

import yaml


def write_run(
    root: Path,
    selector: str = "mp_ma",
    *,
    seed: int = 0,
    budget: int | float = 0.1,
    experiment: str = "toy",
    model: str = "tiny_arithmetic",
    values: dict[str, list[float]] | None = None,
    selected: list[int] | None = None,
    n_pool: int = 100,
    data_key: str = "data0",
    status: str = "done",
    subset: dict[str, float] | None = None,
    seconds: dict[str, float] | None = None,
    settings: dict | None = None,
    tuned: bool = True,
    name: str | None = None,
    reference: str = "answer",
    **extra: object,
) -> Path:
    """One run folder below `root`/experiment. `values`: metric -> outcomes of q00, q01, ...; returns the folder."""
    values = {"gsm8k/exact_match": [1, 0]} if values is None else values
    full = selector == "full"
    n_selected = n_pool if full else budget if isinstance(budget, int) else max(1, round(budget * n_pool))
    name = name or f"{selector}_b{budget}_s{seed}-{'' if tuned else 'base'}{len(str(settings))}"
    folder = root / experiment / name
    folder.mkdir(parents=True)
    spent = {"data": 0.5, "train": 4.0, "evaluate": 1.0} if seconds is None else seconds
    stages = {stage: {"key": f"{stage}-{name}", "seconds": cost, "cached": False} for stage, cost in spent.items()}
    stages["data"] = {"key": data_key, "seconds": spent.get("data", 0.5), "cached": True}
    if not tuned:
        stages.pop("train", None)
    result = {
        "experiment": experiment,
        "model": model,
        "judge": "rules",
        "selector": selector,
        "budget": 1.0 if full else budget,
        "seed": seed,
        "config_key": "0" * 8,
        "n_pool": n_pool,
        "n_selected": n_selected,
        "n_unscored": 0,
        "metrics": {m: {"value": sum(v) / len(v), "n": len(v), "low": 0.0, "high": 1.0} for m, v in values.items()},
        "subset": subset or {},
        "stages": stages,
        "status": status,
        **extra,
    }
    (folder / "result.json").write_text(json.dumps(result))
    config = {"selector": {"name": selector}, "train": {"kind": "lora" if tuned else "none"}, **(settings or {})}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    if selected is None:
        selected = list(range(n_selected))
    (folder / "selected.jsonl").write_text("".join(json.dumps({"id": f"train-{i:03d}"}) + "\n" for i in selected))
    for metric, outcomes in values.items():
        path = folder / "predictions" / f"{metric}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = [{"id": f"q{i:02d}", "value": v, "output": "", "reference": f"{reference} {i}"} for i, v in enumerate(outcomes)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder
