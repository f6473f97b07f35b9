"""What else than arrays `gip_select` takes, and what its result can do."""

import datasets
import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_matrix

from selection import Selection, gip_select


@pytest.fixture(scope="module")
def pool():
    rng = np.random.default_rng(0)
    return rng.normal(size=(50, 8)).astype(np.float32), rng.random((50, 2))


@pytest.mark.parametrize(
    "convert",
    [
        lambda x: x.tolist(),
        lambda x: tuple(map(tuple, x.tolist())),
        list,
        pd.DataFrame,
        lambda x: pd.Series(list(x)),
        lambda x: datasets.Dataset.from_dict({"c": x.tolist()})["c"],
    ],
    ids=["lists", "tuples", "list of arrays", "DataFrame", "Series of arrays", "column of a data set"],
)
def test_tables_of_any_kind_give_the_picks_of_the_array(pool, convert):
    features, scores = pool
    expected = gip_select(features, 9, scores=scores).indices
    assert (gip_select(convert(features), 9, scores=convert(scores)).indices == expected).all()


@pytest.mark.parametrize("convert", [np.asarray, list, pd.Series])
def test_scores_of_one_dimension_are_one_column(pool, convert):
    features, scores = pool
    expected = gip_select(features, 9, scores=scores[:, :1]).indices
    assert (gip_select(features, 9, scores=convert(scores[:, 0])).indices == expected).all()


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (csr_matrix(np.eye(4)), r"csr_matrix \(sparse: reduce it .* TruncatedSVD"),
        ([[1.0, 2.0], [3.0]], "features: got list"),
        ([["a", "b"]], "features: got list"),
        (pd.DataFrame({"a": ["x", "y"]}), "features: got DataFrame"),
        ("text", "features: got str"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused(features, message):
    with pytest.raises(ValueError, match=message):
        gip_select(features, 1)


def test_a_selection_is_a_sequence_of_rows(pool):
    found = gip_select(pool[0], 10)
    assert list(found) == found.indices.tolist()
    assert found[0] == found.indices[0]
    assert found[-2:].tolist() == found.indices[-2:].tolist()
    assert repr(found).startswith("<Selection: 10 of 50 rows: ")
    assert len(repr(found)) < 80
    assert repr(Selection(np.array([3]), np.array([0.0]))) == "<Selection: 1 row: 3>"


def test_a_prefix_may_be_a_share_of_the_pool(pool):
    found = gip_select(pool[0], 10)
    assert found.prefix(0.1).indices.tolist() == found.indices[:5].tolist()
    assert found.prefix(0.1).prefix(0.02).indices.tolist() == found.indices[:1].tolist()
    with pytest.raises(ValueError, match=r"got 0.5; .* a share of the pool of at most 0.2"):
        found.prefix(0.5)
    with pytest.raises(ValueError, match=r"got 0.5; give an int from 1 to 2, the length of this selection$"):
        Selection(np.array([1, 2]), np.zeros(2)).prefix(0.5)
