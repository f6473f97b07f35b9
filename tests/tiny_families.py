"""Tiny models of the three prompt families on disk: Qwen3 (chat, thinking off), Mistral base (plain), Mistral instruct.

Byte-level tokenizers with the families' special tokens; chat templates that behave as the published ones do.
"""

from pathlib import Path

from gip_exp.config.model import Prompt
from tests.eval_models import FAMILIES, byte_tokenizer, tiny_model

QWEN3_CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
MISTRAL_CHAT = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'user' %}[INST] {{ m['content'] }} [/INST]"
    "{% elif m['role'] == 'assistant' %} {{ m['content'] }}{{ eos_token }}"
    "{% else %}{{ raise_exception('only user and assistant roles are supported') }}{% endif %}{% endfor %}"
)
TEXTS = ["Question: 1 + 2 = 3\nAnswer: #### 3", "Instruction: Name a colour.\nResponse: Blue is a colour."]
PROMPTS = {
    "qwen3": Prompt(style="chat"),
    "mistral": Prompt(style="plain", template="Instruction: {prompt}\nResponse:", completion_prefix=" "),
    "mistral_instruct": Prompt(style="chat", completion_prefix=" "),
}
CHATS = {"qwen3": QWEN3_CHAT, "mistral": None, "mistral_instruct": MISTRAL_CHAT}


def make_family(folder: Path, name: str, *, seed: int = 0, positions: int = 1024) -> Path:
    """Write a random model of the family, float32, with its tokenizer."""
    family = "mistral" if name.startswith("mistral") else "qwen3"
    tokenizer = byte_tokenizer(TEXTS, family)
    tokenizer.chat_template = CHATS[name]
    model = tiny_model(
        family, len(tokenizer), seed=seed, positions=positions, width=64
    )  # vLLM's least head is 32
    model.config.eos_token_id = model.generation_config.eos_token_id = tokenizer.convert_tokens_to_ids(
        FAMILIES[family][1]
    )
    model.config.bos_token_id = tokenizer.bos_token_id
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
