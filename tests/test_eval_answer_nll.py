"""Answer NLL: equal to a plain loop and to the trainer's own loss mask, and one test for each error."""

import json
import math
import types

import pytest
import torch

from eval.answer_nll import answer_nll, encode
from tests.eval_models import byte_tokenizer, shared_data, tiny_model

PROMPTS = {"qwen3": "<|im_end|>user\n{}\nassistant\n", "mistral": "Question: {}\nAnswer:\n"}


@pytest.fixture(scope="module")
def questions():
    with shared_data("gsm8k", "train.jsonl").open(encoding="utf-8") as lines:
        return [json.loads(next(lines)) for _ in range(8)]


def setting(family, questions):
    """Model, tokenizer and rows of one family."""
    tokenizer = byte_tokenizer([q["answer"] for q in questions], family)
    rows = [
        {"id": f"q{i}", "prompt": PROMPTS[family].format(q["question"]), "completion": q["answer"]}
        for i, q in enumerate(questions)
    ]
    return tiny_model(family, len(tokenizer)), tokenizer, rows


def plain_losses(model, encoded):
    """Losses of a row's completion tokens from one unbatched pass over all logits."""
    with torch.inference_mode():
        logits = model(torch.tensor([encoded.input_ids])).logits[0]
    log_p = torch.log_softmax(logits.double(), dim=-1)
    return [-log_p[t - 1, encoded.input_ids[t]].item() for t in range(encoded.start, len(encoded.input_ids))]


@pytest.mark.parametrize("family", ["qwen3", "mistral"])
def test_batched_losses_equal_one_row_at_a_time(family, questions):
    model, tokenizer, rows = setting(family, questions)
    result = answer_nll(model, tokenizer, rows, batch_size=5)
    token_losses, number_losses = [], []
    for row, scored, numbers in zip(
        rows, *(result.predictions[f"answer_nll/{part}"] for part in ("completion", "numbers")), strict=True
    ):
        encoded = encode(tokenizer, row["prompt"], row["completion"])
        losses = plain_losses(model, encoded)
        of_numbers = [loss for loss, flag in zip(losses, encoded.numbers, strict=True) if flag]
        assert scored.value == pytest.approx(sum(losses) / len(losses), rel=1e-5)
        assert numbers.value == pytest.approx(sum(of_numbers) / len(of_numbers), rel=1e-5)
        assert (scored.id, scored.reference) == (row["id"], row["completion"])
        token_losses += losses
        number_losses += of_numbers
    assert result.per_token["answer_nll/completion"] == pytest.approx(
        sum(token_losses) / len(token_losses), rel=1e-5
    )
    assert result.per_token["answer_nll/numbers"] == pytest.approx(
        sum(number_losses) / len(number_losses), rel=1e-5
    )
    metric = result.metrics["answer_nll/completion"]
    assert metric.n == len(rows)
    assert metric.low < metric.value < metric.high


@pytest.mark.parametrize("batch_size", [1, 8])
def test_batch_size_changes_nothing(batch_size, questions):
    model, tokenizer, rows = setting("qwen3", questions)
    five, other = (answer_nll(model, tokenizer, rows, batch_size=size) for size in (5, batch_size))
    for name, metric in five.metrics.items():
        assert other.metrics[name].value == pytest.approx(metric.value, rel=1e-5)


# A model whose logits are all equal gives every token log(vocabulary).
def test_a_uniform_model_pays_log_vocabulary(questions):
    model, tokenizer, rows = setting("qwen3", questions)
    for weight in model.parameters():
        weight.data.zero_()
    result = answer_nll(model, tokenizer, rows)
    expected = math.log(model.config.vocab_size)
    assert result.metrics["answer_nll/completion"].value == pytest.approx(expected, rel=1e-6)
    assert result.metrics["answer_nll/numbers"].value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("family", ["qwen3", "mistral"])
def test_tokens_and_boundary_are_those_of_the_trainer(family, questions, tmp_path):
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    model, tokenizer, rows = setting(family, questions)
    args = SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False, max_length=None, report_to="none")
    data = Dataset.from_list([{k: row[k] for k in ("prompt", "completion")} for row in rows])
    trainer = SFTTrainer(model=model, args=args, train_dataset=data, processing_class=tokenizer)
    for row, trained in zip(rows, trainer.train_dataset, strict=True):
        encoded = encode(tokenizer, row["prompt"], row["completion"])
        assert encoded.input_ids == trained["input_ids"]
        labels = trained["labels"]
        assert labels == [-100] * encoded.start + encoded.input_ids[encoded.start :]


