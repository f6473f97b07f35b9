"""The prompt format of a model family, used by training and by every evaluation.

`plain` fills a template (base models); `chat` applies the tokenizer's chat template with thinking turned off. Both return
text without the start token where the tokenizer adds it. Control tokens in the text of rows are broken up.
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
    """Converts examples to the text that the model reads and the text that it should generate.

    Attributes:
        config: The model's `prompt` section.
        clean: Breaks up control tokens.
        eos: The token that ends a completion.
        chat: The chat template; None for plain prompts.
        bos: The start token that the tokenizer adds to every text; None if it adds none.
    """

    config: Prompt
    clean: Clean
    eos: str
    chat: ChatTemplate | None = None
    bos: str | None = field(default=None, kw_only=True)

    def prompt(self, text: str) -> str:
        """Return the prompt of a single question."""
        if self.chat is None:
            return self._filled(text)
        return self._chatted([{"role": "user", "content": text}])

    def conversation(self, turns: Sequence[Mapping[str, str]]) -> str:
        """Return the prompt of user and assistant turns, of which the last is the user's.

        For plain prompts, each question fills the template, followed by the answer as in training and a line break.
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
        """Return the text that the model should generate after the prompt, without the end token."""
        return self.config.completion_prefix + self.clean(text)

    def rendered(self, example: Mapping[str, Any]) -> Rendered | None:
        """Render the conversation of an example by the chat template.

        Returns:
            None for plain prompts, for a single question and answer, and for conversations that the template rejects.
        """
        if self.chat is None or "turns" not in example:
            return None
        return self.chat.render(example["turns"], example.get("tools", ()))

    def training_row(self, example: Mapping[str, Any]) -> dict[str, str]:
        """Return `{"prompt", "completion"}` as text, the completion with its end token."""
        rendered = self.rendered(example)
        if rendered is None:
            return {
                "prompt": self.prompt(example["prompt"]),
                "completion": self.completion(example["completion"]) + self.eos,
            }
        start = _common_length(rendered.prompt, rendered.whole)
        reply = rendered.whole[start:]
        ended = reply.rstrip()  # without a template's line break after the end token
        return {
            "prompt": self._without_start(rendered.whole[:start]),
            "completion": ended if ended.endswith(self.eos) else reply,
        }

    def _filled(self, text: str) -> str:
        return self.config.template.replace(
            "{prompt}", self.clean(text)
        )  # not str.format: text may contain braces

    def _chatted(self, turns: Sequence[Mapping[str, str]]) -> str:
        assert self.chat is not None
        cleaned = [{**turn, "content": self.clean(turn["content"])} for turn in turns]
        return self._without_start(self.chat.text(cleaned, start_reply=True, enable_thinking=False))

    def _without_start(self, text: str) -> str:
        return text.removeprefix(self.bos) if self.bos else text


def renderer(config: Prompt, tokenizer: Any) -> Renderer:
    """Return the renderer for a `prompt` section. Raises UserError if the tokenizer has no end token or template."""
    if tokenizer.eos_token is None:
        raise UserError(
            "the model's tokenizer has no end token (eos_token), which completions need: use another model"
        )
    clean = cleaner(tokenizer)
    if config.style == "plain":
        return Renderer(config, clean, tokenizer.eos_token)
    if tokenizer.chat_template is None:
        raise UserError(
            "model.prompt.style=chat, but the model's tokenizer has no chat template (a base model?): "
            "use model.prompt.style=plain with model.prompt.template"
        )
    chat = ChatTemplate(tokenizer, clean)
    return Renderer(config, clean, tokenizer.eos_token, chat, bos=_added_start(tokenizer))


def _added_start(tokenizer: Any) -> str | None:
    """Return the start token if the tokenizer adds it; some have one only for their template (SmolLM2's `<|im_start|>`)."""
    if tokenizer.bos_token is None:
        return None
    added = tokenizer("a")["input_ids"][0] == tokenizer.bos_token_id
    return str(tokenizer.bos_token) if added else None


def _common_length(one: str, other: str) -> int:
    """Return the length of the common prefix of two texts."""
    pairs = zip(one, other, strict=False)
    return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
