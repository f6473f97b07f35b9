r"""Hashed n-gram counts of many texts at once: the features of DSIR.

A text is lower-cased and split into maximal runs of word characters or of other visible characters: the
pattern `\w+|[^\w\s]+` of NLTK's WordPunctTokenizer, with the Unicode classes of the `regex` package,
which NLTK 3.10 uses (older versions use `re`, for which ½ and ³ are word characters too). The bucket of an
n-gram, its tokens joined by one space, is the SHA-256 digest of its UTF-8 bytes, read as a big-endian
number, modulo the number of buckets.

There is no Python loop over tokens: runs are found by comparing the classes of neighbouring characters,
tokens and n-grams are numbered by Arrow's hash tables, and every distinct n-gram is hashed once for the
whole corpus.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

import numpy as np
import pyarrow as pa
import regex

from baselines._checks import FloatArray, IntArray

MAX_BUCKETS = 2**24  # counts are kept for every bucket
_CHUNK = 256  # texts split at a time, so that temporaries stay in the processor's cache
_SPACE, _WORD, _OTHER = 0, 1, 2


@dataclass(frozen=True)
class HashedTexts:
    """The hashed n-grams of a list of texts, as flat arrays with one entry per n-gram occurrence.

    Attributes:
        rows: (total,) int64, number of the text of every occurrence, all orders from 1 to n.
        buckets: (total,) int64, bucket of every occurrence.
        tokens: (texts,) int64, number of tokens of each text.
    """

    rows: IntArray
    buckets: IntArray
    tokens: IntArray

    def sums(self, per_bucket: FloatArray) -> FloatArray:
        """Return the sum of `per_bucket` (m,) over the n-grams of each text: (texts,) float64."""
        total = np.bincount(self.rows, weights=per_bucket[self.buckets], minlength=len(self.tokens))
        return total.astype(np.float64, copy=False)


def hash_texts(texts: Sequence[str], *, ngrams: int = 2, buckets: int = 10_000) -> HashedTexts:
    """Hash every n-gram (n = 1..`ngrams`) of `texts` to a bucket.

    Args:
        texts: the texts; each a string.
        ngrams: longest n-gram.
        buckets: number of buckets, at most MAX_BUCKETS.

    Returns:
        HashedTexts over all texts.

    Example:
        >>> hash_texts(["two plus two", "one"], ngrams=1, buckets=100).tokens.tolist()
        [3, 1]
    """
    words, token, tokens = _tokenize(texts)
    row = np.repeat(np.arange(len(texts)), tokens)
    all_rows, all_buckets = [row], [_hash(words, buckets)[token]]
    gram, names = token, words
    for ahead in range(1, ngrams):
        # gram[i] is the n-gram of `ahead` tokens that starts at token i; it grows within its text only.
        starts = np.flatnonzero(row[:-ahead] == row[ahead:])
        encoded = pa.array(gram[starts] * len(words) + token[starts + ahead]).dictionary_encode()
        prefix, last = np.divmod(encoded.dictionary.to_numpy(), max(1, len(words)))
        spaced = [name + b" " for name in names]
        names = [spaced[i] + words[j] for i, j in zip(prefix.tolist(), last.tolist(), strict=True)]
        numbered = encoded.indices.to_numpy()
        all_rows.append(row[starts])
        all_buckets.append(_hash(names, buckets)[numbered])
        gram = np.zeros(len(token), dtype=np.int64)
        gram[starts] = numbered
    return HashedTexts(np.concatenate(all_rows), np.concatenate(all_buckets), tokens)


def _tokenize(texts: Sequence[str]) -> tuple[list[bytes], IntArray, IntArray]:
    """Return the vocabulary (UTF-8), the number of every token in it, and the token count of each text (texts,)."""
    vocabulary: defaultdict[str, int] = defaultdict()
    vocabulary.default_factory = vocabulary.__len__  # a new token gets the next number
    numbers, counts = [np.zeros(0, dtype=np.int64)], [np.zeros(0, dtype=np.int64)]
    for start in range(0, len(texts), _CHUNK):
        lowered = [text.lower() for text in texts[start : start + _CHUNK]]
        first, run, distinct = _visible_runs("\n".join(lowered))
        known = np.fromiter(map(vocabulary.__getitem__, distinct), dtype=np.int64, count=len(distinct))
        ends = np.cumsum([len(text) + 1 for text in lowered])
        numbers.append(known[run])
        counts.append(np.diff(np.searchsorted(first, ends), prepend=0))
    return [word.encode() for word in vocabulary], np.concatenate(numbers), np.concatenate(counts)


def _visible_runs(text: str) -> tuple[IntArray, IntArray, list[str]]:
    """Return start (in characters) and distinct-run number of each token of `text`, and the distinct runs."""
    data = text.encode()
    wide = len(data) != len(text)
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32) if wide else np.frombuffer(data, np.uint8)
    classes = _classes(points)
    first = np.flatnonzero(np.concatenate([[True], classes[1:] != classes[:-1]])[: len(classes)])
    kind = classes[first]
    ends = np.append(first, len(points))
    if wide:  # Arrow counts in bytes
        width = 1 + (points >= 0x80) + (points >= 0x800) + (points >= 0x10000)
        ends = np.concatenate([[0], np.cumsum(width)])[ends]
    offsets = pa.py_buffer(ends.astype(np.int32))
    encoded = pa.StringArray.from_buffers(len(first), offsets, pa.py_buffer(data)).dictionary_encode()
    run, distinct = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
    visible = kind != _SPACE
    # Runs of white space have numbers of their own, to which nothing refers: drop them from the vocabulary.
    used = np.zeros(len(distinct), dtype=bool)
    used[run[visible]] = True
    renumbered = np.cumsum(used) - 1
    return (
        first[visible],
        renumbered[run[visible]],
        [word for word, keep in zip(distinct, used, strict=True) if keep],
    )


def _classes(points: np.ndarray) -> np.ndarray:
    """Return the class (space, word or other) of each code point."""
    if points.dtype == np.uint8:
        return _ascii_classes()[points]
    seen = np.zeros(int(points.max()) + 1, dtype=bool)
    seen[points] = True
    table = np.zeros(len(seen), dtype=np.uint8)
    present = np.flatnonzero(seen)
    table[present] = [_class(point) for point in present.tolist()]
    return table[points]


@lru_cache(maxsize=1)
def _ascii_classes() -> np.ndarray:
    return np.array([_class(point) for point in range(128)], dtype=np.uint8)


@lru_cache(maxsize=4096)
def _class(point: int) -> int:
    if regex.match(r"\w", chr(point)):
        return _WORD
    return _SPACE if regex.match(r"\s", chr(point)) else _OTHER


def _hash(names: Sequence[bytes], buckets: int) -> IntArray:
    """Return the bucket (len(names),) of each n-gram."""
    digests = b"".join([sha256(name).digest() for name in names])
    words = np.frombuffer(digests, dtype=">u4").reshape(-1, 8).astype(np.uint64)
    remainder = np.zeros(len(words), dtype=np.uint64)
    for column in range(8):  # long division, one 32-bit digit at a time
        remainder = (remainder * np.uint64(2**32) + words[:, column]) % np.uint64(buckets)
    return remainder.astype(np.int64)
