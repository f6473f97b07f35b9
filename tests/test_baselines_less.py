"""LESS: gradients against autograd, Adam by hand, projection, invariances, shards, influence, refusals."""

from __future__ import annotations

import json
import multiprocessing
import socket
import sys

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

peft = pytest.importorskip("peft")
transformers = pytest.importorskip("transformers")

from baselines import less  # noqa: E402
from baselines.less import adam as adam_module  # noqa: E402
from baselines.less.gradients import collate  # noqa: E402
from baselines.less.projection import rolled_sum  # noqa: E402

BETAS = (0.9, 0.999)


def tiny_model(seed=0, rank=4, dropout=0.1, dora=False):
    """A Qwen3 with LoRA on every linear layer; lora_B is random, so that no gradient vanishes."""
    config = transformers.Qwen3Config(
        vocab_size=97,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=128,
        tie_word_embeddings=True,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = peft.get_peft_model(
            transformers.Qwen3ForCausalLM(config),
            peft.LoraConfig(
                r=rank, lora_alpha=8, lora_dropout=dropout, target_modules="all-linear", use_dora=dora
            ),
        )
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.05)
    return model


def examples(n=24, seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        prompt, completion = rng.integers(3, 12), rng.integers(2, 9)
        ids = rng.integers(1, 97, size=prompt + completion).tolist()
        rows.append({"input_ids": ids, "labels": [-100] * int(prompt) + ids[int(prompt) :]})
    return rows


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Tiny products gain nothing from threads, and lose much where tests run side by side."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def names(model):
    return less.lora_parameters(model)


def one_by_one(model, rows, names):
    """The plain way: the model's own loss and full backward pass, one example at a time."""
    model.eval()
    parameters = dict(model.named_parameters())
    out = []
    for row in rows:
        model.zero_grad(set_to_none=True)
        model(
            input_ids=torch.tensor([row["input_ids"]]), labels=torch.tensor([row["labels"]])
        ).loss.backward()
        out.append(torch.cat([parameters[name].grad.reshape(-1) for name in names]))
    model.zero_grad(set_to_none=True)
    return torch.stack(out)


def random_state(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    first, second = {}, {}
    for name in less.lora_parameters(model):
        shape = model.get_parameter(name).shape
        first[name] = torch.randn(shape, generator=generator) * 0.01
        second[name] = torch.rand(shape, generator=generator) * 1e-3
    return less.AdamState(first, second, *BETAS)


# ---- gradients


def test_gradients_equal_a_one_by_one_autograd_loop(model, names):
    rows = examples()
    ours = less.per_example_gradients(model, collate(rows), names)
    plain = one_by_one(model, rows, names)
    assert ours.shape == (24, sum(model.get_parameter(name).numel() for name in names))
    assert (plain.norm(dim=1) > 0).all()
    assert float(((ours - plain).norm(dim=1) / plain.norm(dim=1)).max()) < 1e-4


def test_columns_follow_the_names_asked_for(model, names):
    batch = collate(examples(3))
    some = [names[5], names[2]]
    whole = less.per_example_gradients(model, batch, names)
    sizes = [model.get_parameter(name).numel() for name in names]
    blocks = dict(zip(names, whole.split(sizes, dim=1), strict=True))
    picked = less.per_example_gradients(model, batch, some)
    torch.testing.assert_close(picked, torch.cat([blocks[name] for name in some], dim=1))


def test_the_model_is_left_as_it_was(names):
    model = tiny_model().train()
    model.base_model.model.model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    less.per_example_gradients(model, collate(examples(2)), names)
    assert [module.training for module in model.modules()] == modes
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(module._forward_hooks for module in model.modules())


def test_frozen_adapters_and_gradient_checkpointing_change_nothing(model, names):
    batch = collate(examples(4))
    expected = less.per_example_gradients(model, batch, names)
    other = tiny_model()
    other.requires_grad_(False)
    other.gradient_checkpointing_enable()
    other.train()
    torch.testing.assert_close(less.per_example_gradients(other, batch, names), expected)


def test_a_bf16_base_gives_float32_gradients_close_to_float32_ones(model, names):
    batch = collate(examples(4))
    expected = less.per_example_gradients(model, batch, names)
    half = tiny_model().to(torch.bfloat16)
    ours = less.per_example_gradients(half, batch, names)
    assert ours.dtype == torch.float32
    assert float(torch.nn.functional.cosine_similarity(ours, expected).min()) > 0.99


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b["labels"][1].fill_(-100), "batch: row 1 has no token to predict"),
        (lambda b: b["labels"][0, 1:].fill_(-100), "batch: row 0 has no token to predict"),
    ],
)
def test_an_example_without_labels_is_named(model, names, change, message):
    batch = collate(examples(3))
    change(batch)
    with pytest.raises(ValueError, match=message):
        less.per_example_gradients(model, batch, names)


