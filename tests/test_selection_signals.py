"""Signal tables: round trips, mixtures, and what is refused."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from selection import gip_select
from selection.signals import (
    SignalTable,
    drop_constant_columns,
    mixture,
    read_signals,
    score_zeros,
    shift_scores,
    write_signals,
)

NAN = float("nan")


def table(values=((1.0, 2.0), (NAN, 3.0), (4.0, 5.0)), ids=("a", "b", "c"), names=("help", "right")):
    return SignalTable(ids, names, np.array(values))


def test_parquet_round_trip_keeps_ids_names_numbers_and_gaps(tmp_path):
    write_signals(table(), tmp_path / "deep" / "s.parquet")
    back = read_signals(tmp_path / "deep" / "s.parquet")
    assert back.ids == ("a", "b", "c")
    assert back.names == ("help", "right")
    np.testing.assert_array_equal(back.values, table().values)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["s.parquet"]


def test_any_parquet_with_ids_and_numbers_can_be_read(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": [7, 8], "n": pa.array([1, None], pa.int32()), "ok": [True, False]}), path)
    back = read_signals(path, ["ok", "n"])
    assert back.ids == ("7", "8")
    np.testing.assert_array_equal(back.values, [[1.0, 1.0], [0.0, NAN]])


def test_scored_rows_are_those_without_a_gap_and_serve_as_candidates():
    signals = table()
    assert signals.scored.tolist() == [True, False, True]
    features = np.random.default_rng(0).normal(size=(3, 4))
    picked = gip_select(features, 2, scores=signals.values, candidates=signals.scored)
    assert sorted(picked.indices.tolist()) == [0, 2]


def test_alignment_follows_the_pool_and_marks_or_refuses_missing_rows():
    assert table().aligned(["c", "a"]).values.tolist() == [[4.0, 5.0], [1.0, 2.0]]
    assert table().aligned(["z", "a"], missing="unscored").scored.tolist() == [False, True]
    with pytest.raises(ValueError, match="1 have no row in the table, the first is 'z'"):
        table().aligned(["z", "a"])
    with pytest.raises(ValueError, match="missing: got 'drop'; choose one of error, unscored"):
        table().aligned(["a"], missing="drop")


def test_mixture_scales_each_column_and_then_weighs_it():
    one = SignalTable(("a", "b"), ("x",), np.array([[3.0], [4.0]]))
    two = SignalTable(("b", "a"), ("y",), np.array([[10.0], [NAN]]))
    mixed = mixture([one, two], {"y": 0.5})
    assert mixed.names == ("x", "y")
    # rms of (3, 4) is sqrt(12.5); the only number of y is its own rms, and its weight is one half.
    np.testing.assert_allclose(mixed.values, [[3 / 12.5**0.5, NAN], [4 / 12.5**0.5, 0.5]])
    plain = mixture([one, two.prefixed("meta")], scaling="none")
    assert plain.names == ("x", "meta/y")
    np.testing.assert_array_equal(plain.values, [[3.0, NAN], [4.0, 10.0]])


def test_mixture_weight_changes_what_is_selected():
    rng = np.random.default_rng(1)
    features, ids = rng.normal(size=(50, 5)), tuple(map(str, range(50)))
    parts = [SignalTable(ids, (name,), rng.uniform(1, 5, size=(50, 1))) for name in ("x", "y")]
    picks = [
        gip_select(features, 1, scores=mixture(parts, {"y": w}).values, score_scaling="none", ridge=9.0)
        for w in (0.01, 100.0)
    ]
    assert picks[0].indices[0] == parts[0].values.argmax()
    assert picks[1].indices[0] == parts[1].values.argmax()


def test_mixture_reports_everything_that_is_wrong():
    other = SignalTable(("a", "b"), ("help",), np.ones((2, 1)))
    with pytest.raises(ValueError, match="'help' appears twice") as error:
        mixture([table(), other], {"help": 0.0, "nope": 1.0}, scaling="max")
    message = str(error.value)
    assert "table 1 has other ids than table 0" in message
    assert "weights['help']: got 0.0" in message
    assert "names column 'nope'" in message
    assert "scaling: got 'max'" in message
    with pytest.raises(ValueError, match="tables: is empty"):
        mixture([])


def test_constant_columns_are_dropped_and_reported():
    signals = table([[1.0, 2.0, NAN], [NAN, 2.0, NAN], [4.0, 2.0, NAN]], names=("help", "flat", "void"))
    reduced = drop_constant_columns(signals)
    assert reduced.table.names == ("help",)
    assert list(reduced.dropped) == ["flat", "void"]
    assert reduced.dropped["flat"] == 2.0
    assert np.isnan(reduced.dropped["void"])
    with pytest.raises(ValueError, match="every column is constant"):
        drop_constant_columns(signals.columns(["flat", "void"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"values": [[1.0]]}, r"values: has shape \(1, 1\); give ids x names = \(3, 2\)"),
        ({"ids": ("a", "a", "c")}, "ids: 'a' appears twice"),
        ({"names": ("x", "x")}, "names: 'x' appears twice"),
        ({"names": ("id", "x")}, "names: 'id' is the name of the id column"),
        ({"values": [[1, 2], [3, float("inf")], [5, 6]]}, r"row 1 \('b'\), column 'right' is inf"),
        ({"values": np.empty((0, 2)), "ids": ()}, "give at least one each"),
    ],
)
def test_a_malformed_table_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        table(**change)


def test_unknown_column_lists_the_known_ones():
    assert table().column("right").tolist() == [2.0, 3.0, 5.0]
    with pytest.raises(ValueError, match=r"'style'.*it has help, right"):
        table().column("style")


def test_unreadable_files_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"nothing.parquet is not a file"):
        read_signals(tmp_path / "nothing.parquet")
    broken = tmp_path / "broken.parquet"
    broken.write_text("no parquet")
    with pytest.raises(ValueError, match="cannot be read as parquet"):
        read_signals(broken)
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"key": ["a"], "x": [1.0]}), path)
    with pytest.raises(ValueError, match="has no column 'id'; it has key, x"):
        read_signals(path)
    pq.write_table(pa.table({"id": ["a"], "text": ["b"]}), path)
    with pytest.raises(ValueError, match="column 'text' is string, not a number") as error:
        read_signals(path, ["text", "y"])
    assert "has no column 'y'" in str(error.value)


@pytest.mark.parametrize(
    ("column", "zero"),
    [
        (np.arange(-100.0, 1.0), -95.0),  # rewards: the 5th percentile
        (np.arange(1.0, 102.0), 0.0),  # nothing is negative
        (np.r_[-0.3, np.arange(1.0, 101.0)], 0.0),  # one negative among positives moves nothing else
        (np.r_[-999.0, np.arange(-50.0, 50.0)], -46.0),  # an outlier does not set the scale
        (np.full(10, -3.0), -3.0),
        (np.r_[-4.0, np.zeros(99)], -4.0),  # the quantile is the highest value, so the lowest is taken
        (np.r_[NAN, np.arange(-100.0, 1.0)], -95.0),
    ],
)
def test_the_zero_of_negative_scores_is_their_fifth_percentile(column, zero):
    assert score_zeros(column[:, None]).tolist() == pytest.approx([zero])
    shifted = shift_scores(column[:, None])[:, 0]
    known = ~np.isnan(column)
    np.testing.assert_array_equal(np.isnan(shifted), ~known)
    np.testing.assert_allclose(shifted[known], np.maximum(column[known] - zero, 0))
