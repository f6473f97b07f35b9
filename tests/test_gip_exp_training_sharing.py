"""Several processes train as one: every remainder of rows to batch; the filling of packed rows and its tokens."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate.data_loader import SeedableRandomSampler
from datasets import Dataset
from launch import FORKS
from slurm_cluster import free_ports
from test_gip_exp_training_finetune import EXAMPLES, settings, weights

from gip_exp.models import loading
from gip_exp.models.machine import Machine
from gip_exp.models.prompts import renderer
from gip_exp.training.finetune import train_process
from gip_exp.training.sharing import BatchesByLength, filled, filling_seen
from gip_exp.training.task import Task
from gip_exp.training.tokens import training_rows
from tests.tiny_families import PROMPTS, make_family

BATCH = 6
ROWS = [2, 7, 9, 10, 11, 12]  # every remainder to the batch, and fewer rows than processes
PROCESSES = [1, 2, 3]


def task(base: Path, folder: Path, n: int, processes: int, **changes) -> Task:
    """Two epochs on `n` rows in batches of six, one row at a time; no dropout, whose masks would differ."""
    tokenizer = loading.load_tokenizer(str(base))
    fixed = {"dropout": 0.0, "steps": None, "epochs": 2, "batch": BATCH, "micro_batch": 1, "lr": 1e-2}
    train = settings(**fixed | {"processes": processes, "checkpoint_steps": None} | changes)
    rows = training_rows(EXAMPLES[:n], renderer(PROMPTS["mistral"], tokenizer), tokenizer, train).rows
    machine = Machine(str(base), "float32", "cpu")
    return Task(rows, train, machine, folder / "work", adapter=folder / "adapter")


def rank(number: int, processes: int, port: int, base: Path, folder: Path) -> None:
    """One of several processes, as torchrun starts them: the trainings on all numbers of rows, one after the other."""
    place = {"RANK": number, "LOCAL_RANK": number, "WORLD_SIZE": processes, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    os.environ.update({"MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"})
    torch.set_num_threads(1)
    for n in ROWS:
        here = folder / str(n)
        done = train_process(task(base, here, n, processes), on_step=lambda *_: None, log=lambda _: None)
        if number == 0:
            torch.save((done.history, done.figures["tokens"]), here / "done.pt")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(history, tokens, weights) by processes and rows."""
    base = make_family(tmp_path_factory.mktemp("base"), "mistral")
    found = {}
    for count in PROCESSES:
        folder = tmp_path_factory.mktemp(f"processes{count}")
        (port,) = free_ports(1)
        ranks = [FORKS.Process(target=rank, args=(r, count, port, base, folder)) for r in range(count)]
        for process in ranks:
            process.start()
        for process in ranks:
            process.join(300)
            assert process.exitcode == 0
        for n in ROWS:
            done = torch.load(folder / str(n) / "done.pt")
            found[count, n] = (*done, weights(folder / str(n)))
    return found


@pytest.mark.parametrize("n", ROWS)
@pytest.mark.parametrize("processes", PROCESSES[1:])
def test_several_processes_train_as_one_for_every_remainder(trained, processes, n):
    """The same losses, tokens and weights but for rounding; a row learnt twice would show in all three."""
    one, many = trained[1, n], trained[processes, n]
    assert len(many[0]) == len(one[0]) == 2 * -(-n // BATCH)
    assert [row["loss"] for row in many[0]] == pytest.approx([row["loss"] for row in one[0]], rel=1e-5)
    assert many[1] == one[1]
    # Adam magnifies the rounding of a gradient near 0; its steps are 1e-2.
    for name, weight in one[2].items():
        assert torch.allclose(many[2][name], weight, atol=1e-3), name


def test_batches_keep_their_rows_and_put_the_longest_first():
    """Two epochs of 10 rows and 2 of filling, in batches of 6: the batches of a random order, each sorted."""
    lengths = [30, 10, 50, 20, 40, 90, 70, 60, 80, 15, 1, 1]
    orders = BatchesByLength(lengths, 2, 6, seed=3), SeedableRandomSampler(range(10), data_seed=3)
    for epoch in range(2):
        for order in orders:
            order.set_epoch(epoch)
        ours, plain = (list(order) for order in orders)
        assert len(ours) == len(orders[0]) == 12
        assert set(ours[:6]) == set(plain[:6])
        assert set(ours[6:10]) == set(plain[6:])
        assert ours[10:] == [10, 11]
        for batch in (ours[:6], ours[6:10]):
            assert [lengths[row] for row in batch] == sorted((lengths[row] for row in batch), reverse=True)
    assert list(BatchesByLength(lengths[:10], 0, 1, seed=3)) == list(
        SeedableRandomSampler(range(10), data_seed=3)
    )


def test_the_filling_of_packed_rows_is_one_token_without_a_loss():
    packed = {
        "input_ids": [[5, 6, 7], [8, 9]],
        "labels": [[-100, 6, 7], [8, 9]],
        "seq_lengths": [[1, 2], [2]],
    }
    rows = filled(Dataset.from_dict(packed), 2)
    assert rows[2] == rows[3] == {"input_ids": [5], "labels": [-100], "seq_lengths": [1]}
    assert rows[:2] == packed
    assert len(filled(Dataset.from_dict(packed), 0)) == 2


@pytest.mark.parametrize(
    ("first", "last", "tokens"), [(0, 6, 10), (0, 2, 0), (0, 3, 5), (2, 5, 5), (3, 5, 0), (3, 7, 5)]
)
def test_the_filling_is_counted_at_the_end_of_each_epoch(first, last, tokens):
    """Three steps an epoch, five rows of filling."""
    args = SimpleNamespace(train_batch_size=2, gradient_accumulation_steps=2, world_size=3)
    trainer = SimpleNamespace(args=args, n_rows=25, n_filling=5)
    assert filling_seen(trainer, first, last) == tokens
