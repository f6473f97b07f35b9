"""Tiny tokenizers and models: lossless text, reproducible training, an ordinary model folder."""

import math
from itertools import pairwise

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from gip_exp.data.arithmetic import make_corpus, make_pool, make_test, taught
from gip_exp.models.scratch.gradients import Gradients
from gip_exp.models.scratch.muon import Muon
from gip_exp.models.scratch.pretrain import (
    Pretraining,
    build_model,
    number_embeddings,
    pack,
    pretrain,
    save,
    schedule,
)
from gip_exp.models.scratch.tokenizer import byte_level, word_level

CORPUS = make_corpus(600, 0)
POOL = [f"Question: {p.question}\nAnswer: {p.answer}" for p in make_pool(300, 0)]
TEST = [f"Question: {p.question}\nAnswer: {p.answer}" for p in make_test(64, 0, set())]
HARD = [
    "naïve café — 3½ × ２ 日本語 🙂",
    "\t tabs\n\n\nand   blanks ",
    "<<1,000*2.5=2500>>",
    "",
    " ",
    "$5.00/hr",
]


@pytest.fixture(scope="module")
def words():
    return word_level(CORPUS + POOL)


@pytest.fixture(scope="module")
def pieces():
    return byte_level(POOL, 500)


def tiny(tokenizer, seed=0):
    return build_model(
        tokenizer, hidden_size=16, layers=1, heads=2, feed_forward=32, max_length=256, seed=seed
    )


def train(tokenizer, seed=0, steps=4) -> tuple[Pretraining, torch.nn.Module]:
    model = tiny(tokenizer, seed)
    return pretrain(model, tokenizer, CORPUS[:100], steps=steps, batch_size=2, length=32, seed=seed), model


def test_muon_takes_the_steps_of_torch_to_the_precision_of_bfloat16():
    torch.manual_seed(0)
    start = [torch.randn(shape) for shape in ((8, 24), (24, 8), (8, 24), (16, 16))]
    gradients = [[torch.randn_like(matrix) for matrix in start] for _ in range(4)]
    ends = []
    for kind in (Muon, torch.optim.Muon):
        matrices = [torch.nn.Parameter(matrix.clone()) for matrix in start]
        optimizer = kind(matrices, lr=0.02, weight_decay=0.05, momentum=0.95)
        for step in gradients:
            for matrix, gradient in zip(matrices, step, strict=True):
                matrix.grad = gradient
            optimizer.step()
        ends.append([matrix.detach() for matrix in matrices])
    for ours, theirs, before in zip(*ends, start, strict=True):
        assert (theirs - before).abs().mean() > 0.005
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)


def test_the_word_level_tokenizer_gives_back_every_text_of_the_world(words):
    for text in CORPUS + POOL + TEST:
        ids = words(text)["input_ids"]
        assert words.decode(ids) == text
        assert words.unk_token_id not in ids


def test_a_whole_number_is_one_token_wherever_it_stands(words):
    """So that copying a number, in a list or out of a story, is always the same move."""
    number = words.convert_tokens_to_ids("24")
    for text in ("24", "has 24 pens", "4*6=<<4*6=24>>24 pens", "#### 24", "List: 24 24", "(24"):
        assert words(text)["input_ids"].count(number) == text.count("24")


def test_the_vocabulary_does_not_depend_on_the_order_of_the_texts():
    assert word_level(CORPUS).get_vocab() == word_level(CORPUS[::-1]).get_vocab()


def test_a_byte_level_tokenizer_gives_back_any_text(pieces):
    assert len(pieces) == 500
    for text in HARD + POOL:
        assert pieces.decode(pieces(text)["input_ids"]) == text


@pytest.mark.parametrize("name", ["words", "pieces"])
def test_a_completion_continues_its_prompts_tokens(name, request):
    """Trainers tokenize prompt and prompt + completion, and take the difference as the completion."""
    tokenizer = request.getfixturevalue(name)
    for text in POOL:
        prompt = text[: text.index("Answer:") + len("Answer:")]
        start = tokenizer(prompt)["input_ids"]
        assert tokenizer(text)["input_ids"][: len(start)] == start


@pytest.mark.parametrize("name", ["words", "pieces"])
def test_tokenizers_pad_left_and_add_nothing_by_themselves(name, request):
    tokenizer = request.getfixturevalue(name)
    assert tokenizer("pens")["input_ids"] == tokenizer("pens", add_special_tokens=False)["input_ids"]
    batch = tokenizer(["pens", "pens and more pens"], padding=True)
    assert batch["input_ids"][0][0] == tokenizer.pad_token_id != tokenizer.eos_token_id
    assert batch["attention_mask"][0][0] == 0


