"""Measures of a selection in the space of its embeddings: arrays in, arrays out.

Symbols: n rows in the pool, d dimensions, b picks in pick order. Embeddings are scaled to unit length block by block,
so a pool that is mapped into memory is read in pieces.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

BLOCK = 4096  # rows at a time
FIT_ROWS = 5000  # rows from which the axes of the map and the topics are learned


def unit(features: np.ndarray) -> np.ndarray:
    """Return (m, d) float32 rows of unit length; a zero row stays zero."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(length, np.finfo(np.float32).tiny), dtype=np.float32)


def _blocks(n: int) -> Iterator[slice]:
    for start in range(0, n, BLOCK):
        yield slice(start, min(start + BLOCK, n))


def sample(n: int, most: int, seed: int = 0) -> np.ndarray:
    """Return at most `most` of n row numbers, drawn without replacement, ascending."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def nearest_picks(features: np.ndarray, picks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Find the most similar pick of every row, other than the row itself.

    Args:
        features: (n, d) embeddings.
        picks: (b,) row numbers.

    Returns:
        (n,) position in `picks` of the pick with the highest cosine, or -1 if there is no other pick; (n,) that cosine,
        NaN if there is none.

    Example:
        >>> nearest, cosine = nearest_picks(np.array([[1.0, 0], [0, 1], [1, 1]]), np.array([0, 1]))
        >>> nearest.tolist(), cosine.round(2).tolist()
        ([1, 0, 0], [0.0, 0.0, 0.71])
    """
    n = len(features)
    place = np.full(n, -1)
    place[picks] = np.arange(len(picks))
    nearest, cosine = np.full(n, -1), np.full(n, -np.inf, dtype=np.float32)
    chosen = unit(features[picks])
    for rows in _blocks(n):
        block = unit(features[rows])
        for start in range(0, len(picks), BLOCK):
            found = block @ chosen[start : start + BLOCK].T
            own = np.flatnonzero((place[rows] >= start) & (place[rows] < start + found.shape[1]))
            found[own, place[rows][own] - start] = -np.inf
            best = found.argmax(axis=1)
            value = found[np.arange(len(found)), best]
            better = value > cosine[rows]
            nearest[rows] = np.where(better, best + start, nearest[rows])
            cosine[rows] = np.where(better, value, cosine[rows])
    cosine[nearest < 0] = np.nan
    return nearest, cosine


def coverage_curve(
    features: np.ndarray, order: np.ndarray, counts: Sequence[int], asked_rows: np.ndarray
) -> list[float]:
    """Return the coverage of the first c rows of an order, for each c of ascending `counts`.

    The coverage is the mean over `asked_rows` of the highest cosine to a row of the subset: 1 if each has an equal
    there.

    Example:
        >>> coverage_curve(np.eye(2), np.array([0, 1]), [1, 2], np.arange(2))
        [0.5, 1.0]
    """
    asked = unit(features[asked_rows])
    best = np.full(len(asked), -1.0, dtype=np.float32)
    curve, done = [], 0
    for count in counts:
        for start in range(done, count, BLOCK):
            rows = order[start : min(start + BLOCK, count)]
            best = np.maximum(best, (asked @ unit(features[rows]).T).max(axis=1))
        done = count
        curve.append(float(best.mean(dtype=np.float64)))
    return curve


def on_a_map(features: np.ndarray, seed: int = 0) -> np.ndarray:
    """Return (n, 2) float32 coordinates: the first two principal components of the embeddings of unit length.

    They are learned from at most 5,000 rows and apply to all.
    """
    from sklearn.decomposition import PCA

    fitted = PCA(min(2, *features.shape), random_state=seed)
    with np.errstate(invalid="ignore"):  # of rows that are all equal
        fitted.fit(unit(features[sample(len(features), FIT_ROWS, seed)]))
    places = np.zeros((len(features), 2), dtype=np.float32)
    for rows in _blocks(len(features)):
        found = fitted.transform(unit(features[rows]))
        places[rows, : found.shape[1]] = found
    return places


def topics(features: np.ndarray, count: int, seed: int = 0) -> np.ndarray:
    """Return (n,) topic numbers: k-means on centred embeddings, learned from at most 5,000 rows."""
    from sklearn.cluster import MiniBatchKMeans

    learned = unit(features[sample(len(features), FIT_ROWS, seed)])
    mean = learned.mean(axis=0)
    means = MiniBatchKMeans(min(count, len(learned)), n_init=1, batch_size=1024, random_state=seed)
    means.fit(unit(learned - mean))
    found = np.zeros(len(features), dtype=np.int64)
    for rows in _blocks(len(features)):
        found[rows] = means.predict(unit(unit(features[rows]) - mean))
    return found


@dataclass(frozen=True)
class Topic:
    """A topic: its words, most typical first."""

    number: int
    words: tuple[str, ...]


def topic_words(texts: Sequence[str], labels: np.ndarray, most: int = 5) -> list[Topic]:
    """Name each topic by its typical words: those with the largest p log(p / q).

    p is the share of a word among the words of the topic and q its share among those of all texts, so the sum over all
    words is the Kullback-Leibler divergence between the two. Only words with p of at least 2 q are typical.

    Args:
        texts: m texts, of which the first 2,000 characters are read.
        labels: (m,) their topics.
        most: words per topic.
    """
    from sklearn.feature_extraction.text import CountVectorizer

    from gip_exp.words import words

    numbers = np.unique(labels)
    joined = [
        " ".join(texts[row][:2000] for row in np.flatnonzero(labels == number).tolist()) for number in numbers
    ]
    counter = CountVectorizer(tokenizer=words, token_pattern=None, lowercase=False)
    try:
        counts = counter.fit_transform(joined).toarray().astype(np.float64)
    except ValueError:  # no words at all
        return [Topic(int(number), ()) for number in numbers]
    names = counter.get_feature_names_out()
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    overall = counts.sum(axis=0) / counts.sum()
    weight = share * np.log(np.where(share > 0, share / overall, 1.0))
    weight[share < 2 * overall] = 0
    weight[:, [name.isascii() and (len(name) < 3 or name.isdigit()) for name in names]] = 0
    best = np.argsort(-weight, axis=1, kind="stable")[:, :most]
    return [
        Topic(int(number), tuple(str(names[word]) for word in row if weight[at, word] > 0))
        for at, (number, row) in enumerate(zip(numbers, best, strict=True))
    ]
