"""Real rows for the benchmarks: Alpaca as prompt and completion, and its TF-IDF features as the harness makes them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

ALPACA = Path(os.environ.get("GIP_DATA", Path(__file__).parents[3] / "shared" / "data")) / "alpaca"
TOKEN = r"\w+|[^\w\s]"


def alpaca(limit: int | None = None) -> list[dict[str, str]]:
    """The first `limit` rows that have a completion."""
    path = ALPACA / "alpaca_9k.json"
    if not path.is_file():
        raise SystemExit(f"{path} is missing: set GIP_DATA to the folder that holds alpaca/{path.name}")
    read = json.loads(path.read_text(encoding="utf-8"))
    rows = [
        {
            "prompt": "\n\n".join(filter(str.strip, (row["instruction"], row["input"]))),
            "completion": row["output"],
        }
        for row in read
        if row["output"].strip()
    ]
    return rows[:limit]


def tfidf(rows: list[dict[str, str]], dimensions: int = 256) -> np.ndarray:
    """(n, dimensions) float32."""
    texts = [f"{row['prompt']}\n{row['completion']}" for row in rows]
    counts = TfidfVectorizer(
        token_pattern=TOKEN, ngram_range=(1, 2), min_df=2, sublinear_tf=True
    ).fit_transform(texts)
    return TruncatedSVD(dimensions, random_state=0).fit_transform(counts).astype(np.float32)
