"""The pool is the same for every method; budgets are counts or shares; rankings are shared by budgets."""

import numpy as np
import pytest

from gip_exp.config.target import Target
from gip_exp.data.split import count, rank_to, split
from gip_exp.errors import UserError

TARGET = Target(n=128, max_share=0.1, seed=0)


def test_every_row_is_either_in_the_pool_or_a_target():
    parts = split(7473, TARGET)
    assert (len(parts.pool), len(parts.target)) == (7345, 128)
    assert np.array_equal(np.sort(np.concatenate([parts.pool, parts.target])), np.arange(7473))


def test_a_small_pool_gives_up_a_tenth_at_most():
    assert len(split(100, TARGET).target) == 10
    assert len(split(5, TARGET).target) == 0


def test_the_target_depends_on_its_own_seed_alone():
    again, other = split(500, TARGET), split(500, TARGET.model_copy(update={"seed": 1}))
    assert np.array_equal(split(500, TARGET).target, again.target)
    assert not np.array_equal(again.target, other.target)


@pytest.mark.parametrize(
    ("budget", "expected"), [(0.1, 10), (1.0, 100), (1, 1), (100, 100), (0.001, 1), (0.125, 12)]
)
def test_a_budget_is_a_count_or_a_rounded_share(budget, expected):
    assert count(budget, 100) == expected


def test_a_count_beyond_the_pool_is_refused_with_the_pools_size():
    with pytest.raises(UserError, match=r"budget=101 exceeds the pool of 100 rows"):
        count(101, 100)


@pytest.mark.parametrize(
    ("n_selected", "expected"),
    [(1, 1), (2, 3), (3, 3), (4, 5), (6, 10), (11, 20), (20, 20), (21, 50), (50, 50), (51, 100), (100, 100)],
)
def test_a_ranking_goes_as_far_as_its_class_of_budgets(n_selected, expected):
    assert rank_to(n_selected, 100) == expected
