"""DSIR: parity with the definition on real data, sampling, nesting, refusals."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import regex

from baselines import dsir
from baselines.hashed_ngrams import hash_texts

POOL = ["Add 3 and 4, then stop.", "The cat sat.", "Add 9 and 1!", "Multiply; then add 2.", "It rained on us"]
TARGET = ["Add 5 and 6, then stop.", "add 1 and 1"]


def log_weights(texts, target_texts, **options):
    """Log weights of all rows: the gains of a selection of the whole pool."""
    picked = dsir.select(texts, target_texts, 1.0, seed=0, top_k=True, **options)
    weights = np.empty(len(texts))
    weights[picked.indices] = picked.gains
    return weights


def gsm8k_texts() -> list[str]:
    folder = Path(os.environ.get("GIP_DATA", Path(__file__).parents[1] / "../shared/data"))
    path = folder / "gsm8k" / "train.jsonl"
    if not path.exists():
        assert "data" not in os.environ.get("GIP_REQUIRE", "").split(","), f"{path} is missing"
        pytest.skip(f"needs {path} (set GIP_DATA)")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [f"{row['question']}\n{row['answer']}" for row in rows]


def naive_features(text, ngrams=2, buckets=10_000):
    words = regex.findall(r"\w+|[^\w\s]+", text.lower())
    counts = np.zeros(buckets, dtype=np.uint16)
    for order in range(1, ngrams + 1):
        for gram in zip(*(words[start:] for start in range(order)), strict=False):
            digest = hashlib.sha256(" ".join(gram).encode("utf-8")).hexdigest()
            counts[int(digest, 16) % buckets] += 1
    return counts


def naive_log_weights(raw, target, ngrams=2, buckets=10_000, laplace=0.0):
    features = np.stack([naive_features(text, ngrams, buckets) for text in raw])
    wanted = sum(naive_features(text, ngrams, buckets) for text in target) + laplace
    there = features.sum(axis=0)
    ratio = np.log(wanted / wanted.sum() + 1e-8) - np.log(there / there.sum() + 1e-8)
    return np.array([counts @ ratio for counts in features])


def test_log_weights_equal_the_definition_on_all_of_gsm8k():
    texts = gsm8k_texts()
    chosen = np.random.default_rng(0).permutation(len(texts))
    target, raw = [texts[i] for i in chosen[:128]], [texts[i] for i in np.sort(chosen[128:])]
    ours = log_weights(raw, target)
    assert ours.shape == (len(texts) - 128,)
    assert ours.dtype == np.float64
    np.testing.assert_allclose(ours, naive_log_weights(raw, target), rtol=1e-9, atol=0)


@pytest.mark.parametrize(
    ("ngrams", "buckets", "laplace"), [(1, 97, 0.0), (2, 10_000, 0.5), (4, 1_000_003, 0.0)]
)
def test_log_weights_equal_the_definition_for_other_options(ngrams, buckets, laplace):
    ours = log_weights(POOL, TARGET, ngrams=ngrams, buckets=buckets, laplace=laplace)
    np.testing.assert_allclose(ours, naive_log_weights(POOL, TARGET, ngrams, buckets, laplace), rtol=1e-9)


def test_texts_shorter_than_the_ngram_and_unicode_are_counted_like_the_definition():
    raw = ["one", "Émile naïve 中文 …?!", "a b c", "5cm³ ½ a½b क्षि", "\tΣΊΣΥΦΟΣ\u00a0x", "don't_stop--now"]
    ours = log_weights(raw, ["a b", "naïve"], ngrams=3)
    np.testing.assert_allclose(ours, naive_log_weights(raw, ["a b", "naïve"], 3), rtol=1e-9)


def test_the_split_is_that_of_nltk():
    tokenize = pytest.importorskip("nltk.tokenize", reason="needs nltk").WordPunctTokenizer().tokenize
    if tokenize("½a") != ["½", "a"]:
        pytest.skip("this NLTK is older than 3.10 and has other character classes")
    characters = "".join(map(chr, [*range(1, 0x3100), *range(0xA000, 0xD800), *range(0x10000, 0x11000)]))
    texts = [characters, "It's 3.50$--or  more?!"]
    hashed = hash_texts(texts, ngrams=1)
    assert hashed.tokens.tolist() == [len(tokenize(text.lower())) for text in texts]


def test_ngrams_do_not_cross_texts():
    apart = hash_texts(["a b", "c d"], ngrams=2)
    assert apart.tokens.tolist() == [2, 2]
    assert np.bincount(apart.rows).tolist() == [3, 3]


def test_top_k_takes_the_largest_weights_and_the_seed_does_not_matter():
    weights = log_weights(POOL, TARGET)
    order = np.argsort(-weights, kind="stable")
    for seed in (0, 7):
        picked = dsir.select(POOL, TARGET, 3, seed=seed, top_k=True)
        assert np.array_equal(picked.indices, order[:3])
        np.testing.assert_allclose(picked.gains, weights[order[:3]])


def test_sampling_follows_the_weights():
    # Gumbel top-1 picks row i with probability w_i / sum w = .6, .3, .1.
    weights = np.log([6.0, 3.0, 1.0])
    firsts = [int(dsir.resample(weights, 1, seed=seed).indices[0]) for seed in range(4000)]
    np.testing.assert_allclose(np.bincount(firsts) / 4000, [0.6, 0.3, 0.1], atol=0.03)


def test_picks_are_nested_in_budget_and_decided_by_the_seed():
    whole = dsir.select(POOL, TARGET, 5, seed=0).indices
    for budget in range(1, 5):
        assert np.array_equal(dsir.select(POOL, TARGET, budget, seed=0).indices, whole[:budget])
    assert len({tuple(dsir.select(POOL, TARGET, 5, seed=s, laplace=1.0).indices) for s in range(10)}) > 1


def test_short_rows_are_kept_unless_asked_and_the_mask_decides_what_is_read():
    assert set(dsir.select(POOL, TARGET, 5, seed=0).indices) == set(range(5))
    # Token counts: 8, 4, 5, 6, 4.
    assert set(dsir.select(POOL, TARGET, 3, seed=0, min_tokens=5).indices) == {0, 2, 3}
    notes = []
    picked = dsir.select(POOL, TARGET, 5, seed=0, min_tokens=5, note=notes.append).indices
    assert set(picked[:3]) == {0, 2, 3}
    assert notes == [
        "only 3 of 5 rows have min_tokens=5 or more tokens, so picks after the first 3 are shorter"
    ]
    # The target has 8 and 4 tokens, so half of its rows have 6 or more: rows 0 and 3 of the pool.
    assert set(dsir.select(POOL, TARGET, 2, seed=0, min_tokens=None, note=notes.append).indices) == {0, 3}
    assert len(notes) == 1
    holed = [*POOL[:2], "", *POOL[3:]]
    mask = np.array([True, True, False, True, True])
    picked = dsir.select(holed, TARGET, 4, seed=1, candidates=mask)
    kept = [text for text, keep in zip(holed, mask, strict=True) if keep]
    weights = dict(zip(np.flatnonzero(mask), log_weights(kept, TARGET), strict=True))
    np.testing.assert_allclose(picked.gains, [weights[i] for i in picked.indices])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: log_weights(POOL, []), "target_texts: is empty"),
        (lambda: log_weights([], TARGET), "texts: is empty"),
        (lambda: log_weights([*POOL, " \n"], TARGET), r"texts: row 5 has no tokens \(1 such"),
        (lambda: log_weights(POOL, ["a", ""]), "target_texts: row 1 has no tokens"),
        (lambda: log_weights("text", TARGET), "texts: got one string"),
        (lambda: log_weights(["a", 3], TARGET), "texts: row 1 is int"),
        (lambda: log_weights(["é", "a\ud83d"], TARGET), "texts: row 1 holds half of a surrogate"),
        (lambda: log_weights(POOL, TARGET, ngrams=0), "ngrams: got 0; give an int >= 1"),
        (lambda: log_weights(POOL, TARGET, buckets=2**40), "buckets: got 1099511627776"),
        (lambda: log_weights(POOL, TARGET, laplace=-1), "laplace: got -1"),
        (lambda: dsir.select([], TARGET, 1, seed=0), "texts: is empty"),
        (lambda: dsir.select(POOL, TARGET, 9, seed=0), "budget: got 9"),
        (lambda: dsir.select(POOL, TARGET, 1, seed=-3), "seed: got -3"),
        (lambda: dsir.select(POOL, TARGET, 1, seed=0, min_tokens=-1), "min_tokens: got -1"),
        (lambda: dsir.select(POOL, TARGET, 1, seed=0, min_tokens=50), "min_tokens: got 50.* longest has 8"),
        (lambda: dsir.resample(np.array([1.0, np.nan]), 1, seed=0), "weights: row 1 holds NaN"),
    ],
)
def test_bad_input_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_several_bad_arguments_are_reported_together():
    with pytest.raises(ValueError, match=r"(?s)3 bad arguments.*target_texts.*ngrams.*budget"):
        dsir.select(POOL, [], 9, seed=0, ngrams=-1)


def test_a_floor_and_smoothing_keep_the_length_of_the_pool():
    texts = gsm8k_texts()
    chosen = np.random.default_rng(0).permutation(len(texts))
    target, raw = [texts[i] for i in chosen[:128]], [texts[i] for i in np.sort(chosen[128:])]
    words = np.array([len(text.split()) for text in raw])
    plain = dsir.select(raw, target, 0.1, seed=0).indices
    floored = dsir.select(raw, target, 0.1, seed=0, laplace=0.1, min_tokens=None).indices
    assert words[plain].mean() < 0.7 * words.mean()
    assert 0.9 * words.mean() < words[floored].mean() < 1.2 * words.mean()
