"""A sample of the fault campaign on one run: `python tests/fault_campaign.py` is all of it, for releases."""

import random

import fault_disks
import fault_kills
import pytest
from fault_kills import Bench
from fault_runs import judged
from fault_server import FaultServer


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with FaultServer(delay_s=0.05) as server:
        yield Bench(tmp_path_factory.mktemp("faults"), random.Random(0), server, kills=4, places=2)


@pytest.fixture
def run(bench):
    return judged(bench.server.url, multirun=False)


def held(rows):
    for row in rows:
        assert row.tries > 0
        assert row.ok, "\n".join(row.problems)


def test_a_run_killed_in_stage_after_stage_ends_as_one_left_alone_and_buys_nothing_twice(bench, run):
    held(fault_kills.random_moments(bench, run, ("base", "score", "train", "evaluate")))


def test_replies_are_bought_again_only_where_the_cache_was_damaged(bench, run):
    held(fault_disks.damaged_replies(bench, run))