def test_what_is_not_plain_lora_is_refused(model, names):
    batch = collate(examples(1))
    with pytest.raises(ValueError, match="model: has no LoRA parameters"):
        less.lora_parameters(model.get_base_model().lm_head)
    with pytest.raises(
        ValueError, match=r"parameters: .*lora_magnitude_vector.* is not the weight of a linear"
    ):
        less.lora_parameters(tiny_model(dora=True))
    with pytest.raises(ValueError, match=r"parameters: 'nowhere\.weight'"):
        less.per_example_gradients(model, batch, ["nowhere.weight"])
    with pytest.raises(ValueError, match="parameters: is empty"):
        less.per_example_gradients(model, batch, [])


# ---- Adam


def test_the_adam_correction_is_right_by_hand():
    # One weight: m = .5, v = .04, g = 2.
    # numerator .9 * .5 + .1 * 2 = .65; root sqrt(.999 * .04 + .001 * 4 + 1e-8) = sqrt(.04396001).
    # Another: m = -1, v = 0, g = 0: -.9 / sqrt(1e-8) = -9000.
    ours = less.adam_direction(torch.tensor([2.0, 0.0]), torch.tensor([0.5, -1.0]), torch.tensor([0.04, 0.0]))
    torch.testing.assert_close(ours, torch.tensor([0.65 / 0.04396001**0.5, -9000.0]))


class TwoWeights(torch.nn.Module):
    """Two LoRA-like weights of one shape, so that only names can tell them apart."""

    def __init__(self, order=("lora_A", "lora_B")):
        super().__init__()
        for name in order:
            child = torch.nn.Module()
            child.default = torch.nn.Linear(1, 1, bias=False)
            setattr(self, name, child)


def trained_checkpoint(folder, order):
    """Two AdamW steps with gradients 1, 3 on A and -2, -2 on B."""
    model = TwoWeights(order)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1, betas=BETAS)
    for a, b in ((1.0, -2.0), (3.0, -2.0)):
        model.lora_A.default.weight.grad = torch.tensor([[a]])
        model.lora_B.default.weight.grad = torch.tensor([[b]])
        optimizer.step()
    folder.mkdir()
    torch.save(optimizer.state_dict(), folder / "optimizer.pt")
    less.write_parameter_names(model, optimizer, folder)
    return model


@pytest.mark.parametrize("order", [("lora_A", "lora_B"), ("lora_B", "lora_A")])
def test_state_is_paired_by_name_whatever_the_order_of_parameters(tmp_path, order):
    trained_checkpoint(tmp_path / "c", order)
    state = less.adam_state(tmp_path / "c", TwoWeights())
    # Moments by hand. A: m = .9 * .1 * 1 + .1 * 3 = .39, v = .999 * .001 * 1 + .001 * 9 = .009999.
    # B: m = -(.9 * .1 + .1) * 2 = -.38, v = (.999 * .001 + .001) * 4 = .007996.
    a, b = "lora_A.default.weight", "lora_B.default.weight"
    assert state.first[a].item() == pytest.approx(0.39)
    assert state.second[a].item() == pytest.approx(0.009999)
    assert state.first[b].item() == pytest.approx(-0.38)
    assert state.second[b].item() == pytest.approx(0.007996)
    # The corrected gradient of A for g = 2: (.9 * .39 + .2) / sqrt(.999 * .009999 + .004 + 1e-8).
    expected = 0.551 / (0.999 * 0.009999 + 0.004 + 1e-8) ** 0.5
    assert state.direction(a, torch.tensor([[2.0]])).item() == pytest.approx(expected)


def test_a_foreign_checkpoint_needs_the_callers_word_for_its_order(tmp_path):
    model = trained_checkpoint(tmp_path / "c", ("lora_A", "lora_B"))
    (tmp_path / "c" / adam_module.NAMES_FILE).unlink()
    with pytest.raises(ValueError, match="does not name the parameters of its optimiser state"):
        less.adam_state(tmp_path / "c", model)
    state = less.adam_state(tmp_path / "c", model, assume_model_order=True)
    assert state.first["lora_A.default.weight"].item() == pytest.approx(0.39)


