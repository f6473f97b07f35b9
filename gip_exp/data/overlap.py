"""Test questions in the pool: runs of words that a training row shares with a test row, in the prompt or the completion.

Runs of 8 and of 13 words are looked for, the lengths that reports on language models use; each match is given with the
longest run that the two texts share. As in the report on GPT-3, a run that more than ten different texts of the pool,
or of the test set, hold is a common phrase and counts for nothing. A prompt that stands in the pool whole counts
whatever its length. Case, punctuation and line breaks make no difference. Where a script has no spaces, two letters
count as a word.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gip_exp.words import UNSPACED, word_spans, words

LENGTHS = (8, 13)  # words
COMMON = 10  # texts
LETTERS = 2  # of a word, in a script without spaces
LONGEST_SHOWN = 300  # characters of a match
PARTS = ("prompt", "completion")
Examples = Sequence[Mapping[str, Any]]
Place = tuple[int, str]  # row, part


@dataclass(frozen=True)
class Match:
    """Test row `test` and training row `row` share `words` words in a row; `whole`: the prompts are the same."""

    test: int
    test_part: str
    row: int
    row_part: str
    words: int
    text: str
    whole: bool = False

    def counts(self, length: int) -> bool:
        """Whether it makes the test row a touched one at this length."""
        return self.whole or self.words >= length


def find_overlap(pool: Examples, test: Examples) -> list[Match]:
    """Every pair of a test row's part and a training row's part that share a run, the longest run of each."""
    vocabulary: defaultdict[str, int] = defaultdict()
    vocabulary.default_factory = vocabulary.__len__  # a new word gets the next number
    asked, held = _Texts(test, vocabulary), _Texts(pool, vocabulary)
    longest: dict[tuple[int, int], tuple[int, int]] = {}
    for length in LENGTHS:
        for pair, run in _shared_runs(asked, held, length):
            longest[pair] = max(longest.get(pair, (0, 0)), run)
    found = _whole(asked, held)
    same = {(match.test, match.row) for match in found}
    for (question, text), (count, start) in longest.items():
        shown, length = _shown(held.texts[text], start, count)
        if length < LENGTHS[0]:
            continue
        for row, row_part in held.places[text]:
            found += [
                Match(asked_row, part, row, row_part, length, shown)
                for asked_row, part in asked.places[question]
                if not (part == row_part == "prompt" and (asked_row, row) in same)
            ]
    return sorted(found, key=lambda match: (match.test, match.row, match.test_part, match.row_part))


class _Texts:
    """The different texts of some rows as one array of word numbers, and where each text stands.

    numbers: (total,) a number for every word. text: (total,) which text it is in. starts: first word of each text.
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
        """A 64-bit hash of every run of `length` words, and the position of its first word."""
        n = max(0, len(self.numbers) - length + 1)
        mixed = _mixed(self.numbers)
        hashes = np.zeros(n, dtype=np.uint64)
        for offset in range(length):
            hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + mixed[offset : offset + n]
        inside = self.text[:n] == self.text[length - 1 :][:n]
        return hashes[inside], np.flatnonzero(inside)


def _mixed(numbers: np.ndarray) -> np.ndarray:
    """Splitmix64: word numbers spread over 64 bits."""
    values = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def _shared_runs(asked: _Texts, held: _Texts, length: int) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """((text of `asked`, text of `held`), (words, first word in the latter)) for runs of at least `length` words."""
    hashes, positions = asked.runs(length)
    known = np.unique(hashes)
    theirs, places = held.runs(length)
    shared = np.isin(theirs, known)
    theirs, places = theirs[shared], places[shared]
    ours = np.isin(hashes, theirs)
    left = _firsts(np.searchsorted(known, hashes[ours]), positions[ours], asked)
    right = _firsts(np.searchsorted(known, theirs), places, held)
    at: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
    for run, text, place in left:
        at[run].append((text, place))
    # Runs that follow one another in both texts are one longer run: they lie on one diagonal.
    diagonals: defaultdict[tuple[int, int, int], list[int]] = defaultdict(list)
    for run, text, place in right:
        for question, start in at.get(run, ()):
            diagonals[question, text, place - start].append(place)
    return [((question, text), _longest(starts, length)) for (question, text, _), starts in diagonals.items()]


def _firsts(runs: np.ndarray, positions: np.ndarray, texts: _Texts) -> list[tuple[int, int, int]]:
    """(run, text, word in the text) where a run first stands in a text; runs of too many texts are left out."""
    if not len(runs):
        return []
    keys, first = np.unique(runs * len(texts.texts) + texts.text[positions], return_index=True)
    run, text = np.divmod(keys, len(texts.texts))
    rare = np.bincount(run)[run] <= COMMON
    places = positions[first] - texts.starts[text]
    return list(zip(run[rare].tolist(), text[rare].tolist(), places[rare].tolist(), strict=True))


def _longest(starts: list[int], length: int) -> tuple[int, int]:
    """(words, first word) of the longest stretch among the starts of runs of `length` words."""
    ordered = np.array(sorted(starts))
    pieces = np.split(ordered, np.flatnonzero(np.diff(ordered) > 1) + 1)
    best = max(pieces, key=len)
    return len(best) + length - 1, int(best[0])


def _whole(asked: _Texts, held: _Texts) -> list[Match]:
    """Test prompts that are a training row's prompt, word by word."""
    prompts: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for text, places in zip(held.texts, held.places, strict=True):
        rows = [row for row, part in places if part == "prompt"]
        if rows:
            prompts[tuple(words(text))] += rows
    matches = []
    for text, places in zip(asked.texts, asked.places, strict=True):
        asking = [test for test, part in places if part == "prompt"]
        said = tuple(words(text))
        rows = prompts.get(said, []) if asking and said else []
        shown, length = _shown(text, 0, len(said)) if rows else ("", 0)
        matches += [
            Match(test, "prompt", row, "prompt", length, shown, whole=True) for test in asking for row in rows
        ]
    return matches


def _shown(text: str, start: int, count: int) -> tuple[str, int]:
    """`count` words of a text from the `start`-th on, as they stand there but on one line, and how many that is."""
    _, spans = word_spans(text)
    shared = spans[start : start + count]
    shown = " ".join(text[shared[0][0] : shared[-1][1]].split())
    letters = 0 if text.isascii() else len(UNSPACED.findall(shown))
    length = count - letters + letters // LETTERS
    return (shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}..."), length
