"""Input of every ablation: embeddings and scores of the pool, from the stages in the store."""

from dataclasses import dataclass

import numpy as np

from gip_exp import pipeline
from gip_exp.artifacts import FEATURES, read_pool
from gip_exp.config import Config
from gip_exp.console import Console
from gip_exp.data import split
from gip_exp.errors import UserError
from gip_exp.stages.score import read_scores

LEAST_ROWS = 10


@dataclass(frozen=True, eq=False)
class Material:
    """The scored rows of the pool, without held-out target rows.

    Attributes:
        features: (n, d) float32, as returned by the embedder.
        scores: (n, k) float64, larger is better.
        attributes: names of the k columns.
        lengths: (n,) float64, characters of the completions.
        budget: rows to select.
        n_unscored: rows of the pool without a score.
        embedder: name of the embedder.
        judge: name of the judge.
    """

    features: np.ndarray
    scores: np.ndarray
    attributes: tuple[str, ...]
    lengths: np.ndarray
    budget: int
    n_unscored: int
    embedder: str
    judge: str

    def __len__(self) -> int:
        return len(self.features)

    def describe(self) -> str:
        """Return one line for the notes below a table."""
        n, d = self.features.shape
        unscored = f", {self.n_unscored} unscored rows left out" if self.n_unscored else ""
        return (
            f"{n:,} rows, {d}-dimensional embeddings ({self.embedder}), {self.scores.shape[1]} attributes "
            f"({self.judge}: {', '.join(self.attributes)}), {self.budget:,} picks{unscored}."
        )


def load(config: Config, console: Console) -> Material:
    """Make or reuse the stages data, score and embed, and read their outputs."""
    entries = pipeline.outputs(config, ("score", "embed"), console)
    examples = read_pool(entries)
    rows = split.split(len(examples), config.target).pool
    attributes, scores = read_scores(entries)
    scored = rows[~np.isnan(scores[rows]).any(axis=1)]
    if len(scored) < LEAST_ROWS:
        raise UserError(f"only {len(scored)} rows of the pool are scored; an ablation needs {LEAST_ROWS}")
    features = np.load(entries["embed"].folder / FEATURES, mmap_mode="r")[scored]
    return Material(
        features=np.ascontiguousarray(features, dtype=np.float32),
        scores=scores[scored],
        attributes=tuple(attributes),
        lengths=np.array([len(row["completion"]) for row in examples.take(scored)], dtype=np.float64),
        budget=split.count(config.budget, len(scored)),
        n_unscored=len(rows) - len(scored),
        embedder=config.embedder.name,
        judge=config.judge.name,
    )
