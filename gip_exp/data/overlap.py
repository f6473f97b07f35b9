"""Overlap of test rows with training rows: runs of consecutive words shared by their prompts or completions.

Runs of at least 8 and 13 words are reported, lengths used in reports on language models; each match has the longest run
that the two texts share. As in the report on GPT-3, a run that occurs in more than ten distinct texts of the pool, or of
the test set, is a common phrase and ignored. A test prompt that equals a training prompt matches at any length. Case,
punctuation and line breaks are ignored. In scripts without spaces, two letters count as a word.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gip_exp.words import UNSPACED, word_spans, words

LENGTHS = (8, 13)  # words
COMMON = 10  # texts
LETTERS = 2  # letters per word in scripts without spaces
LONGEST_SHOWN = 300  # characters of the text of a match
PARTS = ("prompt", "completion")
Examples = Sequence[Mapping[str, Any]]
Place = tuple[int, str]  # row, part


@dataclass(frozen=True)
class Match:
    """Test row `test` and training row `row` share `words` consecutive words; `whole` if the prompts are the same."""

    test: int
    test_part: str
    row: int
    row_part: str
    words: int
    text: str
    whole: bool = False

    def counts(self, length: int) -> bool:
        """Return whether the test row overlaps at this number of words."""
        return self.whole or self.words >= length


def find_overlap(pool: Examples, test: Examples) -> list[Match]:
    """Find all pairs of a part of a test row and a part of a training row that share a run, with the longest run."""
    vocabulary: defaultdict[str, int] = defaultdict()
    vocabulary.default_factory = vocabulary.__len__  # a new word gets the next number
    tests, trains = _Texts(test, vocabulary), _Texts(pool, vocabulary)
    longest: dict[tuple[int, int], tuple[int, int]] = {}
    for length in LENGTHS:
        for pair, run in _shared_runs(tests, trains, length):
            longest[pair] = max(longest.get(pair, (0, 0)), run)
    found = _same_prompts(tests, trains)
    same = {(match.test, match.row) for match in found}
    for (test_text, train_text), (count, start) in longest.items():
        shown, length = _shown(trains.texts[train_text], start, count)
        if length < LENGTHS[0]:
            continue
        for row, row_part in trains.places[train_text]:
            found += [
                Match(test_row, part, row, row_part, length, shown)
                for test_row, part in tests.places[test_text]
                if not (part == row_part == "prompt" and (test_row, row) in same)
            ]
    return sorted(found, key=lambda match: (match.test, match.row, match.test_part, match.row_part))


class _Texts:
    """The distinct texts of rows as one array of word numbers.

    Attributes:
        texts: The texts.
        places: Rows and parts in which each text occurs.
        numbers: (total,) int64, the number of each word.
        text: (total,) int64, the text of each word.
        starts: (n,) int64, the position of the first word of each text.
    """

    def __init__(self, examples: Examples, vocabulary: Mapping[str, int]) -> None:
        places: defaultdict[str, list[Place]] = defaultdict(list)
        for row, example in enumerate(examples):
            for part in PARTS:
                places[example[part]].append((row, part))
        self.texts = list(places)
        self.places = list(places.values())
        parts = [np.fromiter(map(vocabulary.__getitem__, words(text)), dtype=np.int64) for text in self.texts]
        counts = np.array([len(part) for part in parts], dtype=np.int64)
        self.numbers = np.concatenate([np.zeros(0, dtype=np.int64), *parts])
        self.text = np.repeat(np.arange(len(parts)), counts)
        self.starts = np.cumsum(counts) - counts

    def runs(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Return a 64-bit hash of every run of `length` words, and the position of its first word."""
        n = max(0, len(self.numbers) - length + 1)
        mixed = _mixed(self.numbers)
        hashes = np.zeros(n, dtype=np.uint64)
        for offset in range(length):
            hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + mixed[offset : offset + n]
        inside = self.text[:n] == self.text[length - 1 :][:n]
        return hashes[inside], np.flatnonzero(inside)


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Hash word numbers to 64 bits by splitmix64."""
    values = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _shared_runs(tests: _Texts, trains: _Texts, length: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return ((test text, training text), (words, first word in the latter)) of runs of at least `length` words."""
    test_hashes, test_positions = tests.runs(length)
    known = np.unique(test_hashes)
    train_hashes, train_positions = trains.runs(length)
    shared = np.isin(train_hashes, known)
    train_hashes, train_positions = train_hashes[shared], train_positions[shared]
    shared = np.isin(test_hashes, train_hashes)
    left = _first_occurrences(np.searchsorted(known, test_hashes[shared]), test_positions[shared], tests)
    right = _first_occurrences(np.searchsorted(known, train_hashes), train_positions, trains)
    by_run: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for run, test_text, start in left:
        by_run[run].append((test_text, start))
    # Consecutive runs in both texts, which have the same difference of positions, form one longer run.
    diagonals: defaultdict[tuple[int, int, int], list[int]] = defaultdict(list)
    for run, train_text, place in right:
        for test_text, start in by_run.get(run, ()):
            diagonals[test_text, train_text, place - start].append(place)
    return [(key[:2], _longest(places, length)) for key, places in diagonals.items()]


def _first_occurrences(runs: np.ndarray, positions: np.ndarray, texts: _Texts) -> list[tuple[int, int, int]]:
    """Return (run, text, word in the text) of the first occurrence of runs in texts, without common phrases."""
    if not len(runs):
        return []
    keys, first = np.unique(runs * len(texts.texts) + texts.text[positions], return_index=True)
    run, text = np.divmod(keys, len(texts.texts))
    rare = np.bincount(run)[run] <= COMMON
    places = positions[first] - texts.starts[text]
    return list(zip(run[rare].tolist(), text[rare].tolist(), places[rare].tolist(), strict=True))


def _longest(starts: list[int], length: int) -> tuple[int, int]:
    """Return (words, first word) of the longest run formed by consecutive runs of `length` words."""
    ordered = np.array(sorted(starts))
    pieces = np.split(ordered, np.flatnonzero(np.diff(ordered) > 1) + 1)
    best = max(pieces, key=len)
    return len(best) + length - 1, int(best[0])


def _same_prompts(tests: _Texts, trains: _Texts) -> list[Match]:
    """Find test prompts with the same words as a training prompt."""
    prompts: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for text, places in zip(trains.texts, trains.places, strict=True):
        rows = [row for row, part in places if part == "prompt"]
        if rows:
            prompts[tuple(words(text))] += rows
    matches = []
    for text, places in zip(tests.texts, tests.places, strict=True):
        test_rows = [test for test, part in places if part == "prompt"]
        key = tuple(words(text))
        rows = prompts.get(key, []) if test_rows and key else []
        shown, length = _shown(text, 0, len(key)) if rows else ("", 0)
        matches += [
            Match(test, "prompt", row, "prompt", length, shown, whole=True)
            for test in test_rows
            for row in rows
        ]
    return matches


def _shown(text: str, start: int, count: int) -> tuple[str, int]:
    """Return `count` words of a text from the `start`-th on, on one line, and their number (see LETTERS)."""
    _, spans = word_spans(text)
    shared = spans[start : start + count]
    shown = " ".join(text[shared[0][0] : shared[-1][1]].split())
    letters = 0 if text.isascii() else len(UNSPACED.findall(shown))
    length = count - letters + letters // LETTERS
    return (shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}..."), length
