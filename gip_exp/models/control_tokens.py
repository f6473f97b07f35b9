"""Control tokens inside people's text: broken up, so that they stay text for the model as they do for a judge."""

import re
from collections.abc import Callable
from typing import Any

from gip_exp.llm.rubric import neutralise

Clean = Callable[[str], str]


def cleaner(tokenizer: Any) -> Clean:
    """A function that breaks up, by blanks, what the tokenizer would read as one of its control tokens.

    Args:
        tokenizer: Its special tokens count, and of its other added tokens those in a control token's form (`<think>`);
            an added token that is plain text (runs of blanks, words) is left alone.
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
    """A value of JSON with every text in it cleaned, keys included."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, list):
        return [cleaned(item, clean) for item in value]
    if isinstance(value, dict):
        return {clean(key): cleaned(item, clean) for key, item in value.items()}
    return value
