"""Ablations: the measures by hand, exhaustive search against greedy, and the commands on the shrunken arithmetic pool."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gip_exp.ablations import (
    centering,
    compose,
    coverage,
    encoder,
    measures,
    noise,
    objective,
    perform,
    ridge,
    stability,
)
from gip_exp.ablations.__main__ import main
from gip_exp.ablations.exhaustive import check_size, landscape
from gip_exp.ablations.methods import choose, gip
from gip_exp.ablations.registry import ABLATIONS
from gip_exp.config.selector import GipSelector
from gip_exp.console import Console
from gip_exp.errors import UserError
from gip_exp.signals.distort import faulty
from selection import mutual_information, projection_energy

POOL = ["+experiment=quickstart", "data.n=160", "data.n_test=4"]
RULE = GipSelector(
    kind="gip",
    name="mp_ma",
    signal="judge",
    method="mp",
    ridge=1.0,
    center=True,
    normalize=True,
    score_scaling="rms",
    tol=1e-6,
    noise=1e-6,
)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("ablations")


@pytest.fixture(scope="module")
def prepare(root):
    """A checked setup of an ablation on the shrunken pool: prepare(name, "key=value", ...)."""
    return lambda name, *overrides: compose.setup(name, [*POOL, f"paths.root={root}", *overrides], Console())


@pytest.fixture(scope="module")
def material(prepare):
    return prepare("ridge").material()


@pytest.fixture
def drawn():
    """(features (40, 6), scores (40, 3)) without ties."""
    generator = np.random.default_rng(3)
    return generator.standard_normal((40, 6)).astype(np.float32), generator.random((40, 3))


# --- measures, by hand ---


def test_jaccard_counts_shared_over_all():
    assert measures.jaccard(np.array([3, 1, 2]), np.array([1, 2, 3])) == 1
    assert measures.jaccard(np.array([0, 1]), np.array([2, 3])) == 0
    assert measures.jaccard(np.array([0, 1, 2]), np.array([1, 2, 3])) == 2 / 4


def test_chance_is_the_overlap_of_two_random_subsets():
    assert measures.chance(100, 10) == pytest.approx(1 / 19)  # one row shared of 19 different ones
    assert measures.chance(7, 7) == 1


def test_coverage_of_the_whole_pool_is_one_and_of_one_of_four_directions_a_quarter(drawn):
    units = measures.unit(drawn[0])
    assert measures.coverage(units, np.arange(40)) == pytest.approx(1)
    assert measures.coverage(np.eye(4, dtype=np.float32), np.array([2])) == pytest.approx(1 / 4)


def test_mean_cosine_is_one_for_equal_rows_and_zero_for_orthogonal_ones():
    assert measures.mean_cosine(measures.unit(np.ones((5, 3)))) == pytest.approx(1)
    assert measures.mean_cosine(np.eye(4, dtype=np.float32)) == pytest.approx(0)


def test_topics_covered_and_their_entropy():
    labels = np.array([0, 0, 1, 1])
    assert measures.topic_share(labels, np.array([0, 1])) == 1 / 2
    assert measures.topic_entropy(labels, np.array([0, 1])) == 0
    assert measures.topic_share(labels, np.array([0, 2])) == 1
    assert measures.topic_entropy(labels, np.array([0, 2])) == pytest.approx(1)
    assert measures.topic_entropy(np.zeros(3, dtype=int), np.array([1])) == 1


def test_k_means_topics_find_separate_groups():
    rows = np.repeat(np.eye(3), 4, axis=0)
    labels = measures.topics(rows, 3, seed=0)
    assert len({tuple(labels[start : start + 4]) for start in (0, 4, 8)}) == 3
    assert all(len(set(labels[start : start + 4])) == 1 for start in (0, 4, 8))


# --- objective ---


def test_exhaustive_search_agrees_with_the_reference_formulas(drawn):
    features, scores = drawn[0][:9], drawn[1][:9]
    known = landscape(features, scores, 3, ridge=0.5, noise=1e-3)
    assert len(known.subsets) == 84  # 9 over 3
    for subset in (0, 40, 83):
        picks = known.subsets[subset]
        information = mutual_information(features, picks, scores=scores, ridge=0.5, noise=1e-3)
        assert known.information[subset] == pytest.approx(information, rel=1e-6)
        energy = projection_energy(features, picks, scores=scores, ridge=0.5)
        assert known.energy[subset] == pytest.approx(energy, rel=1e-6)


def test_exhaustive_search_is_never_worse_than_a_greedy_rule(prepare, material):
    settings = objective.Settings(pools=6, rows=12, picks=4)
    rows = objective.small_pools(material, RULE, settings)
    assert len(rows) == 6 * 7
    assert all(row["information"] <= 1 + 1e-9 and row["energy"] <= 1 + 1e-9 for row in rows)
    best = [row for row in rows if row["method"] == "best by determinant"]
    assert all(row["information"] == 1 and row["overlap_determinant"] == 1 for row in best)


def test_with_one_attribute_determinant_and_trace_agree(drawn):
    known = landscape(drawn[0][:10], drawn[1][:10, :1], 3, ridge=1.0, noise=1e-6)
    assert known.best_by_determinant == known.best_by_trace
    assert known.of(known.subsets[known.best_by_trace][::-1]) == known.best_by_trace


def test_the_determinant_does_not_see_how_attributes_are_mixed(drawn):
    features, scores = drawn[0][:10], drawn[1][:10]
    mixed = scores @ np.array([[1.0, 0, 0], [-2, 1, 0], [0, 3, -1]])  # invertible, turns good into bad
    plain = landscape(features, scores, 3, ridge=1.0, noise=1e-12)
    other = landscape(features, mixed, 3, ridge=1.0, noise=1e-12)
    np.testing.assert_allclose(other.information, plain.information, rtol=1e-5)
    assert np.abs(other.energy - plain.energy).max() > 0.1


def test_a_search_of_too_many_subsets_is_refused():
    with pytest.raises(UserError, match=r"ablation.rows=40 and ablation.picks=10 mean 847,660,528 subsets"):
        check_size(40, 10)
    with pytest.raises(UserError, match=r"ablation.picks=5: give a count from 1 to ablation.rows - 1 = 4"):
        check_size(5, 5)


# --- centring ---


def test_positive_pursuit_does_not_chase_negative_correlations():
    rows, scores = np.eye(3), np.array([[-3.0], [1.0], [2.0]])
    plain = gip(rows, scores, 1, RULE, center=False, score_scaling="none").indices
    assert plain.tolist() == [0]  # the largest square
    assert centering.positive_pursuit(rows, scores, 2, ridge=1.0, tol=1e-6).tolist() == [2, 1]


def test_positive_pursuit_starts_a_new_round_when_nothing_is_left():
    rows = np.array([[1.0, 0], [1.0, 0], [0, 1.0]])
    scores = np.array([[2.0], [2.0], [0.5]])
    # The second row is the first one's copy: after it, without a ridge, nothing but the third row is left.
    assert centering.positive_pursuit(rows, scores, 3, ridge=0.0, tol=1e-6).tolist() == [0, 2, 1]


def test_synthetic_scores_are_seeded_whole_numbers_from_one_to_five():
    scores = centering.synthetic_scores(500, 4, seed=0)
    assert set(np.unique(scores)) == {1, 2, 3, 4, 5}
    np.testing.assert_array_equal(scores, centering.synthetic_scores(500, 4, seed=0))
    assert (scores != centering.synthetic_scores(500, 4, seed=1)).any()


def test_a_shared_direction_makes_mp_random_unless_embeddings_are_centred(material):
    generator = np.random.default_rng(0)
    features = (generator.standard_normal((400, 16)) + 2).astype(np.float32)
    scores = centering.synthetic_scores(400, 4, seed=0)
    settings = centering.Settings(ridges=[1.0], seeds=[0, 1])
    rows = centering.table(replace(material, features=features, scores=scores, budget=40), RULE, settings)
    share = {row["rule"]: row["share"] for row in rows}
    assert share["random"] == 0
    assert share["top score"] == 1
    assert share["mp, centred"] > 0.6
    assert share["mp, not centred"] < 0.3


# --- ridge, noise, stability, coverage ---


def test_a_huge_ridge_is_top_score(material, drawn):
    features, scores = drawn
    small = replace(material, features=features, scores=scores[:, :1], budget=8)
    settings = ridge.Settings(ridges=[0, 1e9], methods=["mp", "omp"], seeds=[0])
    rows = ridge.sweep(small, RULE, settings)
    assert [(row["method"], row["ridge"]) for row in rows] == [("mp_ma", 0), ("mp_ma", 1e9), ("omp_ma", 1e9)]
    assert [row["top"] for row in rows[1:]] == [1, 1]


def test_a_fault_of_level_zero_changes_nothing_and_no_fault_leaves_the_scale(drawn):
    features, scores = drawn
    lengths = np.arange(40.0)
    for fault in noise.FAULTS:
        inputs = {"features": features, "lengths": lengths, "seed": 0}
        np.testing.assert_allclose(faulty(scores, fault, 0, **inputs), scores)
        moved = faulty(scores, fault, 3, **inputs)
        assert (moved != scores).any()
        assert (moved.min(axis=0) >= scores.min(axis=0)).all()
        assert (moved.max(axis=0) <= scores.max(axis=0)).all()


def test_a_bias_to_length_makes_the_longest_rows_best(drawn):
    lengths = np.arange(40.0)
    moved = faulty(drawn[1], "length", 200, features=drawn[0], lengths=lengths, seed=0)
    assert (moved[20:] == drawn[1].max(axis=0)).all()


def test_clean_scores_give_the_clean_selection(material):
    settings = noise.Settings(levels=[0, 2], faults=["noise"], seeds=[0, 1])
    rows = noise.table(material, RULE, settings)
    assert all(row["overlap"] == 1 for row in rows if row["level"] == 0)
    assert any(row["overlap"] < 1 for row in rows if row["level"] == 2)


def test_a_selection_agrees_with_itself_when_nothing_changes(drawn, material):
    features, scores = drawn
    small = replace(material, features=features, scores=scores, budget=8)
    settings = stability.Settings(scores=[0], features=[0], rows=[1.0], seeds=[1, 2])
    rows = stability.table(small, RULE, settings)
    by_kind = {(row["kind"], row["method"]): row["overlap"] for row in rows}
    assert all(by_kind[kind, method] == 1 for kind, method in by_kind if kind != "seed")
    assert {method for kind, method in by_kind if kind == "features"} == {"mp_ma", "omp_ma", "mp_sc"}
    # Without ties the order of the rows does not matter, and only the random methods follow the seed.
    assert all(by_kind["seed", method] == 1 for method in ("mp_ma", "omp_ma", "mp_sc", "top_score"))
    assert by_kind["seed", "random"] < 1


def test_left_out_rows_are_not_picked(drawn):
    rows = np.array([3, 5, 8, 13, 21])
    for method in stability.METHODS:
        picks = choose(method, *drawn, 4, rule=RULE, rows=rows)
        assert len(picks) == 4
        assert set(picks.tolist()) <= set(rows.tolist())


def test_larger_budgets_cover_more_topics_and_the_whole_pool_all(drawn, material):
    features, scores = drawn
    labels = np.arange(40) % 7
    settings = coverage.Settings(budgets=[1.0, 0.05, 0.25], seeds=[0])
    rows = coverage.table(replace(material, features=features, scores=scores), RULE, labels, settings)
    for method in coverage.METHODS:
        mine = [row for row in rows if row["method"] == method]
        assert [row["n"] for row in mine] == [2, 10, 40]
        shares = [row["topics"] for row in mine]
        assert shares == sorted(shares)
        assert shares[-1] == 1
        assert mine[-1]["coverage"] == pytest.approx(1)


# --- encoders ---


def test_an_embedder_that_cannot_be_had_is_named_and_left_out(prepare):
    setup = prepare("encoder", "ablation.embedders=[tfidf,sentence_transformer]")
    findings = encoder.run(setup)
    assert {row["embedder"] for row in findings.sheets[0].rows} == {"tfidf"}
    (note,) = [note for note in findings.sheets[0].notes if note.startswith("Left out")]
    assert (
        "sentence_transformer: the model sentence-transformers/all-MiniLM-L6-v2 is not in the local cache"
        in note
    )


def test_no_embedder_at_all_is_an_error(prepare):
    setup = prepare("encoder", "ablation.embedders=[sentence_transformer]")
    with pytest.raises(UserError, match="sentence_transformer: the model"):
        encoder.run(setup)


def test_the_embedder_of_the_command_line_keeps_its_keys(prepare):
    setup = prepare("encoder", "embedder=sentence_transformer", "embedder.model=mine")
    assert setup.with_embedder("sentence_transformer").embedder.model == "mine"
    assert setup.with_embedder("hidden_state").embedder.model is None


# --- commands ---

SMALL = {
    "objective": ["ablation.pools=2", "ablation.rows=8", "ablation.picks=3"],
    "ridge": ["ablation.ridges=[0,1]", "ablation.seeds=[0]"],
    "centering": ["ablation.ridges=[1]", "--scores", "synthetic"],
    "encoder": ["ablation.embedders=[tfidf]"],
    "noise": ["ablation.levels=[0,1]", "ablation.seeds=[0]"],
    "distortion": ["ablation.noise=[1]", "ablation.seeds=[0]"],
    "self_compression": ["ablation.budgets=[0.1]", "ablation.topics=5"],
    "stability": [
        "ablation.scores=[0.1]",
        "ablation.features=[0.1]",
        "ablation.rows=[0.9]",
        "ablation.seeds=[1]",
    ],
    "coverage": ["ablation.topics=5", "ablation.budgets=[0.1,0.2]", "ablation.seeds=[0]"],
}


@pytest.mark.parametrize("name", ABLATIONS)
def test_a_command_leaves_tables_and_vector_figures(name, root, capsys):
    assert main([name, *POOL, f"paths.root={root}", *SMALL[name]]) == 0
    folder = Path(capsys.readouterr().out.splitlines()[-1].split(": ")[0])
    assert folder.parent == root / "ablations" / name
    text = (folder / f"{name}.md").read_text()
    for table in folder.glob("*.csv"):
        rows = list(csv.DictReader(table.open()))
        assert rows
        assert all(None not in row.values() for row in rows)
    for figure in folder.glob("figures/*.svg"):
        assert f"(figures/{figure.name})" in text
        assert figure.with_suffix(".pdf").is_file()
    assert list(folder.glob("*.csv"))
    assert list(folder.glob("figures/*.svg"))
    assert f"name: {name}" in (folder / "config.yaml").read_text()
    assert not (root / "runs").exists()  # an ablation is no run, and touches none


def test_other_settings_go_to_another_folder(prepare):
    folder = perform.folder_of(prepare("ridge", "ablation.ridges=[0,1]"))
    assert folder == perform.folder_of(prepare("ridge", "ablation.ridges=[0,1]"))
    assert folder == perform.folder_of(prepare("ridge", "ablation.ridges=[0,1]", "engine.device=cpu"))
    assert folder != perform.folder_of(prepare("ridge", "ablation.ridges=[0,2]"))
    assert folder != perform.folder_of(prepare("ridge", "ablation.ridges=[0,1]", "budget=0.2"))


def test_own_keys_are_printed(capsys):
    assert main(["objective", "--cfg"]) == 0
    assert capsys.readouterr().out == "ablation:\n  pools: 20\n  rows: 20\n  picks: 5\n  seed: 0\n"


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["ridge", "ablation.ridgess=[1]"], "ablation.ridgess=[1]: Could not override 'ablation.ridgess'"),
        (
            ["ridge", "ablation.ridges=[-1]"],
            "ablation.ridges.0=-1: input should be greater than or equal to 0",
        ),
        (["ridge", "budgett=1"], "budgett=1: Could not override 'budgett'"),
        (["ridge", "budget=2.5"], "budget=2.5 is not a share"),
        (["ridge", "selector=random"], "selector=random: the ablations vary GIP on scores"),
        (
            ["centering", "--scores", "other"],
            "ablation.scores='other': input should be 'judge' or 'synthetic'",
        ),
        (
            ["objective", "ablation.rows=1000", "ablation.picks=1"],
            "ablation.rows=1000 is more than the pool holds",
        ),
        (["objective", "selector.ridge=0"], "selector.ridge and selector.noise must be > 0 here"),
        (["coverage", "ablation.topics=1"], "ablation.topics=1: give a count from 2"),
    ],
)
def test_what_a_user_can_mend_is_one_message_and_exit_code_2(arguments, part, root, capsys):
    assert main([arguments[0], *POOL, f"paths.root={root}", *arguments[1:]]) == 2
    said = capsys.readouterr().err
    assert f"error: {part}" in said.replace("the ablation's settings have several problems:\n  1. ", "")


def test_an_unknown_name_lists_the_known_ones(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["magic"])
    assert stop.value.code == 2
    assert "choose from" in capsys.readouterr().err
