"""The parameters that the harness fills for a selector's function, read from the outputs of earlier stages."""

import json
from collections import Counter
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np

from gip_exp.artifacts import (
    CATEGORIES,
    FEATURES,
    METADATA,
    METADATA_STAGE,
    ROW_LOSSES,
    WEIGHTS,
    Texts,
    fills_memory,
    read_features,
    read_pool,
    read_usable,
)
from gip_exp.config.selector import OnScores, subtask_column
from gip_exp.data import split
from gip_exp.errors import UserError
from gip_exp.signals.distort import distorted, faulty
from gip_exp.signals.table import SOURCE_STAGE, informative, labels_of, scores_of
from gip_exp.stage import Job
from gip_exp.storage.store import Entry
from gip_exp.training.checkpoints import numbered
from gip_exp.words import is_unspaced


class SelectorInputs:
    """The parameters of selectors (`selectors.READS`) as attributes, read on access, distorted by `distort.*`."""

    def __init__(
        self, job: Job, *, taken: np.ndarray | None = None, column: np.ndarray | None = None
    ) -> None:
        """Read the pool.

        Args:
            job: The job of the stage that calls the selector.
            taken: Rows of the data that cannot be picked again.
            column: One more score for each row of the data, NaN for none.
        """
        self._job, self._taken, self._column = job, taken, column
        self._examples = read_pool(job.inputs)
        parts = split.split(len(self._examples), job.config.target)
        self.rows, self._target = parts.pool, parts.target  # indices in the data
        self.ids = self._examples.ids

    @property
    def n(self) -> int:
        return len(self.rows)

    @property
    def features(self) -> np.ndarray:
        features = self._features
        return features if self.n == len(features) else features[self.rows]  # mapped, or a copy

    @cached_property
    def _features(self) -> np.ndarray:
        """The embeddings of all rows, distorted if that is asked for."""
        features, how = read_features(self._job.inputs), self._job.config.distort
        if how.embeddings == "none":
            return features
        scores = None
        if how.embeddings == "adversarial":
            if self._clean is None:
                raise UserError(
                    f"distort.embeddings=adversarial moves rows by their scores, but selector={self._job.config.selector.name} "
                    "reads none: use rotation, projection or noise"
                )
            mean = np.nanmean(self._clean, axis=0)
            scores = np.tile(mean, (len(features), 1))  # a target row stays where it is
            scores[self.rows] = np.where(np.isnan(self._clean), mean, self._clean)
        return distorted(features, how.embeddings, how.embeddings_level, seed=how.seed, scores=scores)

    @property
    def scratch(self) -> Path | None:
        path = self._job.inputs["embed"].folder / FEATURES
        if not fills_memory(path):
            return None
        self._job.note(
            f"the embeddings ({path.stat().st_size / 1e9:.0f} GB) take half of this machine's memory or more: the selector "
            "reads them from disk, which is slower"
        )
        folder = self._job.draft.scratch("pool")
        folder.mkdir(exist_ok=True)
        return folder

    @cached_property
    def _signal(self) -> np.ndarray | None:
        """The scores (n, k), distorted if that is asked for; unscored rows stay unscored."""
        scores, how = self._clean, self._job.config.distort
        if scores is None or how.scores == "none":
            return scores
        if how.scores == "subject" and "embed" not in self._job.inputs:
            raise UserError(
                f"distort.scores=subject favours a direction of the embeddings, but selector={self._job.config.selector.name} "
                "reads none: use noise or length"
            )
        features = read_features(self._job.inputs)[self.rows] if how.scores == "subject" else scores
        scored = ~np.isnan(scores).any(axis=1)
        found = np.full_like(scores, np.nan)
        lengths = np.array([len(text) for text in self.completions], dtype=np.float64)
        found[scored] = faulty(
            scores[scored],
            how.scores,
            how.scores_level,
            features=features[scored],
            lengths=lengths[scored],
            seed=how.seed,
        )
        return found

    @cached_property
    def _clean(self) -> np.ndarray | None:
        selector = self._job.config.selector
        if not isinstance(selector, OnScores) or selector.signal == "self_compression":
            return None
        scores = scores_of(self._job.inputs, SOURCE_STAGE[selector.signal], self.ids)[self.rows]
        return scores if self._column is None else np.column_stack([scores, self._column[self.rows]])

    @property
    def scores(self) -> np.ndarray | None:
        """(n, k); for a mixture and any selector except GIP the sum (n,), because others rescale columns."""
        if self._signal is None:
            return None
        scores = np.nan_to_num(self._signal, nan=0.0)  # unscored rows are not candidates
        selector = self._job.config.selector
        return scores.sum(axis=1) if selector.signal == "mixture" and selector.kind != "gip" else scores

    @property
    def losses(self) -> np.ndarray:
        return np.load(self._job.inputs["score/losses"].folder / ROW_LOSSES)[self.rows]

    @property
    def score_names(self) -> tuple[str, ...]:
        selector = self._job.config.selector
        assert isinstance(selector, OnScores)
        names = informative(self._job.inputs[SOURCE_STAGE[selector.signal]]).names
        return names if self._column is None else (*names, "tuned")

    @property
    def completions(self) -> list[str]:
        return [row["completion"] for row in self._examples.take(self.rows)]

    @property
    def candidates(self) -> np.ndarray | None:
        """(n,) bool, the rows with all scores, or with gradients; None if that is all rows."""
        if "warmup" in self._job.inputs:
            scored = read_usable(self._job.inputs)[self.rows]
        elif "score/losses" in self._job.inputs:
            scored = ~np.isnan(self.losses).any(axis=1)
        elif self._signal is not None:
            scored = ~np.isnan(self._signal).any(axis=1)
        else:
            scored = np.ones(self.n, dtype=bool)
        if self._taken is not None:
            scored = scored & ~np.isin(self.rows, self._taken)
        return None if scored.all() else scored

    @property
    def texts(self) -> list[str]:
        texts = list(Texts(self._examples.take(self.rows)))
        unspaced = sum(map(is_unspaced, texts)) if self._job.config.selector.kind == "dsir" else 0
        if unspaced:
            self._job.note(
                f"{unspaced:,} of {self.n:,} rows are in scripts without spaces, where the words of DSIR (as defined by its "
                "authors) are whole sentences, so its weights mean little; mp_sc and k_center use embeddings instead"
            )
        return texts

    @property
    def target_texts(self) -> list[str]:
        return list(Texts(self._examples.take(self._target)))

    @property
    def target_features(self) -> np.ndarray:
        return self._features[self._target]

    @property
    def target_labels(self) -> list[str] | None:
        column = subtask_column(self._job.config.selector)
        if column is None:
            return None
        target = self._target
        if "warmup" in self._job.inputs:  # LESS has gradients of these rows alone
            target = target[read_usable(self._job.inputs)[target]]
        folder = self._job.inputs[METADATA_STAGE].folder
        labels = labels_of(
            column, [self.ids[row] for row in target], texts=folder / CATEGORIES, numbers=folder / METADATA
        )
        if empty := sum(label is None for label in labels):
            self._job.note(
                f"{empty:,} of {len(labels):,} target rows have no value in the column {column!r}: they are a subtask of "
                "their own"
            )
        counts = Counter("" if label is None else label for label in labels)
        self._job.draft.facts["subtasks"] = dict(counts.most_common())
        return ["" if label is None else label for label in labels]

    @property
    def note(self) -> Callable[[str], None]:
        return self._job.note

    @property
    def gradients(self) -> list[Path]:
        return numbered(self._job.inputs["gradients"].folder)

    @property
    def checkpoint_weights(self) -> list[float]:
        return json.loads((self._job.inputs["warmup"].folder / WEIGHTS).read_text())


def tuned_column(losses: Entry, kind: str) -> np.ndarray:
    """Return what a tuned model adds to the scores, one number per row of the data: large for what it has not learned.

    Args:
        losses: Output of the stage that scores with the tuned model, (n, 2) with and without the prompt.
        kind: `loss`, the mean loss of the completion after its prompt; or `ifd`, the ratio of the perplexities with and
            without the prompt, 0 from a ratio of 1 on, where the prompt is of no help and the row may be wrong.

    Returns:
        (n,) float64 divided by its root mean square, as GIP scales scores; NaN for rows without a loss.
    """
    given, alone = np.load(losses.folder / ROW_LOSSES).astype(np.float64).T
    ratio = np.exp(given - alone)
    column = given if kind == "loss" else np.where(ratio < 1, ratio, np.where(np.isnan(ratio), np.nan, 0.0))
    scale = float(np.sqrt(np.nanmean(column**2)))
    return column / (scale or 1.0)
