"""Rubric `instruction`: flaws of a reply that its surface gives away. 1 means that a rule finds nothing against it.

complete    0 when the reply breaks off: it ends without the end of a sentence although its other sentences or list
            items have one, or it is code with open brackets
unrepeated  share of its three-word sequences that are not repeats, over 0.8, at most 1
on_topic    0 when a reply of eight content words or more takes up none of the prompt's two or more, 0.5 for one of
            them; content words have over three letters, are no small words, and are compared by their first five
own_words   near 0 when it says the prompt's first line over again, more than half of it, and little else
fluent      1 - three times the share of its articles and prepositions that no English phrase goes on from as they do
            ("the of", "in is"), and of "The" and alike amid a clause; 1 below three of them, and for code
language    0 when the reply is in another language than the prompt, unless the prompt asks for a translation; then the
            other attributes are 0 too, as they would mean nothing

The words are those of English and, to tell them apart, of six other languages in Latin letters; in these `fluent` finds
nothing. Rows in other scripts are unscored (NaN, `readable`). Nothing here says whether a reply is true or good: the
attributes tell flawed rows from others (measured by `tests/benchmarks/bench_rules.py`) and leave sound rows equal, a
one-word answer and code among them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

import regex

ATTRIBUTES = ("complete", "unrepeated", "on_topic", "own_words", "fluent", "language")
ENOUGH = 8  # content words of a reply that could have named the topic
SOME = 3  # articles and prepositions: fewer show nothing
OWN = 0.3  # of a reply's content words: as many of its own are enough
SHORT = 12  # words: a line of no more may be a title or an answer without a full stop
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
# Words that tell a language from the others here.
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
_TELLING = {name: frozenset(words.split()) for name, words in _LANGUAGES.items()}
_ANSWERS = frozenset("yes no not true false".split())


def readable(prompt: str, completion: str) -> bool:
    """Whether the rules mean anything here: the prompt is in Latin letters and asks for a reply in them."""
    return mostly_latin(prompt) and (mostly_latin(completion) or not TRANSLATION.search(prompt))


def judge(prompt: str, completion: str) -> tuple[float, ...]:
    """The attributes in the order of `ATTRIBUTES`."""
    if not readable(prompt, completion):
        return (math.nan,) * len(ATTRIBUTES)
    reply = completion.strip()
    words, asked = _words(reply), _words(prompt)
    if not reply or not (TRANSLATION.search(prompt) or _same_language(asked, reply, words)):
        return (0.0,) * len(ATTRIBUTES)
    code = bool(CODE.search(reply))
    return (
        float(_is_complete(reply, code)),
        _unrepeated(reply),
        _on_topic(asked, words),
        _own_words(prompt, reply),
        1.0 if code or language_of(words) != "English" else _fluent(reply),
        1.0,
    )


def language(text: str) -> str:
    """The language of a text in Latin letters, of the seven known here; '' where it cannot be told."""
    return language_of(_words(text))


def _words(text: str) -> list[str]:
    return [word.lower() for word in WORD.findall(text)]


def mostly_latin(text: str) -> bool:
    """Whether most letters are Latin; a text without letters counts as such."""
    return text.isascii() or 2 * len(LATIN.findall(text)) >= len(LETTER.findall(text))


def language_of(words: Sequence[str]) -> str:
    """The language with most telling words among `words` (lower case); '' below three of them, or half of them English."""
    found = {name: sum(map(telling.__contains__, words)) for name, telling in _TELLING.items()}
    best = max(found, key=lambda name: found[name])
    unsure = best != "English" and 2 * found["English"] >= found[best]
    return best if found[best] >= SOME and not unsure else ""


def _same_language(asked: Sequence[str], reply: str, words: Sequence[str]) -> bool:
    """False when the reply is known to be in a language that no word of the prompt speaks for.

    A prompt of too few telling words counts as English.
    """
    if not mostly_latin(reply):
        return False
    theirs = language_of(words)
    if not theirs or any(word in _TELLING[theirs] for word in asked):
        return True
    return theirs == (language_of(asked) or "English")


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
    """Beginnings of the words that say what a text is about."""
    return {word[:5] for word in words if len(word) > 3 and word not in _TELLING["English"]}


def _on_topic(asked: Sequence[str], words: Sequence[str]) -> float:
    topic, said = _content(asked), _content(words)
    if len(topic) < 2 or len(said) < ENOUGH:
        return 1.0
    return min(1.0, len(topic & said) / 2)


def _own_words(prompt: str, reply: str) -> float:
    """Numbers, yes and no are what many questions ask for: they count as content here."""

    def content(text: str) -> list[str]:
        words = re.findall(r"\w+", text.lower())
        return [word[:5] for word in words if len(word) > 3 or word in _ANSWERS or word.isdigit()]

    first, said, known = set(content(prompt.strip().split("\n")[0])), content(reply), set(content(prompt))
    if not first or not said:
        return 1.0
    # What the prompt gives to work on, below its first line, is half the reply's own where it takes it up.
    own = sum(0.0 if word in first else 0.5 if word in known else 1.0 for word in said) / len(said)
    repeated = max(0.0, 2 * len(first.intersection(said)) / len(first) - 1)  # half of it may well come again
    return 1.0 - repeated * max(0.0, 1.0 - own / OWN)


def _fluent(reply: str) -> float:
    looked_at = list(_transitions(reply))
    return max(0.0, 1.0 - 3 * sum(looked_at) / len(looked_at)) if len(looked_at) >= SOME else 1.0


def _transitions(reply: str) -> Iterator[bool]:
    """For every article and preposition that has a next word in its clause: whether English cannot go on so.

    One in capitals amid a clause is none ("grade A is", "The Lord of the Rings"), unless a small word follows it.
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
