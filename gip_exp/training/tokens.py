"""Token ids and labels of examples, for fine-tuning and for the warm-up and gradients of LESS.

A plain question and answer is tokenised as one text; the loss covers the tokens after the prompt. A conversation is
rendered by the chat template with its tools; the loss covers the last reply (`train.loss_on=last_reply`) or every
assistant turn (`all_replies`). Ids and labels equal those of TRL on the same turns (`prompt` and `completion`, or
`messages` with `assistant_only_loss`), except that an empty reasoning block, which is part of the prompt at inference,
has no loss.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gip_exp.config.train import LoraTrain
from gip_exp.errors import UserError
from gip_exp.models.chat_template import REFUSED, ChatTemplate, Rendered
from gip_exp.models.prompts import Renderer

IGNORED = -100  # label of a token without loss
MOST_NAMED = 5
BATCH = 1000  # plain rows tokenised at once

Row = dict[str, list[int]]  # input_ids, labels


@dataclass(frozen=True)
class TrainingRows:
    """Token ids and labels of examples, truncated to the maximum length.

    Attributes:
        rows: The m rows to train on, in the order of the examples.
        kept: (m,) int64, the index of the example of each row.
        long: (n,) bool, the examples longer than the maximum length.
        lost: (n,) bool, the examples left out: no token with a loss remains, or they are dropped for their length.
        lengths: (n, 2) int64, tokens before the first one with a loss, and of the whole example, before truncation.
        changes: Adaptations to the chat template, as the end of a sentence -> indices of the examples.
    """

    rows: list[Row]
    kept: np.ndarray
    long: np.ndarray
    lost: np.ndarray
    lengths: np.ndarray
    changes: dict[str, list[int]]

    def notes(self, name: Callable[[int], str], key: str, max_length: int) -> list[str]:
        """Return notes on adapted, truncated and left-out examples.

        Args:
            name: Returns the user's name of an example.
            key: Config key of the training.
            max_length: Its maximum length.
        """
        n = len(self.long)
        notes = [
            f"{len(numbers):,} of {n:,} examples {what} (first: {name(numbers[0])})"
            for what, numbers in self.changes.items()
        ]
        cut, lost = np.flatnonzero(self.long & ~self.lost), np.flatnonzero(self.lost)
        if len(cut):
            notes.append(
                f"{len(cut):,} of {n:,} examples are longer than {key}.max_length={max_length} and are truncated "
                f"({_named(cut, name)})"
            )
        if len(lost):
            notes.append(
                f"{len(lost):,} of {n:,} examples are left out: {_why_lost(self, lost, key, max_length)} "
                f"({_named(lost, name)})"
            )
        return notes


def training_rows(
    examples: Sequence[Mapping[str, Any]], render: Renderer, tokenizer: Any, train: LoraTrain
) -> TrainingRows:
    """Tokenise examples for a training. Raises UserError if there are none."""
    if not examples:
        raise UserError(
            "the selection is empty, so there is nothing to train on: check budget, limit and unscored rows"
        )
    whole, changes = _tokenised(examples, render, tokenizer, train.loss_on)
    starts = [
        next((i for i, label in enumerate(row["labels"]) if label != IGNORED), len(row["labels"]))
        for row in whole
    ]
    lengths = np.array([(start, len(row["input_ids"])) for start, row in zip(starts, whole, strict=True)])
    long = lengths[:, 1] > train.max_length
    lost = lengths[:, 0] >= np.minimum(lengths[:, 1], train.max_length)
    if train.too_long == "drop":
        lost |= long
    kept = np.flatnonzero(~lost)
    rows = [{name: ids[: train.max_length] for name, ids in whole[i].items()} for i in kept]
    return TrainingRows(rows, kept, long, lost, lengths, changes)


def _named(numbers: np.ndarray, name: Callable[[int], str]) -> str:
    more = len(numbers) - MOST_NAMED
    return ", ".join(map(name, numbers[:MOST_NAMED])) + (f" and {more:,} more" if more > 0 else "")


def _why_lost(rows: TrainingRows, lost: np.ndarray, key: str, max_length: int) -> str:
    filled = rows.lengths[lost, 0] >= max_length
    if filled.all():
        return f"their prompts fill {key}.max_length={max_length} tokens, so no token of the answer remains"
    return f"they are longer than {key}.max_length={max_length} ({key}.too_long=drop)"


def _tokenised(
    examples: Sequence[Mapping[str, Any]], render: Renderer, tokenizer: Any, loss_on: str
) -> tuple[list[Row], dict[str, list[int]]]:
    """Return (rows before truncation, in the order of the examples; adaptations to the chat template)."""
    rows: list[Row | None] = [None] * len(examples)
    changes: dict[str, list[int]] = {}
    plain = []
    every_reply = _every_reply(render.chat, tokenizer) if loss_on == "all_replies" and render.chat else None
    for i, example in enumerate(examples):
        rendered = render.rendered(example)
        if rendered is None:
            plain.append(i)
            refused = "turns" in example and render.chat is not None
            if loss_on == "all_replies" and _replies(example) > 1 and render.chat is None:
                raise UserError(
                    "train.loss_on=all_replies needs a chat template (model.prompt.style=chat): a plain model reads a "
                    "conversation as one prompt; use train.loss_on=last_reply"
                )
        else:
            refused = False
            learn = every_reply if every_reply and _replies(example) > 1 else _last_reply(tokenizer)
            rows[i] = learn(rendered)
        for what in sorted(rendered.changes if rendered else [REFUSED] * refused):
            changes.setdefault(what, []).append(i)
    for at in range(0, len(plain), BATCH):
        batch = plain[at : at + BATCH]
        for i, row in zip(batch, _as_text([examples[i] for i in batch], render, tokenizer), strict=True):
            rows[i] = row
    return [row for row in rows if row is not None], changes


def _replies(example: Mapping[str, Any]) -> int:
    return sum(turn["role"] == "assistant" for turn in example.get("turns", ()))


def _as_text(examples: Sequence[Mapping[str, Any]], render: Renderer, tokenizer: Any) -> list[Row]:
    """Tokenise prompt, completion and end token as one text, like TRL does for a plain prompt and completion."""
    texts = [
        (render.prompt(example["prompt"]), render.completion(example["completion"]) + render.eos)
        for example in examples
    ]
    prompts = tokenizer([prompt for prompt, _ in texts])["input_ids"]
    wholes = tokenizer([prompt + completion for prompt, completion in texts])["input_ids"]
    return [_after(prompt, whole) for prompt, whole in zip(prompts, wholes, strict=True)]


def _after(prompt: Sequence[int], whole: list[int]) -> Row:
    """Return a row whose loss begins at the first token that differs from the prompt's."""
    pairs = zip(prompt, whole, strict=False)
    start = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(prompt), len(whole)))
    return {"input_ids": whole, "labels": [IGNORED] * start + whole[start:]}