def test_a_checkpoint_that_does_not_fit_is_refused(tmp_path):
    model = TwoWeights()
    with pytest.raises(ValueError, match=r"folder: .* has no optimizer\.pt; LESS needs the optimiser state"):
        less.adam_state(tmp_path, model)
    trained_checkpoint(tmp_path / "c", ("lora_A", "lora_B"))
    wider = TwoWeights()
    wider.lora_A.default = torch.nn.Linear(2, 1, bias=False)
    with pytest.raises(
        ValueError, match=r"exp_avg of shape \(1, 1\) for 'lora_A.default.weight' of shape \(1, 2\)"
    ):
        less.adam_state(tmp_path / "c", wider)
    path = tmp_path / "c" / adam_module.NAMES_FILE
    path.write_text(json.dumps([["lora_A.default.weight"]]))
    with pytest.raises(ValueError, match="holds 2 parameters, but 1 names"):
        less.adam_state(tmp_path / "c", model)
    path.write_text(json.dumps([["lora_A.default.weight", "elsewhere"]]))
    with pytest.raises(ValueError, match=r"no state for parameter 'lora_B\.default\.weight'"):
        less.adam_state(tmp_path / "c", model)
    saved = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    saved.step()
    torch.save(saved.state_dict(), tmp_path / "c" / "optimizer.pt")
    less.write_parameter_names(model, saved, tmp_path / "c")
    with pytest.raises(ValueError, match=r"momentum_buffer.* train the warm-up with AdamW"):
        less.adam_state(tmp_path / "c", model)
    with pytest.raises(ValueError, match="optimizer: holds parameters that are not the model's"):
        less.write_parameter_names(TwoWeights(), saved, tmp_path / "c")


def test_a_trainers_checkpoint_folder_is_read_as_it_was_left(tmp_path):
    # A warm-up as the pipeline would run it: one checkpoint an epoch, names written when it is saved.
    class WriteNames(transformers.TrainerCallback):
        def on_save(self, _args, state, _control, model=None, optimizer=None, **_):
            less.write_parameter_names(model, optimizer, tmp_path / f"checkpoint-{state.global_step}")

    model = tiny_model(dropout=0.0)
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        num_train_epochs=2,
        per_device_train_batch_size=4,
        learning_rate=1e-3,
        lr_scheduler_type="linear",
        save_strategy="epoch",
        logging_steps=1,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        seed=0,
    )
    rows = examples(8)
    trainer = transformers.Trainer(
        model, arguments, train_dataset=rows, data_collator=collate, callbacks=[WriteNames()]
    )
    trainer.train()
    folders = [tmp_path / "checkpoint-2", tmp_path / "checkpoint-4"]
    # Linear from 1e-3 over 4 steps: the steps used 1, .75 | .5, .25 thousandths.
    np.testing.assert_allclose(less.learning_rate_weights(folders), [1.75 / 2.5, 0.75 / 2.5])

    state = less.adam_state(folders[-1], shuffled_registration(tiny_model(seed=5)))
    live = trainer.optimizer.optimizer.state
    assert sorted(state.first) == less.lora_parameters(model)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(state.first[name], live[parameter]["exp_avg"])
            torch.testing.assert_close(state.second[name], live[parameter]["exp_avg_sq"])


# ---- projection


