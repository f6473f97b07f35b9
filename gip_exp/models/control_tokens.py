"""Breaking up control tokens in the text of rows, so that the model, like a judge, reads them as text."""

import re
from collections.abc import Callable
from typing import Any

from gip_exp.llm.rubric import neutralise

Clean = Callable[[str], str]


def cleaner(tokenizer: Any) -> Clean:
    """Return a function that inserts blanks into the control tokens of a tokenizer.

    Control tokens are the special tokens, and other added tokens in the form of one (`<think>`); added tokens that are
    plain text (runs of blanks, words) are not changed.
    """
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    control = [str(token) for token in added if token.special or neutralise(str(token)) != str(token)]
    control = sorted((token for token in control if len(token) > 1), key=len, reverse=True)
    if not control:
        return str
    pattern = re.compile("|".join(map(re.escape, control)))

    def clean(text: str) -> str:
        return pattern.sub(lambda found: f"{found[0][0]} {found[0][1:-1]} {found[0][-1]}", text)

    return clean


def cleaned(value: Any, clean: Clean) -> Any:
    """Apply `clean` to every text in a JSON value, including keys."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [cleaned(item, clean) for item in value]
    if isinstance(value, dict):
        return {clean(key): cleaned(item, clean) for key, item in value.items()}
    return value