@pytest.mark.parametrize("family", ["qwen3", "mistral", "digit"])
def test_number_tokens_are_those_that_touch_digits(family, questions):
    tokenizer = byte_tokenizer([q["answer"] for q in questions], family)
    encoded = encode(tokenizer, "7 apples\n", "I have 12 of 3.50 each\n#### 42")
    texts = [tokenizer.decode(i) for i in encoded.input_ids[encoded.start :]]
    flagged = [text for text, flag in zip(texts, encoded.numbers, strict=True) if flag]
    plain = [text for text, flag in zip(texts, encoded.numbers, strict=True) if not flag]
    assert "".join(c for c in "".join(flagged) if c.isdigit()) == "1235042"
    assert not any(c.isdigit() for c in "".join(plain[:-1]))
    assert texts[-1] == tokenizer.eos_token
    assert encoded.numbers[-1] is False


# " 40" is one token of the whole text, " 4" of the prompt another: only "total" is common.
def test_a_merge_across_the_boundary_starts_the_completion_where_the_tokens_differ():
    tokenizer = byte_tokenizer(["total 40 total 40 " * 50])
    whole = tokenizer("total 40")["input_ids"]
    assert len(whole) == 2
    encoded = encode(tokenizer, "total 4", "0")
    assert encoded.input_ids == [*whole, tokenizer.eos_token_id]
    assert encoded.start == 1


def test_rows_without_digits_are_counted_and_left_out_of_numbers(questions):
    model, tokenizer, rows = setting("qwen3", questions)
    rows[0] = rows[0] | {"completion": "no figures here"}
    result = answer_nll(model, tokenizer, rows)
    assert result.without_numbers == 1
    assert result.metrics["answer_nll/numbers"].n == len(rows) - 1
    wordless = answer_nll(model, tokenizer, rows[:1])
    assert list(wordless.metrics) == ["answer_nll/completion"]


def test_the_model_comes_back_in_the_mode_it_was_in(questions):
    model, tokenizer, rows = setting("qwen3", questions)
    answer_nll(model.train(), tokenizer, rows)
    assert model.training
    answer_nll(model.eval(), tokenizer, rows)
    assert not model.training


def test_an_adapter_changes_the_likelihood(questions):
    from peft import LoraConfig, get_peft_model

    model, tokenizer, rows = setting("qwen3", questions)
    before = answer_nll(model, tokenizer, rows).metrics["answer_nll/completion"].value
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", init_lora_weights=False))
    after = answer_nll(adapted, tokenizer, rows).metrics["answer_nll/completion"].value
    assert abs(after - before) > 1e-3


def test_bad_rows_and_settings_are_refused(questions):
    model, tokenizer, rows = setting("qwen3", questions)
    with pytest.raises(
        ValueError, match="no rows: give at least one row with the fields id, prompt, completion"
    ):
        answer_nll(model, tokenizer, [])
    with pytest.raises(ValueError, match="row 1: completion is ''"):
        answer_nll(model, tokenizer, [rows[0], rows[1] | {"completion": ""}])
    with pytest.raises(ValueError, match="batch_size is 0"):
        answer_nll(model, tokenizer, rows, batch_size=0)


def test_rows_longer_than_the_context_are_named(questions):
    _, tokenizer, rows = setting("qwen3", questions)
    model = tiny_model("qwen3", len(tokenizer), positions=16)
    with pytest.raises(
        ValueError, match=r"row 'q0' has \d+ tokens, but the model's context is 16.*and 5 more.*shorten"
    ):
        answer_nll(model, tokenizer, rows)


def test_a_prompt_that_merges_away_is_refused():
    tokenizer = byte_tokenizer(["total 40 total 40 " * 50])
    row = {"id": "q0", "prompt": " 4", "completion": "0"}
    with pytest.raises(ValueError, match="row 'q0': no token of the prompt comes before the completion"):
        answer_nll(tiny_model("qwen3", len(tokenizer)), tokenizer, [row])


def test_a_diverged_model_is_an_error(questions):
    model, tokenizer, rows = setting("qwen3", questions)
    model.model.norm.weight.data.fill_(math.nan)
    with pytest.raises(ValueError, match="not finite for 8 of 8 rows: row 'q0'"):
        answer_nll(model, tokenizer, rows)


def test_a_tokenizer_without_offsets_is_refused():
    slow = types.SimpleNamespace(is_fast=False, eos_token="</s>")
    with pytest.raises(ValueError, match="must give character offsets"):
        encode(slow, "a", "b")
