"""TF-IDF over words, numbers and marks, reduced by truncated SVD (no model needed)."""

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
    """Embed the texts.

    Args:
        texts: n texts.
        note: told what the user should know of the vectors.
        facts: gains `explained_variance`, the share of the counts' variance that the dimensions keep.
        dimensions: of the vectors, lowered where the texts hold less.
        ngrams: longest run of tokens counted.
        min_count: tokens in fewer texts do not count.
        seed: of the randomised SVD.

    Returns:
        (n, d) float64.

    Raises:
        UserError: nothing to count, or all texts alike.
    """
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer

    from gip_exp.words import tokens

    if len(texts) == 1:
        raise UserError("the pool is a single row: there is nothing to choose between")
    vectorizer = TfidfVectorizer(
        tokenizer=tokens,
        token_pattern=None,
        ngram_range=(1, ngrams),
        min_df=min(min_count, len(texts)),
        sublinear_tf=True,
    )
    try:
        counts = vectorizer.fit_transform(texts)
    except ValueError as error:
        raise UserError(
            f"embedder=tfidf finds no words that occur often enough ({error}): lower embedder.min_count"
        ) from None
    possible = min(dimensions, counts.shape[1] - 1, len(texts))
    if possible < dimensions:
        note(f"embedder.dimensions={dimensions} lowered to {possible}: the texts hold no more")
    svd = TruncatedSVD(max(1, possible), random_state=seed)
    with np.errstate(invalid="ignore", divide="ignore"):  # no variance to explain: the next lines say so
        features: np.ndarray = svd.fit_transform(counts)
    if not np.isfinite(svd.explained_variance_ratio_).all():
        raise UserError(
            "embedder=tfidf: every text is the same to it, so there is nothing to choose between: check the rows, or "
            f"lower embedder.min_count={min_count} (words of fewer rows do not count)"
        )
    facts["explained_variance"] = round(float(svd.explained_variance_ratio_.sum()), 4)
    return features
