"""One prompt format per model family, the same for training and evaluation."""

from types import SimpleNamespace

import pytest

from gip_exp.config.model import Prompt
from gip_exp.errors import UserError
from gip_exp.models.prompts import renderer

PLAIN = Prompt(style="plain", template="Question: {prompt}\nAnswer:", completion_prefix=" ")


class Tokenizer(SimpleNamespace):
    """A tokenizer of one token per character, with its start token before them if it adds one."""

    def __call__(self, text):
        return {"input_ids": [self.bos_token_id] * self.adds_start + [ord(character) for character in text]}


def tokenizer(**extra):
    plain = {
        "eos_token": "<eos>",
        "bos_token": None,
        "bos_token_id": 1,
        "adds_start": True,
        "chat_template": None,
    }
    return Tokenizer(**{**plain, **extra})


def test_a_training_row_is_the_rendered_prompt_and_the_ended_completion():
    row = renderer(PLAIN, tokenizer()).training_row({"id": "1", "prompt": "1+1?", "completion": "2"})
    assert row == {"prompt": "Question: 1+1?\nAnswer:", "completion": " 2<eos>"}


def test_braces_in_peoples_text_are_text():
    assert renderer(PLAIN, tokenizer()).prompt("{x} {prompt}") == "Question: {x} {prompt}\nAnswer:"


def test_a_chat_prompt_uses_the_models_template_without_system_role_or_thinking():
    asked = {}

    def apply(messages, **options):
        asked.update(messages=messages, **options)
        return "<s>[INST] hi [/INST]"

    chat = renderer(
        Prompt(style="chat"), tokenizer(bos_token="<s>", chat_template="x", apply_chat_template=apply)
    )
    assert chat.prompt("hi") == "[INST] hi [/INST]"  # the tokenizer adds its own start token
    assert asked["messages"] == [{"role": "user", "content": "hi"}]
    assert (asked["enable_thinking"], asked["add_generation_prompt"], asked["tokenize"]) == (
        False,
        True,
        False,
    )


def test_a_start_token_that_only_the_template_writes_stays():
    own = {"apply_chat_template": lambda *_, **__: "<s>user hi", "chat_template": "x", "bos_token": "<s>"}
    for adds, prompt in ((True, "user hi"), (False, "<s>user hi")):
        chat = renderer(Prompt(style="chat"), tokenizer(adds_start=adds, **own))
        assert chat.prompt("hi") == prompt


@pytest.mark.parametrize(
    ("config", "extra", "part"),
    [
        (Prompt(style="chat"), {}, "has no chat template"),
        (PLAIN, {"eos_token": None}, "has no end token"),
    ],
)
def test_a_tokenizer_that_lacks_what_the_format_needs_is_refused(config, extra, part):
    with pytest.raises(UserError, match=part):
        renderer(config, tokenizer(**extra))