def dense_rademacher(x, dim, seed):
    signs = torch.randint(0, 2, (x.shape[1], dim), generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return x @ signs.float() / dim**0.5


def sketched(x, dim, seed, name="q"):
    out = torch.zeros(len(x), dim)
    less.CountSketch(dim, seed).add(out, name, x)
    return out


@pytest.mark.parametrize("size", [5, 64, 100, 1000])
def test_every_coordinate_lands_in_one_bucket_with_a_sign(size):
    # Sizes below, equal to, and beyond the dimension, with and without a remainder.
    out = sketched(torch.eye(size), 64, 0)
    assert ((out != 0).sum(dim=1) == 1).all()
    assert (out.abs().sum(dim=1) == 1).all()


def test_the_gpus_sum_of_moved_pieces_is_the_cpus():
    x, dim = torch.randn(3, 3 * 40), 40
    sketch = less.CountSketch(dim, 1)
    signs, shifts = sketch._draw("q", x.shape[1], x.device)
    moved = rolled_sum((x * signs).view(3, 3, dim), shifts)
    torch.testing.assert_close(moved, sketched(x, dim, 1))


def test_projected_inner_products_are_unbiased():
    generator = torch.Generator().manual_seed(0)
    x, z = torch.randn(2, 300, generator=generator)
    z = z + x
    estimates = []
    for seed in range(600):
        a, b = sketched(torch.stack([x, z]), 32, seed)
        estimates.append(float(a @ b))
    standard_error = np.std(estimates) / 600**0.5
    assert abs(np.mean(estimates) - float(x @ z)) < 4 * standard_error
    assert standard_error < 0.05 * float(x @ z)


def test_a_projection_belongs_to_seed_dimension_and_name():
    x = torch.randn(1, 200, generator=torch.Generator().manual_seed(0))
    base = sketched(x, 50, 0)
    torch.testing.assert_close(sketched(x, 50, 0), base, rtol=0, atol=0)
    assert not torch.equal(sketched(x, 50, 1), base)
    assert not torch.equal(sketched(x, 50, 0, "other"), base)
    with pytest.raises(ValueError, match="dim: got 0"):
        less.CountSketch(0)


def test_influence_ranks_as_well_as_under_a_dense_rademacher_projection(model, names):
    # The full-size check (8,192 dimensions, a larger model) is in tests/benchmarks/bench_less.py.
    gradients = less.per_example_gradients(model, collate(examples(160, seed=3)), names)
    unit = torch.nn.functional.normalize(gradients, dim=1)

    def scores(x):
        x = torch.nn.functional.normalize(x, dim=1).double()
        return (x[32:] @ x[:32].mean(dim=0)).numpy()

    exact, dim, ours, dense = scores(unit), 1024, [], []
    sizes = [model.get_parameter(name).numel() for name in names]
    for seed in range(5):
        out, sketch = torch.zeros(160, dim), less.CountSketch(dim, seed)
        for name, block in zip(names, unit.split(sizes, dim=1), strict=True):
            sketch.add(out, name, block)
        ours.append(spearmanr(exact, scores(out)).statistic)
        dense.append(spearmanr(exact, scores(dense_rademacher(unit, dim, seed))).statistic)
    assert np.mean(ours) > np.mean(dense) - 0.01
    assert np.mean(ours) > 0.9


# ---- features on disk


def features(model, rows, folder, **options):
    return less.load_features(less.gradient_features(model, rows, folder=folder, dim=256, **options))


def test_features_are_the_normalised_projection_of_corrected_gradients(model, names, tmp_path):
    rows, state = examples(10), random_state(model)
    for adam in (None, state):
        ours = features(model, rows, tmp_path / str(adam is None), adam=adam, batch_tokens=30, shard_size=4)
        gradients = one_by_one(model, rows, names)
        sizes = [model.get_parameter(name).numel() for name in names]
        out, sketch = torch.zeros(10, 256), less.CountSketch(256, 0)
        for name, block in zip(names, gradients.split(sizes, dim=1), strict=True):
            corrected = block
            if adam is not None:
                m, v = adam.first[name].reshape(1, -1), adam.second[name].reshape(1, -1)
                corrected = (0.9 * m + 0.1 * block) / torch.sqrt(0.999 * v + 0.001 * block**2 + 1e-8)
            sketch.add(out, name, corrected)
        expected = torch.nn.functional.normalize(out, dim=1).numpy()
        np.testing.assert_allclose(ours, expected, atol=1e-5)
        np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, rtol=1e-5)


def shuffled_registration(model, seed=0):
    """The same model, its submodules registered in another order, on which no forward pass depends."""
    rng = np.random.default_rng(seed)
    for module in list(model.modules()):
        if not isinstance(module, (torch.nn.ModuleList, torch.nn.Sequential)):
            items = list(module._modules.items())
            module._modules.clear()
            module._modules.update([items[i] for i in rng.permutation(len(items))])
    return model


