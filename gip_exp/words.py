"""Split text in any script into words, for TF-IDF, near-duplicates and the overlap with test questions.

A word is a run of letters, digits and their combining marks. Chinese, Japanese, Thai, Khmer, Lao and Burmese are
written without spaces, so each letter with its marks is a word there, and n-grams of letters take the place of words.
`tokens` also returns every other visible character as a token of its own.
"""

import re

import regex

SCRIPTS = ("Han", "Hiragana", "Katakana", "Thai", "Khmer", "Lao", "Myanmar")  # without spaces between words
_OF_THEM = "".join(rf"\p{{scx={script}}}" for script in SCRIPTS)
_UNSPACED = rf"[[{_OF_THEM}]&&[\p{{L}}\p{{N}}]]"
_LETTER = rf"[[\p{{L}}\p{{N}}_]--{_UNSPACED}]"
_WORD = rf"{_UNSPACED}\p{{M}}*|{_LETTER}(?:{_LETTER}|[\p{{M}}\p{{Join_Control}}])*"
LETTER = regex.compile(r"\p{L}")
UNSPACED = regex.compile(f"(?V1){_UNSPACED}")
WORD = regex.compile(f"(?V1){_WORD}")
TOKEN = regex.compile(rf"(?V1){_WORD}|[^\p{{L}}\p{{N}}_\s]")


# Equivalent for ASCII, three times as fast.
ASCII_WORD, ASCII_TOKEN = re.compile(r"\w+"), re.compile(r"\w+|[^\w\s]")


def tokens(text: str) -> list[str]:
    """Return the words and other visible characters, in order."""
    return (ASCII_TOKEN if text.isascii() else TOKEN).findall(text)


def words(text: str) -> list[str]:
    """Return the words, case-folded, in order."""
    return (ASCII_WORD if text.isascii() else WORD).findall(text.casefold())


def word_spans(text: str) -> tuple[list[str], list[tuple[int, int]]]:
    """Return the case-folded words, and the start and end of each in `text`."""
    spans = [match.span() for match in (ASCII_WORD if text.isascii() else WORD).finditer(text)]
    return [text[start:end].casefold() for start, end in spans], spans


def is_unspaced(text: str) -> bool:
    """Return whether most letters of the text are of a script without spaces."""
    return not text.isascii() and 2 * len(UNSPACED.findall(text)) > len(LETTER.findall(text))
