"""The result type and the budget."""

import pickle

import numpy as np
import pytest

from selection import Selection
from selection.checks import resolve_budget
from selection.types import Computed


def test_prefix_keeps_order_gains_and_the_rounds_that_begin_in_it():
    whole = Selection(np.array([4, 2, 9, 0]), np.array([3.0, 2.0, 1.0, 0.5]), (0, 2, 3), {"trace": 1.0})
    part = whole.prefix(3)
    assert part.indices.tolist() == [4, 2, 9]
    assert part.gains.tolist() == [3.0, 2.0, 1.0]
    assert part.rounds == (0, 2)
    assert part.objective == {}
    assert whole.prefix(4).objective == {"trace": 1.0}


@pytest.mark.parametrize("budget", [0, 5, 2.0, True])
def test_prefix_refuses_a_length_it_does_not_have(budget):
    with pytest.raises(ValueError, match="give an int from 1 to 4"):
        Selection(np.arange(4), np.zeros(4)).prefix(budget)


def test_a_computed_objective_is_computed_once_and_only_when_looked_at():
    calls = []
    whole = Selection(
        np.array([4, 2]), np.ones(2), objective=Computed(lambda: calls.append(1) or {"trace": 1.0})
    )
    same = whole.prefix(2)
    assert "when asked" in repr(whole.objective)
    assert calls == []
    assert whole.objective["trace"] == 1.0
    assert same.objective == {"trace": 1.0} == dict(whole.objective)
    assert "trace" in repr(whole.objective)
    assert calls == [1]


def test_a_pickled_selection_holds_the_values_of_its_objective():
    whole = Selection(np.array([4, 2]), np.ones(2), objective=Computed(lambda: {"trace": 1.0}))
    copy = pickle.loads(pickle.dumps(whole))
    assert copy.objective == {"trace": 1.0}
    assert copy.indices.tolist() == [4, 2]


def test_selection_cannot_be_changed_and_does_not_share_memory():
    rows = np.array([1, 0], dtype=np.int64)
    selection = Selection(rows, np.zeros(2))
    rows[0] = 7
    assert selection.indices.tolist() == [1, 0]
    with pytest.raises(ValueError, match="read-only"):
        selection.indices[0] = 3


def test_selection_reports_everything_that_is_inconsistent():
    with pytest.raises(ValueError, match="gains: has 1 values for 2") as error:
        Selection(np.array([3, 3]), np.zeros(1), (1,))
    assert "row 3 appears twice" in str(error.value)
    assert "begin with 0" in str(error.value)


@pytest.mark.parametrize(
    ("budget", "n", "expected"),
    # 0.5 * 5 = 2.5 rounds to the even 2, 0.5 * 7 = 3.5 to 4; a tiny share is still one row.
    [(1, 9, 1), (9, 9, 9), (1.0, 9, 9), (0.5, 5, 2), (0.5, 7, 4), (0.001, 9, 1), (np.int64(3), 9, 3)],
)
def test_budget_int_is_a_count_and_float_a_share(budget, n, expected):
    assert resolve_budget(budget, n) == expected


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        (0, "a count must be from 1 to 9"),
        (10, "a count must be from 1 to 9"),
        (0.0, "a share must be above 0 and at most 1"),
        (1.5, "a share must be above 0 and at most 1"),
        (float("nan"), "a share must be above 0 and at most 1"),
        (True, "give an int"),
        ("10", "give an int"),
    ],
)
def test_budget_out_of_range_says_what_is_allowed(budget, message):
    with pytest.raises(ValueError, match=message):
        resolve_budget(budget, 9)
