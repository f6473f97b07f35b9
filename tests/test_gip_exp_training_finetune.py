"""Fine-tuning: what is learnt from, what changes, what a killed run comes to, and when a run is no result."""

import io
import json
import os
import re
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import MICRO
from launch import FORKS, start
from safetensors.torch import load_file
from trl import SFTTrainer

from eval.answer_nll import encode
from gip_exp import pipeline
from gip_exp.config import parse
from gip_exp.config.train import LoraTrain
from gip_exp.console import Console
from gip_exp.errors import UserError
from gip_exp.models import loading
from gip_exp.models.machine import Machine, missing_for_training
from gip_exp.models.prompts import renderer
from gip_exp.training import checkpoints
from gip_exp.training.finetune import finetune, make_trainer
from gip_exp.training.losses import check_fall
from gip_exp.training.task import Task
from gip_exp.training.tokens import training_rows
from tests.fault_server import wait_until
from tests.tiny_families import PROMPTS, make_family

EXAMPLES = [
    {"id": str(n), "prompt": f"What is {n} plus {n}?", "completion": f"{n} + {n} = {2 * n}\n#### {2 * n}"}
    for n in range(24)
]
SETTINGS = {
    "kind": "lora",
    "r": 4,
    "alpha": 32,
    "dropout": 0.1,  # so that a resumed run needs the random state, too
    "target_modules": "all-linear",
    "lr": 3e-2,
    "schedule": "cosine",
    "warmup": 0.1,
    "weight_decay": 0.0,
    "max_grad_norm": 1.0,
    "steps": 14,
    "batch": 8,
    "micro_batch": 4,
    "max_length": 128,
    "checkpoint_steps": 5,
    "seed": 3,
}


def killed_after(base: Path, folder: Path, last: int) -> None:
    """Train in this process and end it by SIGKILL after step `last`."""

    def on_step(step: int, total: int, note: str) -> None:
        if step == last:
            os.kill(os.getpid(), signal.SIGKILL)

    finetune(task(base, folder), on_step=on_step)


def settings(**changes):
    return LoraTrain(**(SETTINGS | changes))


def task(base: Path, folder: Path, **changes) -> Task:
    tokenizer = loading.load_tokenizer(str(base))
    train = settings(**changes)
    return Task(
        training_rows(EXAMPLES, renderer(PROMPTS["mistral"], tokenizer), tokenizer, train).rows,
        train,
        Machine(str(base), "float32", "cpu"),
        folder / "work",
        adapter=folder / "adapter",
        save_every=train.checkpoint_steps,
    )


def weights(folder: Path):
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_family(tmp_path_factory.mktemp("base"), "mistral")