def _last_reply(tokenizer: Any) -> Callable[[Rendered], Row]:
    """Return a function that puts the loss on the last reply."""

    def learn(rendered: Rendered) -> Row:
        prompt, whole = (
            tokenizer(text, add_special_tokens=False)["input_ids"]
            for text in (rendered.prompt, rendered.whole)
        )
        return _after(prompt, whole)

    return learn


def _every_reply(chat: ChatTemplate, tokenizer: Any) -> Callable[[Rendered], Row]:
    """Return a function that puts the loss on every assistant turn.

    Turns are found by the template's generation markers, or TRL's for a known template; otherwise by rendering the
    conversation up to the beginning and the end of each turn.
    """
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    empty = _empty_reasoning(chat, tokenizer)
    try:
        marked = has_generation_markers(tokenizer.chat_template)
        template = None if marked else get_training_chat_template(tokenizer)
    except ValueError:  # not a template for which TRL has markers
        return lambda rendered: _without_prefix(_by_turns(chat, tokenizer, rendered), empty)

    return lambda rendered: _without_prefix(_by_marks(tokenizer, template, rendered), empty)


def _by_marks(tokenizer: Any, template: str | None, rendered: Rendered) -> Row:
    """Set labels by the template's generation markers.

    Not by transformers' `return_assistant_tokens_mask`, which looks up the tokens of a reply's first and last character:
    a space there, which may belong to no token, leaves out the reply and all later ones, or takes in all that follows.
    """
    from transformers.utils.chat_template_utils import render_jinja_template

    render: Callable[..., Any] = render_jinja_template  # annotated as a text, it returns texts and places
    texts, marked = render(
        [rendered.turns],
        tools=rendered.tools or None,
        chat_template=tokenizer.get_chat_template(template, rendered.tools or None),
        return_assistant_tokens_mask=True,
        **{**tokenizer.special_tokens_map, **rendered.options},
    )
    encoded = tokenizer(texts[0], add_special_tokens=False, return_offsets_mapping=True)
    ids = encoded["input_ids"]
    labels = [IGNORED] * len(ids)
    for start, end in marked[0]:
        for j, (low, high) in enumerate(encoded["offset_mapping"]):
            # A token of nothing but a space has the place behind it, and no length.
            if (low < end and high > start) if low < high else (start < low <= end):
                labels[j] = ids[j]
    return {"input_ids": ids, "labels": labels}


