"""Models that also read images, as Gemma 3: their config nests the language model's, and files name layers otherwise."""

from types import SimpleNamespace

import pytest
from eval_models import byte_tokenizer

from eval.answer_nll import answer_nll
from gip_exp.errors import UserError
from gip_exp.evaluation import tuned_model
from gip_exp.models import loading, weights

CONTEXT = 64


def make_model(folder, width=32):
    """A tiny Gemma 3 with an eye, on disk, and a new adapter for it in `adapter`."""
    from peft import LoraConfig, get_peft_model
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration

    layers = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32, "hidden_size": width}
    text = {
        **layers,
        "vocab_size": 300,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "max_position_embeddings": CONTEXT,
    }
    Gemma3ForConditionalGeneration(
        Gemma3Config(text_config=text, vision_config={**layers, "image_size": 28, "patch_size": 14})
    ).save_pretrained(folder)
    model = loading.load_base(str(folder), "float32")
    lora = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM")
    get_peft_model(model, lora).save_pretrained(folder / "adapter")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("gemma3"))


@pytest.mark.parametrize(("most", "context"), [(None, CONTEXT), (16, 16), (1024, CONTEXT)])
def test_the_context_is_that_of_the_language_model(folder, most, context):
    assert weights.context(folder) == CONTEXT
    engine = SimpleNamespace(max_model_len=most)
    job = SimpleNamespace(config=SimpleNamespace(engine=engine))
    assert tuned_model._context(SimpleNamespace(place=str(folder), job=job)) == context


def test_rows_longer_than_the_language_models_context_are_named(folder):
    tokenizer = byte_tokenizer(["1 + 1 = 2"], "qwen3")
    rows = [{"id": "long", "prompt": "1 + " * CONTEXT, "completion": "2"}]
    with pytest.raises(ValueError, match=rf"row 'long' has \d+ tokens, but the model's context is {CONTEXT}"):
        answer_nll(loading.load_base(str(folder), "float32"), tokenizer, rows)


def test_an_adapter_fits_its_base_alone_whatever_the_files_call_the_layers(folder, tmp_path):
    names = loading._shapes(folder)
    layers = {name.removeprefix("base_model.model.") for name in loading._shapes(folder / "adapter")}
    assert not any(layer.replace("lora_A.", "") in names for layer in layers)
    loading.check_adapter(str(folder), str(folder / "adapter"))
    other = make_model(tmp_path, width=48)
    with pytest.raises(UserError, match=r"is 32 x 32, which 48 x 2 does not fit \(and \d+ more\)"):
        loading.check_adapter(str(folder), str(other / "adapter"))