def test_order_of_parameters_batches_and_processes_change_no_influence(model, names, tmp_path):
    rows, target = examples(20), examples(6, seed=9)
    state = random_state(model)
    plain = features(model, target, tmp_path / "target")
    base = less.influence([features(model, rows, tmp_path / "a", adam=state)], [plain], [1.0])
    other = shuffled_registration(tiny_model())
    assert [n for n, _ in other.named_parameters()] != [n for n, _ in model.named_parameters()]
    backwards = less.AdamState(
        dict(reversed(state.first.items())), dict(reversed(state.second.items())), *BETAS
    )
    shuffled = features(other, rows, tmp_path / "b", adam=backwards)
    batches = features(model, rows, tmp_path / "c", adam=state, batch_tokens=1, shard_size=3)
    for rank in (1, 0):
        less.gradient_features(
            model, rows, folder=tmp_path / "d", adam=state, dim=256, shard_size=6, rank=rank, world_size=2
        )
    shared = less.load_features(tmp_path / "d")
    for variant in (shuffled, batches, shared):
        np.testing.assert_allclose(less.influence([variant], [plain], [1.0]), base, atol=1e-5)
    assert np.std(base) > 1e-3


def one_of_two(rank, port, folder):
    torch.distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    rows = features(tiny_model(), examples(7), folder, shard_size=2)
    torch.distributed.destroy_process_group()
    sys.exit(0 if rows.shape == (7, 256) else 1)  # both see everything once the call returns


def test_two_processes_of_torch_distributed_share_the_work(model, tmp_path):
    alone = features(model, examples(7), tmp_path / "alone", shard_size=2)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    # Forked, to spare two imports of everything; safe with the one thread that this module uses.
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=one_of_two, args=(rank, port, tmp_path / "both")) for rank in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    codes = [worker.exitcode for worker in workers]
    for worker in workers:
        worker.kill()
    assert codes == [0, 0]
    np.testing.assert_allclose(less.load_features(tmp_path / "both"), alone, atol=1e-5)


def test_a_killed_run_goes_on_after_its_last_finished_shard(model, tmp_path, monkeypatch):
    rows = examples(9)
    whole = features(model, rows, tmp_path / "whole", shard_size=3)
    from baselines.less import features as module

    made, real = [], module._shard

    def killed_in_the_third(*args, **options):
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(1)
        return real(*args, **options)

    monkeypatch.setattr(module, "_shard", killed_in_the_third)
    with pytest.raises(KeyboardInterrupt):
        features(model, rows, tmp_path / "cut", shard_size=3)
    with pytest.raises(ValueError, match=r"lacks 1 of 3 shards, first shard_00002\.npy"):
        less.load_features(tmp_path / "cut")
    made.clear()
    told = []
    again = features(model, rows, tmp_path / "cut", shard_size=3, on_shard=lambda *shard: told.append(shard))
    np.testing.assert_array_equal(again, whole)
    assert len(made) == 1  # only the missing one
    assert told == [(3, True), (3, True), (3, False)]
    assert not list((tmp_path / "cut").glob("*.tmp"))


@pytest.mark.parametrize("name", ["shard_00001.npy", "features.json"])
@pytest.mark.parametrize("size", [0, 70])
def test_a_torn_file_of_a_folder_is_made_again(model, tmp_path, name, size):
    rows = examples(5)
    whole = features(model, rows, tmp_path, shard_size=3)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:size])
    np.testing.assert_array_equal(features(model, rows, tmp_path, shard_size=3), whole)


def test_a_folder_made_with_other_arguments_is_refused(model, tmp_path):
    features(model, examples(3), tmp_path / "f")
    with pytest.raises(ValueError, match="features made with another seed; use an empty folder"):
        features(model, examples(3), tmp_path / "f", seed=1)
    with pytest.raises(ValueError, match="another examples, kind"):
        features(model, examples(3, seed=5), tmp_path / "f", adam=random_state(model))
    with pytest.raises(ValueError, match="holds no gradient features"):
        less.load_features(tmp_path)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        ([], {}, "examples: is empty"),
        ([{"input_ids": [1, 2], "labels": [-100, -100]}], {}, "examples: row 0 has no token to predict"),
        ([{"input_ids": [1, 2], "labels": [2]}], {}, "examples: row 0 has 2 input_ids and 1 labels"),
        (examples(1), {"batch_tokens": 0}, "batch_tokens: got 0"),
        (examples(1), {"shard_size": 0, "seed": -1}, "(?s)2 bad arguments.*shard_size: got 0.*seed: got -1"),
        (examples(1), {"rank": 0}, "rank and world_size: give both or neither"),
        (examples(1), {"rank": 2, "world_size": 2}, "rank: got 2; give an int from 0 to 1"),
    ],
)
def test_bad_feature_arguments_are_named(model, tmp_path, rows, options, message):
    with pytest.raises(ValueError, match=message):
        features(model, rows, tmp_path / "f", **options)


