"""Duplicates of earlier rows: equal texts, and near-duplicates by shared word n-grams.

A row is a near-duplicate if the Jaccard similarity of its sets of word trigrams is at least `near`, for the prompt and
for the completion: the same question with another answer is not a duplicate. Candidates come from MinHash signatures in
a locality-sensitive index (`datasketch`) and are then compared exactly, so randomness can only cause misses.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from gip_exp.words import words

RUN = 3  # words per shingle; letters in scripts without spaces
PERMUTATIONS = 128
# Of false positives, which cost a comparison each, and of misses (2 % for rows at the threshold).
WEIGHTS = (0.02, 0.98)
Shingles = frozenset[str]


@dataclass(frozen=True)
class Copy:
    """Row `row` is a duplicate of the earlier row `of`, which is kept. `similarity` is 1.0 for equal texts."""

    row: int
    of: int
    similarity: float


def equal_rows(examples: Sequence[Mapping[str, Any]]) -> list[Copy]:
    """Return the rows whose prompt and completion equal those of an earlier row, in row order."""
    first: dict[bytes, int] = {}  # digest of the texts -> row
    copies = []
    for row, example in enumerate(examples):
        texts = f"{len(example['prompt'])} {example['prompt']}{example['completion']}"
        earlier = first.setdefault(blake2b(texts.encode(), digest_size=16).digest(), row)
        if earlier != row:
            copies.append(Copy(row, earlier, 1.0))
    return copies


def near_rows(examples: Sequence[Mapping[str, Any]], near: float, *, but: Sequence[int] = ()) -> list[Copy]:
    """Return near-duplicates of earlier rows, in row order.

    Args:
        examples: The rows.
        near: Minimum similarity.
        but: Rows to ignore.
    """
    from datasketch import MinHash, MinHashLSH

    skipped = frozenset(but)
    rows = [row for row in range(len(examples)) if row not in skipped]
    parts = {
        row: (_shingles(examples[row]["prompt"]), _shingles(examples[row]["completion"])) for row in rows
    }
    signatures = MinHash.generator((_tagged(*parts[row]) for row in rows), num_perm=PERMUTATIONS, seed=1)
    index = MinHashLSH(threshold=near, num_perm=PERMUTATIONS, weights=WEIGHTS)
    copies = []
    for row, signature in zip(rows, signatures, strict=True):
        alike = [(_similarity(parts[row], parts[other]), -other) for other in index.query(signature)]
        similarity, earlier = max(alike, default=(0.0, 0))
        if similarity >= near:
            copies.append(Copy(row, -earlier, round(similarity, 4)))
        else:
            index.insert(row, signature)
    return copies


def _shingles(text: str) -> Shingles:
    """Return the word trigrams of a text; a shorter text is a single shingle."""
    found = words(text)
    if len(found) < RUN:
        return frozenset([" ".join(found) or text])
    return frozenset(" ".join(found[i : i + RUN]) for i in range(len(found) - RUN + 1))


def _tagged(prompt: Shingles, completion: Shingles) -> Iterator[bytes]:
    """Yield both parts as one set, whose similarity is at least the smaller of the two."""
    yield from (b"p" + shingle.encode(errors="surrogatepass") for shingle in prompt)
    yield from (b"c" + shingle.encode(errors="surrogatepass") for shingle in completion)


def _similarity(one: tuple[Shingles, Shingles], other: tuple[Shingles, Shingles]) -> float:
    """Return the smaller of the similarities of prompt and completion."""
    return min(len(a & b) / len(a | b) for a, b in zip(one, other, strict=True))
