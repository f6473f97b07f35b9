"""What must hold for every selection: prefixes, permutations, ties, degenerate pools, any input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from selection import gip_select
from selection.checks import Problems
from selection.fast.ahead import Ahead
from selection.fast.choose import fast_applies, select_fast
from selection.fast.columns import TILE, dot_error, pool_products
from selection.objective import query_gram
from selection.plain import select_plain
from selection.prepare import Preparation, prepare
from selection.problem import Picks, Problem, Rule
from selection.signals import shift_scores


@pytest.fixture(autouse=True)
def one_thread():
    """Small pools: threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


KINDS = ["scores", "queries", "compression"]
METHODS = ["mp", "omp", "logdet"]
QUICK = settings(max_examples=8, deadline=None, derandomize=True)


def make(kind: str, n: int, d: int, k: int = 3, seed: int = 0) -> tuple[np.ndarray, dict]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(7, d))
    features = rng.normal(size=(n, d)) + centres[rng.integers(7, size=n)]
    if kind == "scores":
        return features, {"scores": rng.integers(1, 6, size=(n, k)).astype(float)}
    return features, {"queries": rng.normal(size=(d, k))} if kind == "queries" else {}


def problem(features, query, *, method="mp", ridge=1.0, tol=1e-6, dtype=torch.float64, normalize=True):
    how = Preparation(True, normalize, "rms", ridge, dtype, torch.device("cpu"))
    both = {"scores": None, "queries": None} | query
    pool = prepare(Problems(), features, how, mask=None, **both)
    return Problem(pool, Rule(method, tol, 1e-6), query_gram(pool))


def assert_same(fast: Picks, plain: Picks) -> None:
    assert fast.order == plain.order
    assert fast.rounds == plain.rounds
    np.testing.assert_allclose(fast.gains, plain.gains, rtol=1e-6, atol=1e-9 * abs(plain.gains[0]))