@pytest.mark.parametrize("name", ["words", "pieces"])
def test_a_saved_folder_loads_as_any_other_model(name, request, tmp_path):
    tokenizer = request.getfixturevalue(name)
    model = tiny(tokenizer)
    save(model, tokenizer, tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert again.config.model_type == "qwen3"
    assert again.generation_config.eos_token_id == tokenizer.eos_token_id
    for text in [*POOL[:20], *(HARD if name == "pieces" else [])]:
        assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
        assert loaded.decode(loaded(text)["input_ids"]) == text
    ids = torch.tensor([tokenizer(POOL[0])["input_ids"]])
    assert torch.equal(again(ids).logits, model.eval()(ids).logits)
    assert again.get_input_embeddings().weight is again.get_output_embeddings().weight


def test_training_lowers_the_loss_and_reports_every_step(words):
    seen = []
    model = tiny(words)
    result = pretrain(
        model, words, CORPUS, steps=60, batch_size=8, length=64, warmup=0.1, on_step=lambda *a: seen.append(a)
    )
    assert result.losses[-1] < result.losses[0] - 1
    assert [step for step, _, _ in seen] == list(range(1, 61))
    assert {total for _, total, _ in seen} == {60}
    assert [loss for _, _, loss in seen] == list(result.losses)
    assert result.tokens == 60 * 8 * 64


def test_the_seed_decides_the_weights_and_the_global_random_state_does_not(words):
    torch.manual_seed(1)
    first, model = train(words)
    torch.manual_seed(2)
    state = torch.random.get_rng_state()
    second, again = train(words)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert first == second
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert train(words, seed=1)[0] != first


@pytest.mark.parametrize("kv_heads", [4, 2])
def test_the_gradients_are_those_of_transformers_to_rounding(words, kv_heads):
    model = build_model(words, hidden_size=32, layers=2, heads=4, kv_heads=kv_heads, feed_forward=48)
    torch.manual_seed(0)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean=1.0 if parameter.ndim == 1 else 0.0, std=0.2)
    rows = pack(words, CORPUS, 64, taught)[:5]  # an odd number: the halves differ
    loss = model(input_ids=rows[:, 0], labels=rows[:, 1]).loss
    expected = torch.autograd.grad(loss, list(model.parameters()))
    with Gradients(model) as gradients:
        assert gradients.set(rows[:, 0], rows[:, 1]) == pytest.approx(loss.item(), rel=1e-6)
    for parameter, gradient in zip(model.parameters(), expected, strict=True):
        assert torch.linalg.vector_norm(parameter.grad - gradient) < 1e-5 * torch.linalg.vector_norm(gradient)


def test_one_thread_and_two_give_the_same_weights(words):
    threads = torch.get_num_threads()
    ends = []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            model = tiny(words)
            pretrain(model, words, CORPUS, steps=3, batch_size=8, length=64)
            assert torch.get_num_threads() == count
            ends.append(list(model.parameters()))
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(*ends, strict=True))


def test_rows_hold_the_documents_with_an_end_mark_after_each(words):
    rows = pack(words, ["4+4=8", "pens"], 3)
    ends = [*words("4+4=8")["input_ids"], words.eos_token_id, *words("pens")["input_ids"], words.eos_token_id]
    assert rows.shape == (2, 2, 3)
    assert rows[:, 0].flatten().tolist() == rows[:, 1].flatten().tolist() == ends[:6]


def test_the_loss_covers_what_follows_from_the_document_alone(words):
    documents = CORPUS[:400]
    rows = pack(words, documents, 16, taught)
    ids, labels = rows[:, 0].flatten(), rows[:, 1].flatten()
    learnt = labels != -100
    assert torch.equal(ids[learnt], labels[learnt])
    assert words.eos_token_id not in labels
    spans = "".join(document[low:high] for document in documents for low, high in taught(document))
    learnt_text = "".join(words.decode(labels[learnt]).split())
    assert len(learnt_text) > 1000
    assert "".join(spans.split()).startswith(learnt_text)
    model = tiny(words)
    loss = pretrain(model, words, documents, steps=1, batch_size=2, length=16, taught=taught).losses[0]
    assert loss == pytest.approx(math.log(len(words)), rel=0.05)


def test_numbers_that_are_close_start_alike(words):
    model = build_model(words, hidden_size=64, layers=1, heads=2, feed_forward=32)
    number_embeddings(model, words)
    weight = model.get_input_embeddings().weight.detach()
    one, two, twenty = (weight[words.convert_tokens_to_ids(text)][:32] for text in ("12", "13", "31"))
    assert torch.dist(one, two) < torch.dist(one, twenty)
    assert weight.std() == pytest.approx(0.02, rel=0.1)


def test_the_rate_rises_stays_and_falls_to_nearly_nothing():
    rates = [schedule(step, 100, warmup=10, flat=0.5) for step in range(100)]
    assert rates[0] == 0.1
    assert rates[9:51] == [1.0] * 42
    assert all(a > b for a, b in pairwise(rates[50:]))
    assert rates[99] == pytest.approx(0.02)
    assert schedule(99, 100, warmup=0, flat=1.0) == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda t: build_model(t, layers=0, heads=4, kv_heads=3),
            r"layers is 0; .*; kv_heads is 3; it must div",
        ),
        (
            lambda t: build_model(t, hidden_size=30, heads=4),
            "hidden_size 30 over heads 4: a head needs an even",
        ),
        (lambda t: pretrain(tiny(t), t, ["pens"], steps=1), "fewer than length .128.: give more text"),
        (
            lambda t: pretrain(tiny(t), t, CORPUS[:20], steps=0, batch_size=999),
            r"steps is 0; give at least 1; batch_size is 999; the documents fill \d+ rows",
        ),
        (lambda _: byte_level(["a"], 100), "vocab_size is 100; byte-level BPE needs at least 258"),
    ],
)
def test_bad_arguments_are_named(call, message, words):
    with pytest.raises(ValueError, match=message):
        call(words)
