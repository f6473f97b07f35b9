"""One definition of the prompt per model family, used by training and by every evaluation alike.

`plain` fills a template (base models); `chat` applies the tokenizer's own chat template with thinking off. Both give
plain strings without special tokens at the front, since tokenizers add those themselves. Control tokens in people's
text are broken up, so that they stay text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gip_exp.config.model import Prompt
from gip_exp.errors import UserError
from gip_exp.models.chat_template import ChatTemplate, Rendered
from gip_exp.models.control_tokens import Clean, cleaner


@dataclass(frozen=True)
class Renderer:
    """Turns an example into what the model reads and what it should write.

    Attributes:
        config: The model's `prompt` section.
        clean: Breaks up control tokens.
        eos: The token that ends a completion.
        chat: The chat template; None for plain prompts.
    """

    config: Prompt
    clean: Clean
    eos: str
    chat: ChatTemplate | None = None
    bos: str | None = field(default=None, kw_only=True)

    def prompt(self, text: str) -> str:
        """What the model reads of a question."""
        if self.chat is None:
            return self._filled(text)
        return self._chatted([{"role": "user", "content": text}])

    def conversation(self, turns: Sequence[Mapping[str, str]]) -> str:
        """What the model reads of user and assistant turns that end with a user's.

        Plain: every question in the template, every answer after it as in training, a line break between two pairs.
        """
        if self.chat is not None:
            return self._chatted(turns)
        return "".join(
            self._filled(turn["content"])
            if turn["role"] == "user"
            else self.completion(turn["content"]) + "\n"
            for turn in turns
        )

    def completion(self, text: str) -> str:
        """What the model should write after the prompt, without the end token."""
        return self.config.completion_prefix + self.clean(text)

    def rendered(self, example: Mapping[str, Any]) -> Rendered | None:
        """An example's conversation as the chat template writes it; None for a plain model, a plain question and
        answer, and a conversation that the template refuses.
        """
        if self.chat is None or "turns" not in example:
            return None
        return self.chat.render(example["turns"], example.get("tools", ()))

    def training_row(self, example: Mapping[str, Any]) -> dict[str, str]:
        """`{"prompt", "completion"}` as text: what is learnt is the completion with its end token."""
        rendered = self.rendered(example)
        if rendered is None:
            return {
                "prompt": self.prompt(example["prompt"]),
                "completion": self.completion(example["completion"]) + self.eos,
            }
        start = _common(rendered.prompt, rendered.whole)
        reply = rendered.whole[start:]
        ended = reply.rstrip()  # a template's line break after the end token is nothing to evaluate
        return {
            "prompt": self._without_start(rendered.whole[:start]),
            "completion": ended if ended.endswith(self.eos) else reply,
        }

    def _filled(self, text: str) -> str:
        return self.config.template.replace("{prompt}", self.clean(text))  # not str.format: braces are text

    def _chatted(self, turns: Sequence[Mapping[str, str]]) -> str:
        assert self.chat is not None
        cleaned = [{**turn, "content": self.clean(turn["content"])} for turn in turns]
        return self._without_start(self.chat.text(cleaned, start_reply=True, enable_thinking=False))

    def _without_start(self, text: str) -> str:
        return text.removeprefix(self.bos) if self.bos else text


def renderer(config: Prompt, tokenizer: Any) -> Renderer:
    """The renderer for a model's `prompt` section. Raises UserError when the tokenizer lacks what it needs."""
    if tokenizer.eos_token is None:
        raise UserError("the model's tokenizer has no end token (eos_token): completions could not be ended")
    clean = cleaner(tokenizer)
    if config.style == "plain":
        return Renderer(config, clean, tokenizer.eos_token)
    if tokenizer.chat_template is None:
        raise UserError(
            "model.prompt.style=chat, but the model's tokenizer has no chat template (a base model?): "
            "use model.prompt.style=plain with model.prompt.template"
        )
    chat = ChatTemplate(tokenizer, clean)
    return Renderer(config, clean, tokenizer.eos_token, chat, bos=tokenizer.bos_token)


def _common(one: str, other: str) -> int:
    """The length of the beginning that two texts share."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
