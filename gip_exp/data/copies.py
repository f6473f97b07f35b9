"""Rows that repeat an earlier one: equal texts, and near-copies by the words that they share.

A near-copy shares at least `near` of its runs of three words (Jaccard similarity), in the prompt and in the completion
both: an equal question with another answer is no copy. Candidates come from MinHash signatures in a locality-sensitive
index (`datasketch`); each is compared word by word before it counts, so chance decides only whether one is missed.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gip_exp.words import words

RUN = 3  # words of a shingle; letters where a script has no spaces
PERMUTATIONS = 128
WEIGHTS = (
    0.02,
    0.98,
)  # of false positives, which cost a comparison each, and of misses (2 % at the threshold itself)
Shingles = frozenset[str]


@dataclass(frozen=True)
class Copy:
    """Row `row` repeats the earlier row `of`, which is kept. `similarity` is 1.0 for equal texts."""

    row: int
    of: int
    similarity: float


def equal_rows(examples: Sequence[Mapping[str, Any]]) -> list[Copy]:
    """Rows whose prompt and completion both stood before, in row order."""
    first: dict[tuple[str, str], int] = {}
    copies = []
    for row, example in enumerate(examples):
        earlier = first.setdefault((example["prompt"], example["completion"]), row)
        if earlier != row:
            copies.append(Copy(row, earlier, 1.0))
    return copies


def near_rows(examples: Sequence[Mapping[str, Any]], near: float, *, but: Sequence[int] = ()) -> list[Copy]:
    """Rows that are near-copies of an earlier one that is none itself, in row order; `but` are not looked at."""
    from datasketch import MinHash, MinHashLSH

    skipped = frozenset(but)
    rows = [row for row in range(len(examples)) if row not in skipped]
    parts = {
        row: (_shingles(examples[row]["prompt"]), _shingles(examples[row]["completion"])) for row in rows
    }
    signatures = MinHash.generator((_marked(*parts[row]) for row in rows), num_perm=PERMUTATIONS, seed=1)
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
    """Its runs of three words; a text of fewer words, or none, is one of its own."""
    found = words(text)
    if len(found) < RUN:
        return frozenset([" ".join(found) or text])
    return frozenset(" ".join(found[i : i + RUN]) for i in range(len(found) - RUN + 1))


def _marked(prompt: Shingles, completion: Shingles) -> Iterator[bytes]:
    """Both parts as one set: its similarity is at least the smaller of the two."""
    yield from (b"p" + shingle.encode(errors="surrogatepass") for shingle in prompt)
    yield from (b"c" + shingle.encode(errors="surrogatepass") for shingle in completion)


def _similarity(one: tuple[Shingles, Shingles], other: tuple[Shingles, Shingles]) -> float:
    """Of the part that is less alike."""
    return min(len(a & b) / len(a | b) for a, b in zip(one, other, strict=True))
