"""A model folder from strangers: no code of it is run, no pickle opened, no other model loaded; every refusal is a message."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
from tiny_qwen3 import make_model

from gip_exp.config.model import Prompt
from gip_exp.errors import UserError
from gip_exp.models import loading
from gip_exp.models.prompts import renderer


class Bomb:
    """A pickle that writes a file when it is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model") / "m")


@pytest.fixture
def variant(sound, tmp_path):
    """A copy of a sound model folder whose code, wherever it is run, leaves `ran`."""

    def make(tokenizer=(), without=(), **config):
        folder = tmp_path / "model"
        shutil.copytree(sound, folder)
        for name, changes in (("config.json", config), ("tokenizer_config.json", dict(tokenizer))):
            file = folder / name
            file.write_text(json.dumps(json.loads(file.read_text()) | changes))
        for name in without:
            (folder / name).unlink()
        evil = f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\nclass A: ...\n"
        (folder / "evil.py").write_text(evil)
        (folder / "custom_generate").mkdir()
        (folder / "custom_generate" / "generate.py").write_text(evil)
        return folder

    return make


CODE = {
    "AutoConfig": "evil.A",
    "AutoModelForCausalLM": "evil.A",
    "AutoModel": "evil.A",
    "AutoTokenizer": ["evil.A", None],
}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"model_type": "evil", "auto_map": CODE}, "requests custom code (auto_map), which is not run"),
        ({"auto_map": CODE, "model_type": None}, "requests custom code (auto_map)"),
        ({"attn_implementation": "evil/kernels"}, "requests attention code from 'evil/kernels', which is not run"),
        ({"_attn_implementation": "evil/kernels@v1:f"}, "requests attention code from"),
        ({"text_config": {"attn_implementation": {"a": "evil/kernels"}}}, "requests attention code from"),
        (
            {"tokenizer": {"tokenizer_class": "Evil", "auto_map": CODE}, "without": ["tokenizer.json"]},
            "its tokenizer requests custom code",
        ),
    ],
)  # fmt: skip
def test_a_folder_that_asks_for_code_is_refused_beforehand_and_when_loaded(variant, tmp_path, change, why):
    folder = str(variant(**change))
    (told,) = loading.missing_weights(folder, None, "model.path")
    assert told.startswith(f"model.path={folder}: ")
    assert why in told
    assert loading.missing_weights(folder, None, "judge.model", trusted=True) == []
    with pytest.raises(UserError) as caught:
        loading.fetched(folder, None)
    assert why in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_a_known_architecture_is_loaded_from_the_library_whatever_code_lies_beside_it(variant, tmp_path):
    folder = str(variant(auto_map=CODE, tokenizer={"auto_map": CODE}, custom_generate="evil"))
    assert loading.missing_weights(folder, None, "model.path") == []
    assert type(loading.load_base(loading.fetched(folder, None), "float32")).__module__.startswith(
        "transformers.models.qwen3"
    )
    loading.load_tokenizer(folder)
    assert not (tmp_path / "ran").exists()


def test_pickled_weights_are_refused_alone_and_ignored_beside_safetensors(variant, tmp_path):
    folder = variant()
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    loading.load_base(str(folder), "float32")
    (folder / "model.safetensors").unlink()
    assert "pickled weights are not loaded" in loading.missing_weights(str(folder), None, "model.path")[0]
    with pytest.raises(OSError, match="safetensors"):
        loading.load_base(str(folder), "float32")
    assert not (tmp_path / "ran").exists()


def test_another_model_is_not_loaded_in_the_place_of_a_folder(variant):
    folder = variant()
    (folder / "adapter_config.json").write_text(
        '{"base_model_name_or_path": "/elsewhere", "peft_type": "LORA"}'
    )
    assert "would load another model instead" in loading.missing_weights(str(folder), None, "model.path")[0]


def test_optimiser_states_and_arrays_with_code_in_them_are_not_opened(tmp_path):
    import numpy as np
    import torch

    from baselines.less.adam import adam_state
    from gip_exp.models import shards

    torch.save({"param_groups": [Bomb(tmp_path / "ran")], "state": {}}, tmp_path / "optimizer.pt")
    with pytest.raises(pickle.UnpicklingError, match="Weights only load failed"):
        adam_state(tmp_path, torch.nn.Linear(1, 1))
    np.save(tmp_path / "000000000.npy", np.array([Bomb(tmp_path / "ran")], dtype=object), allow_pickle=True)
    order = shards.longest_first(["a"])
    shards.encode_shards(["a"], order, lambda: lambda texts: np.zeros((len(texts), 2)), tmp_path)
    made = shards.collect(tmp_path, order, tmp_path / "features.npy")
    assert made.tolist() == [[0, 0]]  # what is no plain array counts as torn, and is made again
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "template", ["{{ ''.__class__.__mro__ }}", "{{ cycler.__init__.__globals__ }}", "{% for %}"]
)
def test_a_chat_template_cannot_reach_beyond_its_sandbox(variant, template):
    folder = variant()
    (folder / "chat_template.jinja").write_text(template)
    render = renderer(
        Prompt(style="chat", template="", completion_prefix=""), loading.load_tokenizer(str(folder))
    )
    with pytest.raises(UserError, match="chat template cannot be used"):
        render.prompt("q")
