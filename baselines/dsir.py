"""DSIR: data selection by importance resampling on hashed n-grams (Xie et al., arXiv 2302.03169).

An example is a bag of n-grams, each hashed to one of m buckets (`hashed_ngrams`). With p_target and p_raw the
bucket frequencies of the target texts and of the pool, the log importance weight of an example with counts
c is

    log w = c . (log(p_target + 1e-8) - log(p_raw + 1e-8))

and the subset is a sample without replacement with probability proportional to w: Gumbel noise is added to
log w and the largest values are taken (Gumbel top-k). Everything follows the authors' package
`data-selection` 1.0.3, with three exceptions: short examples come last only if `min_tokens` asks for it,
the noise is seeded, and weights do not depend on a number of processes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import numpy as np
from annotated_types import Ge

from baselines._checks import FloatArray, IntArray, check_count, check_pool, ranking
from baselines.hashed_ngrams import MAX_BUCKETS, hash_texts
from selection.checks import Problems, check_candidates
from selection.types import Count, NonNegative, Seed, Selection

_FLOOR = 1e-8  # added to both frequencies before the logarithm, as the authors do


def _weights(
    texts: Sequence[str],
    target_texts: Sequence[str],
    rows: IntArray,
    *,
    ngrams: int,
    buckets: int,
    laplace: float,
) -> tuple[FloatArray, IntArray, IntArray]:
    """Return log weights and token counts (len(rows),) of the pool's `rows`, and token counts of the target.

    The frequencies of the pool count only these rows.
    """
    n = len(rows)
    hashed = hash_texts([texts[i] for i in rows] + list(target_texts), ngrams=ngrams, buckets=buckets)
    problems = Problems()
    for argument, tokens, names in (
        ("texts", hashed.tokens[:n], rows),
        ("target_texts", hashed.tokens[n:], np.arange(len(target_texts))),
    ):
        if (tokens == 0).any():
            bad = names[tokens == 0]
            problems.add(
                argument,
                f"row {bad[0]} has no tokens ({len(bad)} such rows in all); fill them or leave them out",
            )
    problems.raise_if_any()
    in_pool = hashed.rows < n
    raw = np.bincount(hashed.buckets[in_pool], minlength=buckets)
    target = np.bincount(hashed.buckets[~in_pool], minlength=buckets) + laplace
    ratio = np.log(target / target.sum() + _FLOOR) - np.log(raw / raw.sum() + _FLOOR)
    return hashed.sums(ratio)[:n], hashed.tokens[:n], hashed.tokens[n:]


def select(
    texts: Sequence[str],
    target_texts: Sequence[str],
    budget: int | float,
    *,
    seed: Seed,
    ngrams: Count = 2,
    buckets: Count = 10_000,
    laplace: NonNegative = 0.0,
    top_k: bool = False,
    min_tokens: Annotated[int, Ge(0)] | None = 0,
    note: Callable[[str], None] | None = None,
    candidates: Any = None,
) -> Selection:
    """Resample the pool by importance; nested in budget for a given seed.

    Args:
        texts: the pool, n texts (prompt, newline, completion).
        target_texts: examples of what the subset should resemble; never the test set.
        budget: count or share of n (see `baselines._checks`).
        seed: seed of the Gumbel noise, one value per pool row whatever the budget.
        ngrams: longest n-gram counted.
        buckets: number m of hash buckets.
        laplace: pseudo-count added to every bucket of the target, >= 0.
        top_k: take the largest weights, without noise (the seed then has no effect).
        min_tokens: rows with fewer tokens come after all others (the authors drop those under 100; 0 treats all
            alike). None is the median of the target rows: a log weight is a sum over tokens, most of them below 0,
            so that short rows win otherwise. Short rows still count towards the frequencies of the pool.
        note: called with a sentence if the picks include rows shorter than `min_tokens`.
        candidates: optional boolean mask (n,); other rows are not read at all, so the frequencies of the pool
            are those of the candidates.

    Returns:
        Selection; gains are the log weights of the picks, `objective["mean_log_weight"]` their mean.

    Raises:
        ValueError: naming every bad argument.

    Example:
        >>> pool = ["add two and two", "a poem about rain", "add three and one"]
        >>> select(pool, ["add one and two"], 2, seed=0, top_k=True).indices.tolist()
        [0, 2]
    """
    problems = Problems()
    n = len(texts)
    mask = check_candidates(Problems(), candidates, n)
    rows = np.arange(n) if mask is None else np.flatnonzero(mask)
    _check_texts(problems, "texts", texts, rows)
    _check_options(problems, target_texts, ngrams, buckets, laplace)
    if min_tokens is not None:
        check_count(problems, "min_tokens", min_tokens, low=0)
    if n:
        check_pool(problems, n, budget, candidates, seed=seed)
    problems.raise_if_any()
    weights, tokens = np.full(n, -np.inf), np.full(n, -1)
    weights[rows], tokens[rows], of_target = _weights(
        texts, target_texts, rows, ngrams=ngrams, buckets=buckets, laplace=laplace
    )
    floor = int(np.median(of_target)) if min_tokens is None else min_tokens
    if not (tokens >= floor).any():
        raise ValueError(
            f"min_tokens: got {floor}, but no candidate has so many; the longest has {tokens.max()}"
        )
    found = resample(weights, budget, seed=seed, top_k=top_k, candidates=mask, first=tokens >= floor)
    short = int((tokens[found.indices] < floor).sum())
    if short and note is not None:
        note(
            f"only {len(found.indices) - short:,} of {len(rows):,} rows have min_tokens={floor} or more tokens, so picks "
            f"after the first {len(found.indices) - short:,} are shorter"
        )
    return found


def resample(
    weights: FloatArray,
    budget: int | float,
    *,
    seed: int,
    top_k: bool = False,
    candidates: Any = None,
    first: Any = None,
) -> Selection:
    """Draw rows without replacement with probability proportional to exp(weight) (Gumbel top-k).

    Args:
        weights: (n,) float64 log weights in nats; rows outside `candidates` may hold NaN or inf.
        budget: count or share of n (see `baselines._checks`).
        seed: seed of the Gumbel noise.
        top_k: take the largest weights, without noise.
        candidates: optional boolean mask (n,).
        first: optional boolean mask (n,) of the rows drawn before all others.

    Returns:
        Selection; gains are the log weights of the picks, `objective["mean_log_weight"]` their mean.

    Raises:
        ValueError: naming every bad argument.

    Example:
        >>> import numpy as np
        >>> resample(np.array([0.1, 3.0, 2.0]), 2, seed=0, top_k=True).indices.tolist()
        [1, 2]
    """
    problems = Problems()
    rows, count = check_pool(problems, len(weights), budget, candidates, seed=seed)
    if len(rows) and not np.isfinite(weights[rows]).all():
        bad = rows[~np.isfinite(weights[rows])][0]
        problems.add("weights", f"row {bad} holds NaN or inf; mark such rows False in candidates")
    problems.raise_if_any()
    noise = np.zeros(len(weights)) if top_k else np.random.default_rng(seed).gumbel(size=len(weights))
    later = np.zeros(len(rows), dtype=bool) if first is None else ~np.asarray(first, dtype=bool)[rows]
    picks = rows[np.lexsort((-(weights + noise)[rows], later))][:count]
    return ranking(picks, weights[picks], objective={"mean_log_weight": float(weights[picks].mean())})


def _check_texts(problems: Problems, argument: str, texts: Any, rows: IntArray) -> None:
    """Note a problem unless there is at least one text and every entry at `rows` is a string with a UTF-8 form."""
    if isinstance(texts, str):
        problems.add(argument, "got one string; give a list of strings, one an example")
    elif not len(texts):
        problems.add(argument, "is empty; give at least one text")
    else:
        bad = next((int(i) for i in rows if not isinstance(texts[i], str)), None)
        if bad is not None:
            problems.add(argument, f"row {bad} is {type(texts[bad]).__name__}; give a string")
            return
        lone = next((int(i) for i in rows if not _encodes(texts[i])), None)
        if lone is not None:
            problems.add(
                argument, f"row {lone} holds half of a surrogate pair, which has no UTF-8; fix that text"
            )


def _encodes(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_options(
    problems: Problems, target_texts: Sequence[str], ngrams: Any, buckets: Any, laplace: Any
) -> None:
    _check_texts(problems, "target_texts", target_texts, np.arange(len(target_texts)))
    check_count(problems, "ngrams", ngrams)
    check_count(problems, "buckets", buckets, MAX_BUCKETS)
    problems.number("laplace", laplace)