@pytest.fixture(scope="module")
def unbroken(base, tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, finetune(task(base, folder))


def test_an_epoch_of_packed_rows_is_over_sooner(base, tmp_path):
    plain = task(base, tmp_path / "plain", steps=None, epochs=2, batch=4)
    packed = task(base, tmp_path / "packed", steps=None, epochs=2, batch=4, packing=True)
    assert make_trainer(plain).args.max_steps == 2 * 24 / 4
    trainer = make_trainer(replace(packed, save_every="epoch"))
    rows = len(trainer.train_dataset)
    assert rows < 24 / 2
    assert trainer.args.max_steps == 2 * -(-rows // 4) == 2 * trainer.args.save_steps


@pytest.mark.parametrize("family", list(PROMPTS))
def test_the_loss_covers_exactly_the_completion_and_its_end(tmp_path, family):
    place = str(make_family(tmp_path / family, family))
    tokenizer = loading.load_tokenizer(place)
    render = renderer(PROMPTS[family], tokenizer)
    tokens = training_rows(EXAMPLES, render, tokenizer, settings()).rows
    machine = Machine(place, "float32", "cpu")
    trainer = make_trainer(Task(tokens, settings(), machine, tmp_path / "work"))
    expected = {}
    for row, example in zip(map(render.training_row, EXAMPLES), EXAMPLES, strict=True):
        ids = tokenizer(row["prompt"] + row["completion"])["input_ids"]
        expected[tuple(ids)] = (row, example)
    seen = 0
    for batch in trainer.get_train_dataloader():
        columns = (batch["input_ids"], batch["labels"], batch["attention_mask"])
        for all_ids, all_labels, mask in zip(*columns, strict=True):
            ids, labels = all_ids[mask.bool()].tolist(), all_labels[mask.bool()].tolist()
            row, example = expected[tuple(ids)]
            learnt = [token for token, label in zip(ids, labels, strict=True) if label != -100]
            given = [token for token, label in zip(ids, labels, strict=True) if label == -100]
            assert [label for label in labels if label != -100] == learnt
            prefix = PROMPTS[family].completion_prefix
            assert tokenizer.decode(learnt) == prefix + example["completion"] + tokenizer.eos_token
            assert tokenizer.decode(given) == (tokenizer.bos_token or "") + row["prompt"]
            told = encode(
                tokenizer, row["prompt"], row["completion"]
            )  # the likelihood's tokens are training's
            assert (told.input_ids, told.input_ids[told.start :]) == (ids, learnt)
            seen += 1
        assert (batch["labels"][~batch["attention_mask"].bool()] == -100).all()
    assert seen == len(EXAMPLES)


@pytest.mark.parametrize("family", list(PROMPTS))
def test_the_loss_of_a_micro_batch_and_its_gradient_are_trls(tmp_path, family):
    """Logits only where a token is learnt, instead of everywhere."""
    place = str(make_family(tmp_path / family, family))
    tokenizer = loading.load_tokenizer(place)
    tokens = training_rows(EXAMPLES, renderer(PROMPTS[family], tokenizer), tokenizer, settings()).rows
    trainer = make_trainer(Task(tokens, settings(), Machine(place, "float32", "cpu"), tmp_path / "work"))
    trainer.model.eval()  # no dropout
    weights = [weight for weight in trainer.model.parameters() if weight.requires_grad]
    for weight in weights:
        torch.nn.init.normal_(weight, std=0.1)
    batch = next(iter(trainer.get_train_dataloader()))
    losses = [
        compute(trainer, trainer.model, dict(batch), num_items_in_batch=torch.tensor(40))
        for compute in (type(trainer).compute_loss, SFTTrainer.compute_loss)
    ]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=1e-5)
    for ours, theirs in zip(*(torch.autograd.grad(loss, weights) for loss in losses), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-6)


def test_more_logits_than_fit_leave_the_loss_to_trl(base, tmp_path, monkeypatch):
    """The whole training with either: the same losses, and the same count of tokens."""
    options = {"dropout": 0.0, "steps": 4, "checkpoint_steps": None, "require_loss_fall": False}
    ours = finetune(task(base, tmp_path / "ours", **options))
    monkeypatch.setattr("gip_exp.training.trainer.LARGEST", 0)
    theirs = finetune(task(base, tmp_path / "theirs", **options))
    assert [row["loss"] for row in ours.history] == pytest.approx(
        [row["loss"] for row in theirs.history], rel=1e-5
    )
    assert ours.figures["tokens"] == theirs.figures["tokens"]


def test_qwen3_is_trained_with_thinking_off(tmp_path):
    tokenizer = loading.load_tokenizer(str(make_family(tmp_path, "qwen3")))
    row = renderer(PROMPTS["qwen3"], tokenizer).training_row(EXAMPLES[1])
    assert row["prompt"].endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
    assert "<think>" not in row["completion"]


def test_the_loss_falls_and_only_lora_weights_change(base, unbroken):
    folder, done = unbroken
    losses = [row["loss"] for row in done.history]
    assert [row["step"] for row in done.history] == list(range(1, 15))
    assert losses[-1] < losses[0] - 0.15  # the head is frozen, so it cannot fall far
    assert all(".lora_" in name for name in weights(folder))
    assert all(weight.abs().max() > 0 for weight in weights(folder).values())
    trained = make_trainer(task(base, folder / "again"))
    trained.train()
    before = loading.load_base(str(base), "float32").state_dict()
    after = {
        name.removeprefix("base_model.model.").replace(".base_layer", ""): weight
        for name, weight in trained.model.state_dict().items()
        if "lora_" not in name
    }
    assert equal(before, after)
    trainable = {name for name, weight in trained.model.named_parameters() if weight.requires_grad}
    assert trainable == {name for name, _ in trained.model.named_parameters() if "lora_" in name}


def test_the_figures_say_what_the_training_took(unbroken):
    _, done = unbroken
    figures = done.figures
    assert figures["tokens"] > 14 * 7 * 30  # 112 rows of 30 to 60 tokens, less a short last batch
    assert figures["tokens_per_second"] == pytest.approx(figures["tokens"] / figures["seconds"], rel=1e-2)
    assert figures["trainable_parameters"] > 0
    assert figures["peak_memory_bytes"] > 2**26


@pytest.mark.parametrize("step", [3, 8, 14])
def test_a_killed_run_goes_on_to_the_same_weights(base, unbroken, tmp_path, step):
    """Killed before the first checkpoint, between two, and after the last step; float32 on a CPU, bit for bit."""
    process = FORKS.Process(target=killed_after, args=(base, tmp_path, step))
    process.start()
    process.join(300)
    assert process.exitcode == -signal.SIGKILL
    assert not (tmp_path / "adapter").exists()
    last = [path.name for path in checkpoints.numbered(tmp_path / "work")]
    assert last == {3: [], 8: ["checkpoint-5"], 14: ["checkpoint-10"]}[step]
    done = finetune(task(base, tmp_path))
    assert equal(weights(tmp_path), weights(unbroken[0]))
    assert done.history == unbroken[1].history
    left = {3: 14, 8: 9, 14: 4}[step] / 14  # of the steps: tokens are counted for the seconds that they took
    assert done.figures["tokens"] == pytest.approx(left * unbroken[1].figures["tokens"], rel=0.05)


def test_a_killed_train_stage_goes_on_in_the_store(compose, tmp_path):
    """The whole command, killed from outside once a checkpoint is there; then the same command again."""
    overrides = [*MICRO, "train.steps=60", "train.dropout=0.1", "train.checkpoint_steps=10", "until=train"]
    overrides.append(f"paths.root={tmp_path}")

    def run():
        return pipeline.run(parse(compose(*overrides)), Console(io.StringIO())).entries["train"]

    unbroken = run()
    aside = unbroken.folder.rename(tmp_path / "unbroken")
    process = start(overrides, tmp_path / "log")
    draft = unbroken.folder.with_name(unbroken.key + ".partial")
    try:
        wait_until(
            lambda: any(draft.glob(f"work/checkpoint-*/{checkpoints.MARK}")) or not process.is_alive(),
            timeout_s=600,
        )
    finally:
        process.kill()
        process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert not unbroken.folder.exists()
    resumed = run()
    assert resumed.facts["tokens"] < unbroken.facts["tokens"]
    assert not (resumed.folder / "work").exists()
    assert equal(weights(resumed.folder), weights(aside))
    assert (resumed.folder / "losses.jsonl").read_text() == (aside / "losses.jsonl").read_text()


def test_a_run_killed_after_its_last_checkpoint_trains_no_further(base, unbroken, tmp_path):
    first = finetune(task(base, tmp_path))
    (tmp_path / "adapter" / "adapter_model.safetensors").unlink()
    again = finetune(task(base, tmp_path))
    assert equal(weights(tmp_path), weights(unbroken[0]))
    assert again.history == first.history
    assert again.figures["tokens"] == 0


def test_half_a_checkpoint_is_not_gone_on_from(base, unbroken, tmp_path):
    finetune(task(base, tmp_path))
    (last,) = checkpoints.numbered(tmp_path / "work")
    (last / checkpoints.MARK).unlink()
    (last / "optimizer.pt").write_bytes(b"half")
    finetune(task(base, tmp_path))
    assert equal(weights(tmp_path), weights(unbroken[0]))


def test_checkpoints_of_other_conditions_are_not_gone_on_from(base, tmp_path):
    finetune(task(base, tmp_path))
    again = finetune(task(base, tmp_path, micro_batch=2))
    assert again.figures["tokens"] > 0


def test_checkpoints_change_no_weight(base, unbroken, tmp_path):
    finetune(task(base, tmp_path, checkpoint_steps=None))
    assert equal(weights(tmp_path), weights(unbroken[0]))
    assert checkpoints.numbered(tmp_path / "work") == []


def test_two_processes_under_torchrun_train_as_one(base, tmp_path):
    """21 rows in batches of 8: the last batch of an epoch is short. Without dropout only rounding differs."""

    def trained(name, **changes):
        whole = task(base, tmp_path / name, dropout=0.0, **changes)
        return finetune(replace(whole, rows=whole.rows[:21]))

    one, two = trained("one"), trained("two", processes=2)
    assert [row["loss"] for row in two.history] == pytest.approx(
        [row["loss"] for row in one.history], rel=1e-4
    )
    for name, weight in weights(tmp_path / "one").items():
        assert torch.allclose(weights(tmp_path / "two")[name], weight, atol=1e-3)
    assert one.figures["tokens"] == two.figures["tokens"]


def test_an_error_in_several_processes_is_the_same_message(base, tmp_path, monkeypatch):
    for name in (
        "eval.py",
        "datasets.py",
    ):  # the user's, in the current folder: torchrun's processes leave them alone
        (tmp_path / name).write_text("raise RuntimeError('a module of the user')\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"training diverged: the loss is nan at step \d+; lower train\.lr"):
        finetune(task(base, tmp_path, lr=1e30, max_grad_norm=1e30, processes=2))


def test_the_micro_batch_changes_no_loss_of_a_model_whose_own_loss_takes_no_count(
    base, tmp_path, monkeypatch
):
    """Gemma 4 and 3n say so in their class; their losses were means over the means of micro-batches."""
    from transformers import MistralForCausalLM

    monkeypatch.setattr(MistralForCausalLM, "accepts_loss_kwargs", False, raising=False)
    options = {"dropout": 0.0, "steps": 3, "checkpoint_steps": None, "require_loss_fall": False}
    one, eight = (
        [row["loss"] for row in finetune(task(base, tmp_path / str(n), micro_batch=n, **options)).history]
        for n in (1, 8)
    )
    assert one == pytest.approx(eight, abs=1e-5)


def test_a_diverged_run_is_an_error_and_leaves_no_checkpoint(base, tmp_path):
    with pytest.raises(UserError, match=r"training diverged: the loss is nan at step \d+; lower train\.lr"):
        finetune(task(base, tmp_path, lr=1e30, max_grad_norm=1e30))
    assert checkpoints.numbered(tmp_path / "work") == []
    assert not (tmp_path / "adapter").exists()


def test_a_loss_that_does_not_fall_is_an_error_unless_asked_for(base, tmp_path):
    with pytest.raises(UserError, match=r"did not lower the loss.*train\.require_loss_fall=false"):
        finetune(task(base, tmp_path, lr=1e-30))
    done = finetune(task(base, tmp_path, lr=1e-30, require_loss_fall=False))
    assert (done.figures["tokens"], len(done.history)) == (0, 14)  # the training itself was not repeated


# Quarters of 12 steps are 3. Of (2 - d, 2, 2 + d) the variance is d^2, so chance may be 3 sqrt(2 d^2 / 3) = 2.45 d.
@pytest.mark.parametrize(
    ("last", "spread", "expected"),
    [
        (2.0, 0.0, "error"),
        (1.999, 0.5, ""),
        (2.0, 0.5, "doubt"),
        (2.0, 0.0081, "error"),  # .0198: a fall of 1 % (.02) is ruled out
        (2.0, 0.0083, "doubt"),  # .0203
        (2.4, 0.175, "doubt"),  # a rise of .4, of which .429 may be chance
        (2.4, 0.165, "error"),  # .404: less than 1 % is left for a fall
    ],
)
def test_a_loss_that_did_not_fall_is_an_error_unless_it_may_be_chance(last, spread, expected):
    losses = [2 - spread, 2.0, 2 + spread, *[9.0] * 6, last - spread, last, last + spread]
    history = [{"step": n, "loss": loss, "lr": 1.0} for n, loss in enumerate(losses, 1)]
    said = rf"mean is 2\.0000 over the first quarter of 12 steps and {last:.4f} over"
    if expected == "error":
        with pytest.raises(UserError, match=said):
            check_fall(history)
    else:
        assert (re.search(said, check_fall(history)) is not None) == (expected == "doubt")
    assert check_fall(history[-11:]) == ""  # too few steps to say


def test_an_empty_selection_is_an_error():
    with pytest.raises(UserError, match="the selection is empty"):
        training_rows([], None, None, settings())


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"packing": True}, "train.packing=true needs FlashAttention, and there is no GPU"),
        ({"attention": "flash_attention_2"}, "train.attention=flash_attention_2 needs FlashAttention"),
        ({"packing": True, "attention": "sdpa"}, "only FlashAttention prevents attention between packed"),
    ],
)
def test_kernels_that_the_machine_lacks_are_refused_beforehand(micro, tmp_path, changes, part):
    config = micro(tmp_path, "engine.device=cpu")
    (problem,) = missing_for_training(settings(**changes), config)
    assert part in problem
    assert missing_for_training(settings(), config) == []


def test_a_run_inside_torchrun_is_told_to_start_plainly(micro, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    (problem,) = missing_for_training(settings(), micro(tmp_path))
    assert "`python -m gip_exp ... train.processes=4`" in problem


def test_a_batch_that_processes_cannot_share_is_refused():
    with pytest.raises(ValueError, match=r"multiple of train\.micro_batch=4 times train\.processes=3"):
        settings(processes=3)


def test_the_history_is_plain_json(unbroken):
    assert json.loads(json.dumps(unbroken[1].history)) == unbroken[1].history
