"""TF-IDF over words, numbers and punctuation, reduced by truncated SVD; needs no model."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Lt

from gip_exp.errors import UserError
from gip_exp.parallel import in_blocks

SAME = "embedder=tfidf gives every text the same vector, so there is nothing to select: check the rows"


def embed(
    texts: Sequence[str],
    note: Callable[[str], None],
    facts: dict[str, Any],
    advance: Callable[[int], None],
    *,
    dimensions: Annotated[int, Ge(1)],
    ngrams: Annotated[int, Ge(1)],
    min_count: Annotated[int, Ge(1)],
    max_ngrams: Annotated[int, Ge(1)],
    fit_rows: Annotated[int, Ge(2)],
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0,
) -> np.ndarray:
    """Embed texts.

    Args:
        texts: n texts.
        note: Called with warnings.
        facts: Receives `explained_variance`, the share of variance kept by the dimensions, and `fit_rows`.
        advance: Called with the number of texts of each block that is done.
        dimensions: Dimensions of the vectors, lowered if the texts have fewer features.
        ngrams: Maximum length of n-grams.
        min_count: Minimum number of texts that contain an n-gram; lowered to 1 if the texts differ in none of them.
        max_ngrams: Maximum number of n-grams; the most frequent are used.
        fit_rows: Maximum number of texts, drawn at random, from which n-grams, weights and directions are learned.
        seed: Seed of the draw and of the randomised SVD.

    Returns:
        (n, d) float32.

    Raises:
        UserError: the texts have no tokens, or all are the same.
    """
    if len(texts) == 1:
        raise UserError("the pool is a single row, so there is nothing to select: give more rows")
    sample = _sample(texts, fit_rows, seed)
    learn = partial(_learned, sample, ngrams=ngrams, max_ngrams=max_ngrams, dimensions=dimensions, seed=seed)
    try:
        vectorizer, svd = learn(min_count=min_count)
    except UserError:
        if min_count == 1:
            raise
        vectorizer, svd = learn(min_count=1)
        note(
            f"embedder.min_count={min_count} lowered to 1, because words of that many rows do not tell the rows apart"
        )
    if len(svd.components_) < dimensions:
        note(
            f"embedder.dimensions={dimensions} lowered to {len(svd.components_)}, because the texts have no more features"
        )
    facts["explained_variance"] = round(float(svd.explained_variance_ratio_.sum()), 4)
    facts["fit_rows"] = len(sample)
    directions = np.ascontiguousarray(svd.components_.T, dtype=np.float32)
    features = np.empty((len(texts), directions.shape[1]), dtype=np.float32)
    row = 0
    for block in in_blocks(partial(_projected, vectorizer, directions), texts, advance=advance):
        features[row : row + len(block)] = block
        row += len(block)
    return features


def _sample(texts: Sequence[str], n: int, seed: int) -> list[str]:
    """Draw n texts, in their order; all if there are no more."""
    if len(texts) <= n:
        return list(texts)
    rows = np.sort(np.random.default_rng(seed).choice(len(texts), n, replace=False))
    return [texts[int(row)] for row in rows]


def _learned(
    texts: Sequence[str], *, ngrams: int, min_count: int, max_ngrams: int, dimensions: int, seed: int
) -> tuple[Any, Any]:
    """Return (vectorizer, truncated SVD of the TF-IDF weights) learned from texts.

    Raises:
        UserError: no token occurs often enough, or all texts get the same vector.
    """
    from sklearn.decomposition import TruncatedSVD

    vectorizer, weights = _fitted(texts, ngrams, min_count, max_ngrams)
    if weights.shape[1] < 2:  # one n-gram alone: scikit-learn refuses it in words of its own
        raise UserError(SAME)
    svd = TruncatedSVD(max(1, min(dimensions, weights.shape[1] - 1, len(texts))), random_state=seed)
    with np.errstate(invalid="ignore", divide="ignore"):  # no variance is an error below
        svd.fit(weights)
    if not np.isfinite(svd.explained_variance_ratio_).all():
        raise UserError(SAME)
    return vectorizer, svd


def _fitted(texts: Sequence[str], ngrams: int, min_count: int, max_ngrams: int) -> tuple[Any, Any]:
    """Return (vectorizer, sparse float32 matrix (n, n-grams) of the TF-IDF weights of the texts)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    from gip_exp.words import tokens

    vectorizer = TfidfVectorizer(
        tokenizer=tokens,
        token_pattern=None,
        ngram_range=(1, ngrams),
        min_df=min(min_count, len(texts)),
        max_features=max_ngrams,
        sublinear_tf=True,
        dtype=np.float32,
    )
    try:
        return vectorizer, vectorizer.fit_transform(texts)
    except ValueError:
        raise UserError(
            f"embedder=tfidf finds no words in {min_count} or more rows: check the rows, or choose another embedder"
        ) from None


def _projected(vectorizer: Any, directions: np.ndarray, texts: list[str]) -> np.ndarray:
    """Return the vectors (m, d) of m texts; `directions` is (n-grams, d)."""
    projected: np.ndarray = vectorizer.transform(texts) @ directions
    return projected
