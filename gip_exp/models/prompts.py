"""One definition of the prompt per model family, used by training and by every evaluation alike.

`plain` fills a template (base models); `chat` applies the tokenizer's own chat template with thinking off and no
system role. Both give plain strings without special tokens at the front, since tokenizers add those themselves.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gip_exp.config.model import Prompt
from gip_exp.errors import UserError


@dataclass(frozen=True)
class Renderer:
    """Turns an example into what the model reads and what it should write."""

    prompt: Callable[[str], str]
    conversation: Callable[
        [Sequence[Mapping[str, str]]], str
    ]  # user and assistant turns, ending with a user's
    completion_prefix: str
    eos: str

    def completion(self, text: str) -> str:
        """What the model should write after the prompt, without the end token."""
        return self.completion_prefix + text

    def training_row(self, example: dict[str, str]) -> dict[str, str]:
        """`{"prompt", "completion"}` as SFTTrainer takes it: the loss covers the completion and its end token."""
        return {
            "prompt": self.prompt(example["prompt"]),
            "completion": self.completion(example["completion"]) + self.eos,
        }


def renderer(config: Prompt, tokenizer: Any) -> Renderer:
    """The renderer for a model's `prompt` section. Raises UserError when the tokenizer lacks what it needs."""
    if tokenizer.eos_token is None:
        raise UserError("the model's tokenizer has no end token (eos_token): completions could not be ended")
    if config.style == "plain":
        return Renderer(
            lambda text: _fill(config.template, text),
            lambda turns: _plain_conversation(config, turns),
            config.completion_prefix,
            tokenizer.eos_token,
        )
    if tokenizer.chat_template is None:
        raise UserError(
            "model.prompt.style=chat, but the model's tokenizer has no chat template (a base model?): "
            "use model.prompt.style=plain with model.prompt.template"
        )
    return Renderer(
        lambda text: _chat(tokenizer, [{"role": "user", "content": text}]),
        lambda turns: _chat(tokenizer, turns),
        config.completion_prefix,
        tokenizer.eos_token,
    )


def _fill(template: str, text: str) -> str:
    return template.replace("{prompt}", text)  # not str.format: braces in people's text are text


def _plain_conversation(config: Prompt, turns: Sequence[Mapping[str, str]]) -> str:
    """Every question in the template, every answer after it as in training, a line break between the two pairs."""
    parts = []
    for turn in turns:
        asked = turn["role"] == "user"
        parts.append(
            _fill(config.template, turn["content"])
            if asked
            else config.completion_prefix + turn["content"] + "\n"
        )
    return "".join(parts)


def _chat(tokenizer: Any, turns: Sequence[Mapping[str, str]]) -> str:
    from jinja2 import TemplateError

    try:
        rendered = tokenizer.apply_chat_template(
            list(turns), tokenize=False, add_generation_prompt=True, enable_thinking=False
        )
    except TemplateError as error:  # also what the template's sandbox refuses
        raise UserError(
            f"the model's chat template cannot be used ({error}): use another model, or model.prompt.style=plain"
        ) from error
    bos = tokenizer.bos_token
    return rendered.removeprefix(bos) if bos else rendered
