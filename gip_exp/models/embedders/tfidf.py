"""TF-IDF over words, numbers and punctuation, reduced by truncated SVD; needs no model."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge, Lt

from gip_exp.errors import UserError


def embed(
    texts: Sequence[str],
    note: Callable[[str], None],
    facts: dict[str, Any],
    *,
    dimensions: Annotated[int, Ge(1)],
    ngrams: Annotated[int, Ge(1)],
    min_count: Annotated[int, Ge(1)],
    seed: Annotated[int, Ge(0), Lt(2**32)] = 0,
) -> np.ndarray:
    """Embed texts.

    Args:
        texts: n texts.
        note: Called with warnings.
        facts: Receives `explained_variance`, the share of variance kept by the dimensions.
        dimensions: Dimensions of the vectors, lowered if the texts have fewer features.
        ngrams: Maximum length of n-grams.
        min_count: Minimum number of texts that contain a token.
        seed: Seed of the randomised SVD.

    Returns:
        (n, d) float64.

    Raises:
        UserError: no token occurs often enough, or all texts are the same.
    """
    from sklearn.decomposition import TruncatedSVD

    if len(texts) == 1:
        raise UserError("the pool is a single row, so there is nothing to select: give more rows")
    counts = _counts(texts, ngrams, min_count)
    possible = min(dimensions, counts.shape[1] - 1, len(texts))
    if possible < dimensions:
        note(
            f"embedder.dimensions={dimensions} lowered to {possible}, because the texts have no more features"
        )
    svd = TruncatedSVD(max(1, possible), random_state=seed)
    with np.errstate(invalid="ignore", divide="ignore"):  # no variance is an error below
        features: np.ndarray = svd.fit_transform(counts)
    if not np.isfinite(svd.explained_variance_ratio_).all():
        raise UserError(
            "embedder=tfidf gives every text the same vector, so there is nothing to select: check the rows, or lower "
            f"embedder.min_count={min_count} (words of fewer rows are ignored)"
        )
    facts["explained_variance"] = round(float(svd.explained_variance_ratio_.sum()), 4)
    return features


def _counts(texts: Sequence[str], ngrams: int, min_count: int) -> Any:
    """Return the sparse matrix of TF-IDF weights (n, n-grams)."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    from gip_exp.words import tokens

    vectorizer = TfidfVectorizer(
        tokenizer=tokens,
        token_pattern=None,
        ngram_range=(1, ngrams),
        min_df=min(min_count, len(texts)),
        sublinear_tf=True,
    )
    try:
        return vectorizer.fit_transform(texts)
    except ValueError as error:
        raise UserError(
            f"embedder=tfidf finds no words that occur often enough ({error}): lower embedder.min_count"
        ) from None