# --- fast kernels against the plain loop, float64 -------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
@QUICK
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(30, 900),
    d=st.integers(3, 40),
    k=st.integers(1, 9),
    ridge=st.sampled_from([0.05, 0.3, 1.0, 4.0]),
)
def test_fast_kernels_make_the_plain_loops_picks(*, kind, method, seed, n, d, k, ridge):
    features, query = make(kind, n, d, k, seed)
    case = problem(features, query, method=method, ridge=ridge)
    assert_same(select_fast(case, n // 3, 2**24), select_plain(case, n // 3))


@pytest.mark.parametrize("kind", KINDS)
def test_fast_mp_takes_ridge_zero_and_rows_of_any_length(kind):
    features, query = make(kind, 700, 12, seed=4)
    features *= np.random.default_rng(0).uniform(0.2, 5, size=(700, 1))
    case = problem(features, query, ridge=0.0, normalize=False)
    assert fast_applies(case)
    assert_same(select_fast(case, 250, 2**24), select_plain(case, 250))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_fast_kernels_start_rounds_where_the_plain_loop_does(kind, method):
    features, query = make(kind, 400, 6, seed=2)
    # Gains for scores grow at first (a private direction per row): only a bar far above 1 ends their rounds.
    case = problem(features, query, method=method, ridge=0.1, tol=4.0 if kind == "scores" else 0.1)
    plain = select_plain(case, 300)
    assert len(plain.rounds) > 2
    assert_same(select_fast(case, 300, 2**24), plain)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_fast_kernels_break_ties_among_many_copies_by_the_lowest_row(kind, method):
    features, query = make(kind, 30, 8, seed=5)
    copies = np.tile(features, (60, 1))
    if kind == "scores":
        query = {"scores": np.tile(query["scores"], (60, 1))}
    case = problem(copies, query, method=method)
    plain = select_plain(case, 90)
    # Among equal rows not yet picked the first copy is always taken first.
    seen: dict[int, int] = {}
    for row in plain.order:
        assert row // 30 == seen.get(row % 30, 0)
        seen[row % 30] = row // 30 + 1
    assert_same(select_fast(case, 90, 2**24), plain)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_copies_are_guessed_in_the_order_in_which_they_are_picked(kind, method, monkeypatch):
    features, query = make(kind, 600, 16, seed=5)
    if kind == "scores":
        query = {"scores": np.tile(query["scores"], (3, 1))}
    looks = []
    look_ahead = Ahead.look_ahead
    monkeypatch.setattr(Ahead, "look_ahead", lambda state, row: looks.append(row) or look_ahead(state, row))
    select_fast(problem(np.tile(features, (3, 1)), query, method=method, dtype=torch.float32), 240, 2**24)
    assert len(looks) < 240 / 4  # a guess of the wrong copy would end every look after its first pick


def widened(case: Problem) -> Problem:
    """The same prepared numbers in float64: what decisions about a float32 pool are held against."""
    return replace(case, pool=replace(case.pool, rows=case.pool.rows.double()))


# Of self-compression under logdet the first gains differ by less than float32 can tell: these count as ties.
EXACT_IN_FLOAT32 = [
    (kind, method) for kind in KINDS for method in METHODS if (kind, method) != (KINDS[2], "logdet")
]


@pytest.mark.parametrize(("kind", "method"), EXACT_IN_FLOAT32)
def test_float32_pool_gets_the_picks_of_float64_arithmetic(kind, method):
    case = problem(*make(kind, 3000, 48, seed=8), method=method, dtype=torch.float32)
    assert select_fast(case, 600, 2**24).order == select_plain(widened(case), 600).order


@pytest.mark.parametrize(("kind", "method"), EXACT_IN_FLOAT32)
def test_equal_rows_all_over_the_pool_stay_ties_whatever_blas_makes_of_them(kind, method):
    features, query = make(kind, 60, 48, seed=5)
    # 50 copies of each row, in any order: in several products, and at any place within them.
    order = np.random.default_rng(0).permutation(3000)
    copies = np.tile(features, (50, 1))[order]
    if kind == "scores":
        query = {"scores": np.tile(query["scores"], (50, 1))[order]}
    case = problem(copies, query, method=method, ridge=0.3, dtype=torch.float32)
    assert len(torch.unique(case.pool.rows, dim=0)) == 60
    got = select_fast(case, 200, 2**24)
    assert got.order == select_plain(widened(case), 200).order
    for copy in range(60):  # of equal rows the lowest goes first
        rows = [row for row in got.order if order[row] % 60 == copy]
        assert rows == np.flatnonzero(order % 60 == copy)[: len(rows)].tolist()


def test_a_process_that_allows_short_products_gets_float32_ones_and_keeps_its_setting():
    features, query = make("scores", 2000, 32, seed=9)
    expected = gip_select(features, 100, **query).indices.tolist()
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        assert gip_select(features, 100, **query).indices.tolist() == expected
        assert torch.get_float32_matmul_precision() == "medium"
        assert torch.backends.mkldnn.matmul.fp32_precision == "bf16"
    finally:
        torch.set_float32_matmul_precision(before)


def test_products_with_the_pool_are_as_close_as_their_bound_says():
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(rng.uniform(0.5, 1, size=(2 * TILE + 17, 300))).float()  # sums that only grow
    vectors = torch.from_numpy(rng.uniform(0.5, 1, size=(7, 300))).float()
    got = rows.new_empty((7, len(rows)))
    pool_products(rows, vectors, got, 1)
    wrong = (got - vectors.double() @ rows.double().T).abs()
    reach = vectors.double().norm(dim=1)[:, None] * rows.double().norm(dim=1)
    assert float(wrong.max()) > 0
    assert bool((wrong <= dot_error(300, torch.float32) * reach).all())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_float32_kernels_agree_with_float64_but_for_near_ties(kind, method):
    features, query = make(kind, 2000, 32, seed=9)
    narrow = select_fast(problem(features, query, method=method, dtype=torch.float32), 200, 2**24)
    wide = select_plain(problem(features, query, method=method), 200)
    assert sum(narrow.gains) == pytest.approx(sum(wide.gains), rel=0.01)
    if (kind, method) != ("compression", "logdet"):  # there first gains differ by less than float32 can tell
        assert len(set(narrow.order) & set(wide.order)) >= 196
        np.testing.assert_allclose(narrow.gains, wide.gains, rtol=2e-3)


def test_a_cache_too_small_for_many_columns_changes_nothing():
    case = problem(*make("scores", 500, 20, seed=1))
    assert_same(select_fast(case, 120, 1), select_plain(case, 120))


def test_equal_pools_give_equal_picks_on_one_thread_and_on_all():
    case = problem(*make("scores", 6000, 64, seed=1), dtype=torch.float32)
    alone = select_fast(case, 200, 2**26)
    torch.set_num_threads(2)  # the columns of a chunk are then worth a second thread
    assert select_fast(case, 200, 2**26) == alone


# --- the public function --------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
@QUICK
@given(seed=st.integers(0, 10**6), budget=st.integers(1, 39))
def test_a_smaller_budget_is_a_prefix(*, kind, method, seed, budget):
    features, query = make(kind, 40, 6, seed=seed)
    whole = gip_select(features, 40, method=method, tol=0.05, dtype=torch.float64, **query)
    part = gip_select(features, budget, method=method, tol=0.05, dtype=torch.float64, **query)
    assert part.indices.tolist() == whole.prefix(budget).indices.tolist()
    assert part.rounds == whole.prefix(budget).rounds
    assert sorted(whole.indices.tolist()) == list(range(40))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
@QUICK
@given(seed=st.integers(0, 10**6))
def test_permuting_the_pool_permutes_the_picks(*, kind, method, seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(50, 7))
    query = {"scores": rng.uniform(1, 5, (50, 2))} if kind == "scores" else {}
    if kind == "queries":
        query = {"queries": rng.normal(size=(7, 2))}
    order = rng.permutation(50)
    moved = {"scores": query["scores"][order]} if kind == "scores" else query
    one = gip_select(features, 20, method=method, dtype=torch.float64, **query)
    two = gip_select(features[order], 20, method=method, dtype=torch.float64, **moved)
    assert one.indices.tolist() == order[two.indices].tolist()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_duplicate_is_worth_less_once_its_twin_is_taken(kind, method):
    features, query = make(kind, 30, 6, seed=3)
    features[17] = features[4]
    if kind == "scores":
        query["scores"][17] = query["scores"][4] = 9.0
    got = gip_select(features, 30, method=method, dtype=torch.float64, **query)
    place = {row: at for at, row in enumerate(got.indices.tolist())}
    assert place[4] < place[17]
    if method != "logdet":  # there a gain is a ratio, and grows as less is left to cover
        assert got.gains[place[17]] < got.gains[place[4]]


def test_equal_rows_with_equal_scores_are_taken_in_row_order():
    features = np.tile([[1.0, 0.0]], (6, 1))
    got = gip_select(features, 6, scores=np.ones((6, 1)), center=False)
    assert got.indices.tolist() == list(range(6))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("n", "d", "k"), [(6, 20, 3), (60, 4, 9), (5, 2, 8)])
@pytest.mark.parametrize("method", METHODS)
def test_more_dimensions_than_rows_and_more_queries_than_dimensions(kind, n, d, k, method):
    features, query = make(kind, n, d, k, seed=6)
    got = gip_select(features, n, method=method, dtype=torch.float64, **query)
    assert sorted(got.indices.tolist()) == list(range(n))
    assert np.isfinite(got.gains).all()
    assert (got.gains >= 0).all()


@pytest.mark.parametrize("select", ["plain", "fast"])
def test_logdet_ranks_the_whole_pool_in_float32_until_nothing_is_uncovered(select):
    # The last picks leave less uncovered than float32 can tell from nothing, in columns that depend on each
    # other from the start.
    features, query = make("scores", 300, 20)
    query["scores"] = np.c_[query["scores"], query["scores"].mean(axis=1)]
    case = problem(features, query, method="logdet", ridge=0.05, dtype=torch.float32)
    exact = select_plain(problem(features, query, method="logdet", ridge=0.05), 300)
    got = select_fast(case, 300, 2**24) if select == "fast" else select_plain(case, 300)
    assert sorted(got.order) == list(range(300))
    assert got.order[:250] == exact.order[:250]
    assert np.isfinite(got.gains).all()


def test_information_about_queries_that_are_wholly_covered_is_finite():
    features, query = make("scores", 300, 20)
    got = gip_select(features, 300, ridge=1e-5, **query)
    exact = gip_select(features, 300, ridge=1e-5, dtype=torch.float64, **query)
    assert np.isfinite(got.objective["mutual_information"])
    assert got.objective["mutual_information"] == pytest.approx(
        exact.objective["mutual_information"], rel=0.5
    )


@pytest.mark.parametrize("scale", [1e-30, 1e25])
@pytest.mark.parametrize("center", [True, False])
def test_rows_are_scaled_to_unit_length_where_float32_cannot_hold_their_squares(scale, center):
    features, query = make("scores", 200, 6)
    expected = gip_select(features, 30, center=center, **query)
    got = gip_select(features * scale, 30, center=center, **query)
    assert got.indices.tolist() == expected.indices.tolist()


@pytest.mark.parametrize(
    ("kind", "method"), [("queries", "omp"), ("queries", "logdet"), ("compression", "omp")]
)
def test_without_ridge_a_full_span_starts_a_new_round(kind, method):
    features, query = make(kind, 40, 5, seed=7)
    got = gip_select(features, 20, method=method, ridge=0.0, tol=0.0, dtype=torch.float64, **query)
    # Five rows span five dimensions; then nothing is left to cover.
    assert got.rounds == (0, 5, 10, 15)


def test_mp_with_scores_runs_without_ridge_and_reports_no_objective():
    features, query = make("scores", 40, 5)
    got = gip_select(features, 40, ridge=0.0, **query)
    assert got.objective == {}
    assert sorted(got.indices.tolist()) == list(range(40))


def test_constant_pool_is_refused_when_scaled_and_selected_by_score_when_not():
    features = np.full((5, 3), 0.1)
    with pytest.raises(ValueError, match="row 0 equals the pool's mean row"):
        gip_select(features, 2, scores=np.ones((5, 1)))
    scores = np.array([[1.0], [5.0], [2.0], [4.0], [3.0]])
    got = gip_select(features, 5, scores=scores, normalize=False, method="omp")
    assert got.indices.tolist() == [1, 3, 4, 2, 0]


@pytest.mark.parametrize("kind", ["numpy32", "numpy16", "torch16", "bfloat16", "fortran", "strided", "int"])
def test_any_real_input_gives_the_picks_of_its_values(kind):
    base = np.round(np.random.default_rng(0).normal(size=(60, 8)) * 8)  # exact in every dtype
    scores = np.random.default_rng(1).uniform(1, 5, size=(60, 2))
    changed = {
        "numpy32": base.astype(np.float32),
        "numpy16": base.astype(np.float16),
        "torch16": torch.from_numpy(base).half(),
        "bfloat16": torch.from_numpy(base).bfloat16(),
        "fortran": np.asfortranarray(base),
        "strided": np.repeat(np.repeat(base, 2, axis=0), 3, axis=1)[::2, ::3],
        "int": base.astype(np.int16),
    }[kind]
    expected = gip_select(base, 20, scores=scores)
    assert gip_select(changed, 20, scores=scores).indices.tolist() == expected.indices.tolist()


def test_input_is_never_changed_and_may_be_read_only():
    features, query = make("scores", 50, 6)
    copies = features.copy(), query["scores"].copy()
    features.flags.writeable = False
    query["scores"].flags.writeable = False
    gip_select(features, 10, **query)
    np.testing.assert_array_equal(features, copies[0])
    np.testing.assert_array_equal(query["scores"], copies[1])


def test_a_pool_prepared_in_a_file_gives_the_same_picks_and_leaves_no_file(tmp_path):
    rng = np.random.default_rng(0)
    features, scores = rng.normal(size=(3000, 24)).astype(np.float32), rng.uniform(size=(3000, 2))
    for query in ({}, {"scores": scores}, {"scores": scores, "candidates": scores[:, 0] > 0.2}):
        expected, found = (gip_select(features, 200, **query, scratch=place) for place in (None, tmp_path))
        assert found.indices.tolist() == expected.indices.tolist()
        assert found.objective == pytest.approx(expected.objective)
    assert list(tmp_path.iterdir()) == []


def test_a_memory_map_is_read_by_blocks_and_gives_the_same_picks(tmp_path):
    features, query = make("scores", 3000, 16, seed=2)
    path = tmp_path / "pool.npy"
    np.save(path, features.astype(np.float32))
    mapped = np.load(path, mmap_mode="r")
    seen = []

    class Watched(np.memmap):
        def __getitem__(self, key):
            part = super().__getitem__(key)
            seen.append(len(part))
            return part

    got = gip_select(mapped.view(Watched), 50, **query)
    assert got.indices.tolist() == gip_select(np.asarray(mapped), 50, **query).indices.tolist()
    assert max(seen) <= 3000 // 20


@pytest.mark.parametrize("kind", KINDS)
def test_rows_that_are_not_candidates_are_never_picked_but_still_count(kind):
    features, query = make(kind, 60, 6, seed=1)
    mask = np.random.default_rng(0).random(60) < 0.5
    if kind == "scores":
        query["scores"][~mask] = np.nan
    got = gip_select(features, int(mask.sum()), candidates=mask, dtype=torch.float64, **query)
    assert sorted(got.indices.tolist()) == np.flatnonzero(mask).tolist()
    alone = {"scores": query["scores"][mask]} if kind == "scores" else query
    other = gip_select(features[mask], int(mask.sum()), dtype=torch.float64, **alone)
    # The others move the mean row (and are part of the query in self-compression).
    assert not np.allclose(other.gains, got.gains)


def test_budget_share_counts_the_whole_pool_also_with_candidates():
    features, query = make("scores", 40, 6)
    mask = np.arange(40) < 20
    assert len(gip_select(features, 0.25, candidates=mask, **query)) == 10
    with pytest.raises(ValueError, match="asks for 30 picks, but only 20 of 40 rows are candidates"):
        gip_select(features, 0.75, candidates=mask, **query)


def test_score_scaling_changes_the_units_of_a_column_but_not_the_result():
    features, query = make("scores", 60, 6)
    scaled = query["scores"] * np.array([1.0, 1e6, 1e-6])
    one = gip_select(features, 20, **query)
    two = gip_select(features, 20, scores=scaled)
    assert one.indices.tolist() == two.indices.tolist()
    unit = query["scores"] - query["scores"].min(axis=0)
    unit = unit / unit.max(axis=0)
    three = gip_select(features, 20, scores=scaled, score_scaling="minmax")
    four = gip_select(features, 20, scores=unit, score_scaling="none")
    assert three.indices.tolist() == four.indices.tolist()


@pytest.mark.parametrize(
    "change",
    [
        lambda good: good - 9,  # rewards
        lambda good: (good - good.mean()) / good.std(),
        lambda good: np.where(np.arange(200)[:, None] == 7, -0.3, good),
        lambda good: np.full_like(good, -2.0),
    ],
)
def test_negative_scores_are_refused_with_their_column_and_the_way_out(change):
    good = np.linspace(1, 5, 200)[:, None]
    features, scores = make("sc", 200, 6)[0], np.column_stack([good, change(good)])
    message = r"scores: column 1 holds \d+ negative values \(down to -.*score_scaling='minmax'.*shift_scores"
    with pytest.raises(ValueError, match=message):
        gip_select(features, 20, scores=scores)


@pytest.mark.parametrize("scores", [np.linspace(-9, -1, 200), np.linspace(-2, 2, 200)])
def test_negative_scores_squared_pick_the_worst_rows_and_mapped_the_best(scores):
    features, scores = make("sc", 200, 6)[0], scores[:, None]
    squared = gip_select(features, 20, scores=scores, signed_scores=True).indices
    worst = gip_select(features, 20, scores=np.square(scores)).indices
    assert abs(scores[squared].mean() - scores[worst].mean()) < 1
    for mapped in (
        gip_select(features, 20, scores=scores, score_scaling="minmax"),
        gip_select(features, 20, scores=shift_scores(scores)),
    ):
        assert scores[mapped.indices].mean() > np.quantile(scores, 0.8)


# --- bad arguments --------------------------------------------------------------------------------

GOOD = np.random.default_rng(0).normal(size=(10, 4))
BAD = [
    ({"features": "text"}, "features: got str; give a numpy array or a torch tensor"),
    ({"features": np.ones(4)}, r"features: has shape \(4,\); give 2 dimensions"),
    ({"features": np.ones((0, 4))}, r"features: has shape \(0, 4\); give at least one row"),
    ({"features": np.ones((3, 2), dtype=complex)}, "features: has dtype complex128; give real numbers"),
    ({"features": torch.ones(3, 2, dtype=torch.bool)}, "features: has dtype torch.bool; give real numbers"),
    ({"features": np.where(np.arange(10)[:, None] == 6, np.nan, GOOD)}, "features: row 6 holds NaN or inf"),
    ({"features": np.where(np.arange(10)[:, None] == 3, np.inf, GOOD)}, "features: row 3 holds NaN or inf"),
    (
        {"features": np.where(np.arange(10)[:, None] == 2, 0.0, GOOD), "center": False},
        "features: row 2 is zero, so it has no direction",
    ),
    ({"scores": np.ones((9, 2))}, "scores: has 9 rows for 10 rows of features"),
    ({"scores": np.ones((10, 1, 1))}, r"scores: has shape \(10, 1, 1\); give 2 dimensions"),
    ({"scores": np.ones((10, 0))}, r"scores: has shape \(10, 0\); give at least one row and one column"),
    ({"scores": np.full((10, 1), np.nan)}, "scores: row 0 holds NaN or inf; mark unscored rows"),
    ({"scores": np.eye(10)[:, :2] * [1, 0]}, "scores: column 1 is all zero"),
    ({"scores": np.full((10, 1), 2.0), "score_scaling": "minmax"}, r"scores: column 0 is constant \(2\)"),
    ({"scores": np.ones((10, 1)), "score_scaling": "z"}, "score_scaling: got 'z'; choose one of rms, minmax"),
    (
        {"scores": np.eye(10)[:, :2] * 1e20, "score_scaling": "none"},
        r"scores: column 0 reaches 1e\+20, beyond 1e\+08, where its products leave torch.float32",
    ),
    (
        {"features": np.where(np.arange(10)[:, None] == 4, 1e30, GOOD), "normalize": False, "center": False},
        r"features: row 4 is 2e\+30 long, beyond 1e\+08, .* pass normalize=True or scale the rows down",
    ),
    ({"queries": np.ones((3, 1))}, "queries: has 3 rows for 4 columns of features"),
    ({"queries": np.full((4, 1), np.inf)}, "queries: column 0 holds NaN or inf"),
    ({"queries": np.zeros((4, 2)), "center": False}, "queries: column 0 is zero"),
    ({"queries": GOOD.mean(axis=0)[:, None]}, "queries: column 0 equals the pool's mean row"),
    ({"scores": np.ones((10, 1)), "queries": np.ones((4, 1))}, "scores, queries: both are given"),
    ({"scores": np.ones((10, 1)), "ridge": 0.0, "method": "omp"}, "ridge: got 0 with scores"),
    ({"budget": 11}, "budget: got 11; a count must be from 1 to 10"),
    ({"budget": 1.01}, "budget: got 1.01; a share must be above 0"),
    ({"method": "pm"}, "method: got 'pm'; choose one of mp, omp, logdet"),
    ({"ridge": -1.0}, "ridge: got -1.0; give a finite number >= 0"),
    ({"ridge": "x"}, "ridge: got 'x'; give a finite number >= 0"),
    ({"ridge": None}, "ridge: got None; give a finite number >= 0"),
    ({"tol": float("nan")}, "tol: got nan; give a finite number >= 0"),
    ({"noise": 0.0}, "noise: got 0.0; give a finite number > 0"),
    ({"dtype": torch.float16}, "dtype: got torch.float16; give torch.float32 or torch.float64"),
    ({"device": "nowhere"}, "device: got 'nowhere', which torch cannot use here"),
    ({"cache_bytes": 0}, "cache_bytes: got 0; give a finite number >= 1"),
    (
        {"scratch": "/tmp", "device": "meta"},
        "scratch: got '/tmp' on meta; a pool in a file is for the CPU only",
    ),
    ({"candidates": np.ones(9, dtype=bool)}, r"candidates: has dtype bool and shape \(9,\)"),
    ({"candidates": np.ones(10)}, "candidates: has dtype float64"),
    ({"candidates": np.zeros(10, dtype=bool)}, "candidates: is False for every row"),
]


@pytest.mark.parametrize(("change", "message"), BAD)
def test_every_bad_argument_is_named_with_its_value_and_what_is_allowed(change, message):
    arguments = {"features": GOOD, "budget": 3} | change
    with pytest.raises(ValueError, match=message):
        gip_select(arguments.pop("features"), arguments.pop("budget"), **arguments)


def test_all_bad_arguments_are_reported_together():
    with pytest.raises(ValueError, match="6 bad arguments") as error:
        gip_select(
            np.where(np.arange(10)[:, None] == 6, np.nan, GOOD),
            0,
            scores=np.zeros((10, 1)),
            method="x",
            ridge=-1,
            tol=-1,
        )
    for name in ("features: row 6", "budget: got 0", "scores: column 0", "method:", "ridge:", "tol:"):
        assert name in str(error.value)


def test_reference_formulas_refuse_rows_they_cannot_use():
    from selection import mutual_information, projection_energy

    with pytest.raises(ValueError, match="selected: give at least one row number"):
        projection_energy(GOOD, [1, 1])
    with pytest.raises(ValueError, match="selected: give row numbers from 0 to 9"):
        projection_energy(GOOD, [10])
    with pytest.raises(ValueError, match="ridge: got 0 with scores"):
        mutual_information(GOOD, [1], scores=np.ones((10, 1)), ridge=0.0)
