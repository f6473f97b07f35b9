"""The data folder, a scripted model and tiny real ones for the evaluation tests."""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from lm_eval.api.model import LM
from tqdm import tqdm

# Padding, end and start token; the third family is for tests of an end token that holds a digit.
FAMILIES = {
    "qwen3": ("<|endoftext|>", "<|im_end|>", None),
    "mistral": ("<unk>", "</s>", "<s>"),
    "digit": ("<pad>", "<|end_1|>", None),
}


def shared_data(*parts: str) -> Path:
    """A path below GIP_DATA (default ../shared/data); missing, it skips the test, or fails a required one."""
    root = Path(os.environ.get("GIP_DATA", Path(__file__).parents[2] / "shared" / "data"))
    path = root.joinpath(*parts)
    if not path.exists():
        required = "data" in os.environ.get("GIP_REQUIRE", "").split(",")
        (pytest.fail if required else pytest.skip)(f"{path} is missing: set GIP_DATA")
    return path


class ScriptedLM(LM):
    """An lm-eval model that replies from a list (in the order asked) or by a function of the prompt."""

    def __init__(
        self,
        replies: Sequence[str | None] | Callable[[str], str],
        *,
        max_length: int | None = None,
        world_size: int = 1,
        chatter: bool = False,
        warning: str | None = None,
    ) -> None:
        super().__init__()
        self.replies, self.chatter, self.warning = replies, chatter, warning
        self.max_length = max_length
        self._world_size = world_size
        self.prompts: list[str] = []
        self.settings: list[dict] = []

    def generate_until(self, requests):
        if self.chatter:
            logging.getLogger("lm_eval.models").info("Running")
            sys.stdout.write("Detecting batch size\n")
            list(tqdm(range(3)))
        out = []
        for request in requests:
            prompt, settings = request.args
            if self.warning:
                logging.getLogger("lm_eval.models").warning(self.warning)
            self.prompts.append(prompt)
            self.settings.append(settings)
            by_prompt = callable(self.replies)
            out.append(self.replies(prompt) if by_prompt else self.replies[len(self.prompts) - 1])
        return out

    def loglikelihood(self, requests):
        raise NotImplementedError

    def loglikelihood_rolling(self, requests):
        raise NotImplementedError


def byte_tokenizer(texts: Sequence[str], family: str = "qwen3"):
    """A byte-level BPE tokenizer fitted on `texts`; Mistral's puts its start token in front."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    pad, eos, bos = FAMILIES[family]
    specials = [token for token in (pad, eos, bos) if token]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(texts, trainer)
    if bos:
        core.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, core.token_to_id(bos))]
        )
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token=pad, eos_token=eos, bos_token=bos)


def tiny_model(family: str, vocabulary: int, *, seed: int = 0, positions: int = 1024, width: int = 32):
    """A two-layer model of the family with random weights, float32, evaluation mode."""
    from transformers import MistralConfig, MistralForCausalLM, Qwen3Config, Qwen3ForCausalLM

    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": width // 2,
        "max_position_embeddings": positions,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": None,
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        if family == "qwen3":
            return Qwen3ForCausalLM(Qwen3Config(**sizes, tie_word_embeddings=True)).eval()
        return MistralForCausalLM(MistralConfig(**sizes, sliding_window=None)).eval()