def test_a_gradient_that_is_not_finite_is_named(tmp_path):
    broken = tiny_model()
    with torch.no_grad():
        broken.get_parameter(less.lora_parameters(broken)[0])[0, 0] = torch.nan
    with pytest.raises(ValueError, match="examples: row 0 has a gradient with NaN or inf"):
        features(broken, examples(2), tmp_path / "f")


# ---- influence


def test_influence_equals_the_definition():
    rng = np.random.default_rng(0)
    train, target = rng.normal(size=(3, 50, 8)), rng.normal(size=(3, 6, 8))
    weights, tasks = np.array([3.0, 2.0, 1.0]), ["a", "b", "a", "c", "b", "a"]
    per_pair = sum(w / 6 * T @ G.T for w, T, G in zip(weights, train, target, strict=True))
    np.testing.assert_allclose(less.influence(list(train), list(target), weights), per_pair.mean(axis=1))
    means = [per_pair[:, [i for i, x in enumerate(tasks) if x == task]].mean(axis=1) for task in "abc"]
    ours = less.influence(list(train), list(torch.tensor(target)), weights, subtasks=tasks)
    np.testing.assert_allclose(ours, np.max(means, axis=0))
    halves = [torch.tensor(features).bfloat16() for features in train]
    rounded = less.influence(halves, list(target), weights, subtasks=tasks)
    exact = less.influence([half.double() for half in halves], list(target), weights, subtasks=tasks)
    np.testing.assert_array_equal(rounded, exact)


def test_select_takes_the_top_with_ties_to_the_lowest_index():
    scores = np.array([0.2, 0.9, np.nan, 0.9, -0.5])
    mask = ~np.isnan(scores)
    picked = less.select(scores, 4, candidates=mask)
    assert picked.indices.tolist() == [1, 3, 0, 4]
    assert picked.gains.tolist() == [0.9, 0.9, 0.2, -0.5]
    assert less.select(scores, 2, candidates=mask).indices.tolist() == [1, 3]


def test_checkpoint_weights_are_the_mean_learning_rates_of_their_epochs(tmp_path):
    history = [
        {"step": s, "learning_rate": r, "loss": 1.0} for s, r in ((1, 4.0), (2, 3.0), (3, 2.0), (4, 0.0))
    ]
    for step in (2, 4):
        (tmp_path / str(step)).mkdir()
        state = {"global_step": step, "log_history": [*history[:step], {"step": step, "eval_loss": 1}]}
        (tmp_path / str(step) / "trainer_state.json").write_text(json.dumps(state))
    # Means 3.5 and 1, so 3.5 / 4.5 and 1 / 4.5.
    np.testing.assert_allclose(less.learning_rate_weights([tmp_path / "2", tmp_path / "4"]), [7 / 9, 2 / 9])
    with pytest.raises(ValueError, match=r"no learning rate was logged between steps 4 and 2"):
        less.learning_rate_weights([tmp_path / "4", tmp_path / "2"])
    with pytest.raises(ValueError, match=r"has no trainer_state\.json"):
        less.learning_rate_weights([tmp_path])
    with pytest.raises(ValueError, match="folders: is empty"):
        less.learning_rate_weights([])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda X: less.influence([X], [X], [1, 2]), "weights: 2 of them, 1 train_features"),
        (lambda X: less.influence([X], [X], [0.0]), "weights: got"),
        (lambda X: less.influence([X], [X[:0]], [1]), r"target_features: has shape \(0, 3\)"),
        (lambda X: less.influence([X], [X[:, :2]], [1]), "target_features: has shapes .* 3 columns"),
        (lambda X: less.influence([X, X[:2]], [X, X], [1, 1]), "train_features: has shapes"),
        (lambda X: less.influence([X * np.nan], [X], [1]), "train_features: row 0 holds NaN"),
        (lambda X: less.influence([X], [X * np.inf], [1]), "target_features: row 0 holds NaN"),
        (lambda X: less.influence([X], [X], [1], subtasks=["a"]), "subtasks: has 1 labels for 4"),
        (lambda X: less.select(X, 1), r"influence_scores: has shape \(4, 3\)"),
        (lambda X: less.select(X[0] * np.nan, 1), "influence_scores: row 0 holds NaN"),
        (lambda X: less.select(X[0], 4), "budget: got 4"),
    ],
)
def test_bad_influence_arguments_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.ones((4, 3)))