def _by_turns(chat: ChatTemplate, tokenizer: Any, rendered: Rendered) -> Row:
    """Set labels by the position of each turn in the text. Raises UserError if the template rewrites earlier turns."""
    encoded = tokenizer(rendered.whole, add_special_tokens=False, return_offsets_mapping=True)
    labels = [IGNORED] * len(encoded["input_ids"])
    for i, turn in enumerate(rendered.turns):
        if turn["role"] != "assistant":
            continue
        start = chat.text(rendered.turns[:i], rendered.tools, start_reply=True, **rendered.options)
        end = chat.text(rendered.turns[: i + 1], rendered.tools, start_reply=False, **rendered.options)
        if not (rendered.whole.startswith(start) and rendered.whole.startswith(end)):
            raise UserError(
                "train.loss_on=all_replies: the model's chat template changes earlier turns when others follow, and does "
                "not mark replies ({% generation %}), so their tokens cannot be found: use train.loss_on=last_reply"
            )
        for j, (low, high) in enumerate(encoded["offset_mapping"]):
            if len(start) <= low < high <= len(end):
                labels[j] = encoded["input_ids"][j]
    return {"input_ids": encoded["input_ids"], "labels": labels}


def _empty_reasoning(chat: ChatTemplate, tokenizer: Any) -> list[int]:
    """Return the tokens that the template adds to a prompt to turn thinking off: an empty reasoning block."""
    question = [{"role": "user", "content": "x"}]
    thinking, not_thinking = (
        chat.text(question, start_reply=True, enable_thinking=enabled) for enabled in (True, False)
    )
    extra = not_thinking[len(thinking) :] if not_thinking.startswith(thinking) else ""
    return tokenizer(extra, add_special_tokens=False)["input_ids"] if extra else []


def _without_prefix(row: Row, prefix: Sequence[int]) -> Row:
    """Remove the loss from `prefix` at the beginning of each reply."""
    ids, labels = row["input_ids"], list(row["labels"])
    for i in range(len(labels)):
        begins = labels[i] != IGNORED and (i == 0 or row["labels"][i - 1] == IGNORED)
        if prefix and begins and ids[i : i + len(prefix)] == list(prefix):
            labels[i : i + len(prefix)] = [IGNORED] * len(prefix)
    return {"input_ids": ids, "labels": labels}
