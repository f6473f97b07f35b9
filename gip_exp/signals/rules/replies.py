"""Rubric `instruction`: flaws that are visible on the surface of a reply. An attribute is 1 if no flaw is found.

complete    0 if the reply is truncated: it ends within a sentence although its other sentences or list items are
            complete, or it is code with open brackets
unrepeated  share of distinct word trigrams, divided by 0.8, at most 1
on_topic    0 if a reply with at least eight content words has none of the prompt's (at least two), 0.5 if it has one.
            Content words have more than three letters, are not function words, and are compared by their first five letters
own_words   near 0 if the reply repeats more than half of the first line of the prompt (in a conversation, of the last user
            turn) and contains little else
fluent      1 - 3 * share of articles and prepositions that no English phrase continues in this way ("the of", "in is"),
            or that are capitalised within a clause; 1 with fewer than three of them, and for code
language    0 if the reply is in another language than the prompt, unless the prompt asks for a translation; the other
            attributes are then 0 too

Languages are recognised by frequent words: English, and six other languages in Latin script, for which `fluent` is always
1. In a conversation the user's turns tell the language: system messages, tools and their results are often in English,
whatever the user speaks. Rows in other scripts are unscored (NaN, see `readable`). The attributes do not tell whether a
reply is true or good: they separate flawed rows from others (measured by `tests/benchmarks/bench_rules.py`) and do not rank
sound rows, including one-word answers and code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

import regex

ATTRIBUTES = ("complete", "unrepeated", "on_topic", "own_words", "fluent", "language")
ENOUGH = 8  # minimum content words for `on_topic`
SOME = 3  # minimum articles and prepositions for `fluent`, and frequent words to recognise a language
OWN = 0.3  # sufficient share of a reply's content words that are not in the prompt
SHORT = 12  # words; a line up to this length may be a title or an answer without a full stop
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?")
SENTENCE_END = regex.compile(r"[\p{Sentence_Terminal}…]\W*$")
INNER_END = regex.compile(r"(?<=\p{L}\p{L})[\p{Sentence_Terminal}][\p{Pe}\p{Pf}\p{Quotation_Mark}]*\s")
CODE = re.compile(
    r"```|^\s*(?:def|class|import|from|for|while|return|SELECT|var|let|const|function|#include)\b|[{};]\s*$|\w\(.*\)\s*$",
    re.MULTILINE,
)
ITEM = re.compile(r"\s*(?:[-*•]|\d+[.)]|[a-zA-Z][.)])\s")
CLAUSE_END = re.compile(r"[^\w\s'’]+|\n")
LATIN = regex.compile(r"\p{Latin}")
LETTER = regex.compile(r"\p{L}")
_NO_LETTERS = bytes(code for code in range(128) if not chr(code).isalpha())
TRANSLATION = re.compile(
    r"\b(?:translat\w*|language|english|spanish|french|german|italian|portuguese|dutch|latin|chinese|mandarin|japanese|"
    r"korean|arabic|russian|hindi|turkish|greek|hebrew|polish|swedish|vietnamese|thai)\b",
    re.IGNORECASE,
)

_DETERMINERS = frozenset("a an the my your its our their every".split())
_PREPOSITIONS = frozenset("of in for with from by at into to on".split())
_VERBS = "of is are was were been am and or but if than because has had can could will would should may might does did"
_AFTER_PREPOSITION = frozenset(_VERBS.split())
_AFTER_DETERMINER = _AFTER_PREPOSITION | frozenset(
    "a an the be have do not in for with from by at into to on it they he she we you i".split()
)
NOT_AFTER = {
    **dict.fromkeys(_PREPOSITIONS, _AFTER_PREPOSITION),
    **dict.fromkeys(_DETERMINERS, _AFTER_DETERMINER),
}
# Frequent words that distinguish the languages.
_LANGUAGES = {
    "English": "the and of is that with for it are this you your be have not by from can which they their what how who "
    "describe write give list name explain create following sentence example find generate these some",
    "German": "der die und das ist nicht ein eine den dem des mit von sie auf für im auch sich wurde es er zu zum zur "
    "einer eines einem einen bei werden hat aus nach oder sind über vom wird wie was",
    "French": "le la les de des et est un une du dans que pour qui pas sur vous avec il au plus ce sont en elle être aux",
    "Spanish": "el la los las de es un una en del que por con para su más se lo al pero está son muy cómo qué",
    "Italian": "il la gli di un una della del che per con non sono si alla più anche questo nel come cosa",
    "Portuguese": "os de um uma da do que por com para não em se mais dos das ao são você é",
    "Dutch": "het een en van dat niet op te zijn voor met aan er ook wordt ze bij deze",
}
_FREQUENT = {name: frozenset(words.split()) for name, words in _LANGUAGES.items()}
_LANGUAGES_OF = {
    word: [name for name, frequent in _FREQUENT.items() if word in frequent]
    for word in frozenset().union(*_FREQUENT.values())
}
_ANSWERS = frozenset("yes no not true false".split())


def readable(prompt: str, completion: str, asked: str) -> bool:
    """Return whether the rules apply: a user who writes Latin letters, and no reply in another script that is asked for.

    One that the user writes too is: Chinese with the Latin names of products has more Latin letters than others.
    """
    if not mostly_latin(asked):
        return False
    return mostly_latin(completion) or not (TRANSLATION.search(prompt) or _has_other_letters(asked))


def judge(prompt: str, completion: str, asked: str | None = None) -> tuple[float, ...]:
    """Compute the attributes, in the order of `ATTRIBUTES`.

    Args:
        prompt: Everything before the reply.
        completion: The reply.
        asked: What the user wrote, which tells the language and what could be repeated; by default the prompt.
    """
    asked = prompt if asked is None else asked
    if not readable(prompt, completion, asked):
        return (math.nan,) * len(ATTRIBUTES)
    reply = completion.strip()
    words = _words(reply)
    if not reply or not (TRANSLATION.search(prompt) or _same_language(_words(asked), reply, words)):
        return (0.0,) * len(ATTRIBUTES)
    code = bool(CODE.search(reply))
    return (
        float(_is_complete(reply, code)),
        _unrepeated(reply),
        _on_topic(_words(prompt), words),
        _own_words(asked, prompt, reply),
        1.0 if code or language_of(words) != "English" else _fluent(reply),
        1.0,
    )


def language(text: str) -> str:
    """Return the language of a text, one of seven in Latin script; '' if it is not clear."""
    return language_of(_words(text))


def _words(text: str) -> list[str]:
    return [word.lower() for word in WORD.findall(text)]


def mostly_latin(text: str) -> bool:
    """Return whether most letters are Latin; also True for a text without letters."""
    if text.isascii():
        return True
    ascii_part = text.encode("ascii", "ignore")
    others = len(text) - len(ascii_part)
    if len(ascii_part.translate(None, _NO_LETTERS)) >= others:  # even if none of the others is Latin
        return True
    return 2 * len(LATIN.findall(text)) >= len(LETTER.findall(text))


def _has_other_letters(text: str) -> bool:
    return not text.isascii() and len(LATIN.findall(text)) < len(LETTER.findall(text))


def language_of(words: Sequence[str]) -> str:
    """Return the language with most frequent words in `words` (lower case).

    Returns '' below three of them, or if there are half as many English ones.
    """
    found = dict.fromkeys(_FREQUENT, 0)
    for word in words:
        for name in _LANGUAGES_OF.get(word, ()):
            found[name] += 1
    best = max(found, key=lambda name: found[name])
    unsure = best != "English" and 2 * found["English"] >= found[best]
    return best if found[best] >= SOME and not unsure else ""


def _same_language(prompt_words: Sequence[str], reply: str, words: Sequence[str]) -> bool:
    """Return False if the reply is in a known language of which the prompt has no frequent word.

    A prompt without a clear language counts as English.
    """
    if not mostly_latin(reply):
        return False
    reply_language = language_of(words)
    if not reply_language or any(word in _FREQUENT[reply_language] for word in prompt_words):
        return True
    return reply_language == (language_of(prompt_words) or "English")


def _is_complete(reply: str, code: bool) -> bool:
    if code:
        return all(reply.count(left) == reply.count(right) for left, right in ("()", "[]", "{}"))
    if not reply[-1].isalnum() and reply[-1] not in ",:;–([{":
        return True
    *before, last = [line.strip() for line in reply.split("\n") if line.strip()]
    words = WORD.findall(last)
    if before and (ITEM.match(last) or len(words) <= 4):  # an item of a list, or a signature
        return sum(bool(SENTENCE_END.search(line)) for line in before) * 2 <= len(before)
    hashtag = last.split()[-1].startswith(("#", "@", "http"))
    return hashtag or (len(words) <= SHORT and not INNER_END.search(last))


def _unrepeated(reply: str) -> float:
    words = re.findall(r"\w+", reply.lower())
    runs = [tuple(words[i : i + 3]) for i in range(len(words) - 2)]
    return min(1.0, len(set(runs)) / len(runs) / 0.8) if runs else 1.0


def _content(words: Sequence[str]) -> set[str]:
    """Return the first five letters of the content words."""
    return {word[:5] for word in words if len(word) > 3 and word not in _FREQUENT["English"]}


def _on_topic(prompt_words: Sequence[str], words: Sequence[str]) -> float:
    topic, content = _content(prompt_words), _content(words)
    if len(topic) < 2 or len(content) < ENOUGH:
        return 1.0
    return min(1.0, len(topic & content) / 2)


def _own_words(asked: str, prompt: str, reply: str) -> float:
    """Compute `own_words`; numbers, yes and no count as content, because many questions ask for them."""

    def content(text: str) -> list[str]:
        words = re.findall(r"\w+", text.lower())
        return [word[:5] for word in words if len(word) > 3 or word in _ANSWERS or word.isdigit()]

    first, words, known = set(content(asked.strip().split("\n")[0])), content(reply), set(content(prompt))
    if not first or not words:
        return 1.0
    # Words from the prompt's material, below its first line, count half.
    own = sum(0.0 if word in first else 0.5 if word in known else 1.0 for word in words) / len(words)
    repeated = max(0.0, 2 * len(first.intersection(words)) / len(first) - 1)  # repeating up to half is normal
    return 1.0 - repeated * max(0.0, 1.0 - own / OWN)


def _fluent(reply: str) -> float:
    wrong = list(_transitions(reply))
    return max(0.0, 1.0 - 3 * sum(wrong) / len(wrong)) if len(wrong) >= SOME else 1.0


def _transitions(reply: str) -> Iterator[bool]:
    """Yield, for each article and preposition with a next word in its clause, whether this sequence is not English.

    Capitalised ones within a clause are skipped ("grade A is", "The Lord of the Rings") unless a lower-case word follows.
    """
    for clause in CLAUSE_END.split(reply):
        words = clause.split()
        for position, (word, after) in enumerate(pairwise(words)):
            following = NOT_AFTER.get(word.lower())
            if following is None or word == "A":
                continue
            misplaced = word[0].isupper() and position > 0
            if not misplaced or after[0].islower():
                yield misplaced or after in following
