"""The recipes of `selection/README.md` run as they are printed."""

import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

PAGE = Path(__file__).resolve().parent.parent / "selection" / "README.md"


class Encoder:
    """Stands for a model of the hub: the vector of a text counts its letters."""

    def __init__(self, name):
        assert name == "all-MiniLM-L6-v2"

    def encode(self, texts):
        return np.array(
            [[text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts],
            dtype=np.float32,
        )


@pytest.fixture
def given(monkeypatch, tmp_path):
    """What the page takes for granted: rows, a model, its tokenizer, a folder."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    library = ModuleType("sentence_transformers")
    library.SentenceTransformer = Encoder
    monkeypatch.setitem(sys.modules, "sentence_transformers", library)
    words = Tokenizer(
        models.WordLevel({"[UNK]": 0, "<end>": 1, "Water": 2, "is": 3, "wet": 4}, unk_token="[UNK]")
    )
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    subjects = ["otters", "lathes", "violins", "glaciers", "tariffs"]
    return {
        "rows": [
            {
                "prompt": f"Fact {i} on {subjects[i % 5]}?",
                "completion": f"Water is wet {i}.",
                "reward": float(i % 7),
            }
            for i in range(60)
        ],
        "model": LlamaForCausalLM(LlamaConfig(vocab_size=8, **sizes)),
        "tokenizer": PreTrainedTokenizerFast(tokenizer_object=words, eos_token="<end>", pad_token="[UNK]"),
        "folder": str(tmp_path / "trained"),
    }


def test_the_recipes_run(given):
    recipes = PAGE.read_text(encoding="utf-8").split("## Recipes")[1].split("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", recipes, flags=re.DOTALL)
    assert len(blocks) == 3
    for block in blocks:
        exec(block, given)
    assert len(given["chosen"]) == 6
    assert given["best_first"]["reward"].mean() > 3
    assert len(given["smaller"]) == 1
    assert given["trainer"].state.global_step == 1
