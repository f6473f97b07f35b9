"""How many different rows a subset holds when half of the pool are copies, for every selector, with and without them.

400 rows of Alpaca: 200 different ones, and 200 copies, five each of 40 of them (equal, or with a word changed). 100 are
selected by each selector through the whole harness: `data.repeated=keep`, then `drop`, and of near-copies those with a
similarity of at least 0.8 or 0.6 left out too (`data.near_copies`).
Judge and embedder are those of `experiment/own_data`; 40 rows are held out as the target, which DSIR needs.

Run: python -m tests.benchmarks.bench_copies
"""

from __future__ import annotations

import io
import json
import random
import tempfile
from pathlib import Path

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from gip_exp import pipeline
from gip_exp.artifacts import read_selected
from gip_exp.config import parse
from gip_exp.console import Console
from tests.benchmarks.alpaca_pool import alpaca

CONF = Path(__file__).resolve().parents[2] / "conf"
SELECTORS = (
    "random", "top_score", "gate_random", "dsir", "disf", "k_center", "k_means", "facility_location", "dpp", "mp_sc",
    "mp_ma", "omp_ma", "logdet_ma",
)  # fmt: skip
LEFT_OUT = {
    "equal": (("data.repeated=keep",), ("data.repeated=drop",)),
    "near": (("data.repeated=keep",), ("data.near_copies=0.8",), ("data.near_copies=0.6",)),
}
DIFFERENT, COPIED, TIMES, BUDGET = 200, 40, 5, 100


def rows(kind: str) -> list[dict[str, str]]:
    """200 rows of 24 to 80 words and five copies of each of the first 40, shuffled; `origin` says which are the same."""
    generator = random.Random(0)
    long = [row for row in alpaca() if 24 <= len(row["completion"].split()) <= 80][:DIFFERENT]
    found = [row | {"origin": str(number)} for number, row in enumerate(long)]
    for row in found[:COPIED] * TIMES:
        words = row["completion"].split(" ")
        if kind == "near":
            words[generator.randrange(len(words))] = generator.choice(words)
        found.append(row | {"completion": " ".join(words)})
    generator.shuffle(found)
    return found


def different(path: Path, origin: dict[str, str], root: str, *overrides: str) -> int:
    """Rows of different origin among those selected."""
    fixed = (
        f"data.path={path}",
        f"paths.root={root}",
        f"budget={BUDGET}",
        "target.n=40",
        "+experiment=own_data",
    )
    with initialize_config_dir(str(CONF), version_base="1.3"):
        composed = OmegaConf.to_container(compose("config", [*fixed, *overrides]), resolve=True)
    outcome = pipeline.run(parse(composed), Console(io.StringIO()))
    return len({origin[row["completion"]] for row in read_selected(outcome.entries)})


def main() -> None:
    print("| selector | equal copies | left out | near-copies | left out from 0.8 | from 0.6 |")
    print("|---|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as root:
        pools = {kind: rows(kind) for kind in ("equal", "near")}
        for kind, pool in pools.items():
            lines = [json.dumps({"prompt": row["prompt"], "completion": row["completion"]}) for row in pool]
            (Path(root) / f"{kind}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for selector in SELECTORS:
            counts = []
            for kind, pool in pools.items():
                origin = {row["completion"]: row["origin"] for row in pool}
                for options in LEFT_OUT[kind]:
                    path = Path(root) / f"{kind}.jsonl"
                    counts.append(different(path, origin, root, f"selector={selector}", *options))
            print(f"| {selector} | {' | '.join(map(str, counts))} |", flush=True)


if __name__ == "__main__":
    main()
