"""Distorted embeddings and scores: what they do to inner products, and that a run keys and uses them."""

import io

import numpy as np
import pytest

from gip_exp import graph, pipeline
from gip_exp.ablations import distortion, self_compression
from gip_exp.ablations.material import Material
from gip_exp.console import Console
from gip_exp.errors import UserError
from gip_exp.signals.distort import distorted
from gip_exp.storage.files import read_jsonl
from tests.test_gip_exp_ablations import RULE


@pytest.fixture
def features():
    return np.random.default_rng(0).standard_normal((60, 12)).astype(np.float32)


@pytest.fixture
def material(features):
    scores = np.random.default_rng(1).uniform(1, 5, size=(60, 3))
    return Material(features, scores, ("a", "b", "c"), np.arange(60.0), 12, 0, "drawn", "drawn")


def test_a_rotation_keeps_every_inner_product(features):
    turned = distorted(features, "rotation", 1, seed=0)
    np.testing.assert_allclose(turned @ turned.T, features @ features.T, atol=1e-4)
    assert np.abs(turned - features).max() > 0.1


def test_a_projection_keeps_inner_products_on_average(features):
    products = [(low := distorted(features, "projection", 0.5, seed=seed)) @ low.T for seed in range(400)]
    assert distorted(features, "projection", 0.5, seed=0).shape == (60, 6)
    lengths = np.linalg.norm(features, axis=1)
    errors = np.abs(np.mean(products, axis=0) - features @ features.T) / np.outer(lengths, lengths)
    assert errors.mean() < 0.03


@pytest.mark.parametrize("kind", ["noise", "adversarial"])
def test_noise_moves_every_row_by_its_share_of_the_length(kind, features, material):
    moved = distorted(features, kind, 0.25, seed=0, scores=material.scores) - features
    np.testing.assert_allclose(
        np.linalg.norm(moved, axis=1), 0.25 * np.linalg.norm(features, axis=1), rtol=1e-4
    )


def test_the_adversary_moves_good_rows_together_and_bad_ones_away(features, material):
    moved = distorted(features, "adversarial", 1, seed=0, scores=material.scores)
    good = material.scores.mean(axis=1) > np.quantile(material.scores.mean(axis=1), 0.8)
    bad = material.scores.mean(axis=1) < np.quantile(material.scores.mean(axis=1), 0.2)
    unit = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    assert (unit[good] @ unit[good].T).mean() > 0.3
    assert (unit[good] @ unit[bad].T).mean() < -0.3


def test_a_table_of_distortions_has_the_clean_objective_at_one(material):
    settings = distortion.Settings(
        projection=[0.2], noise=[0, 2], adversarial=[1], scores=[0, 4], seeds=[0, 1]
    )
    rows = {
        (row["kind"], row["level"], row["method"]): row for row in distortion.table(material, RULE, settings)
    }
    for kind, level in (("none", None), ("rotation", None), ("noise", 0), ("score noise", 0)):
        for method in ("mp_ma", "omp_ma"):
            assert rows[kind, level, method]["overlap"] == 1
            assert rows[kind, level, method]["objective"] == pytest.approx(1)
    # omp is greedy on the very objective that is measured.
    for case in (("projection", 0.2), ("noise", 2), ("adversarial", 1), ("score noise", 4)):
        assert rows[*case, "omp_ma"]["objective"] < 0.999
    assert ("score noise", 4, "mp_sc") not in rows


def test_the_two_readings_of_self_compression_start_alike_and_part(material):
    settings = self_compression.Settings(budgets=[1 / 60, 0.5], topics=5)
    rows = self_compression.table(material, RULE, settings)
    overlap = {(row["picks"], row["method"]): row["overlap"] for row in rows}
    assert overlap[1, "mp_sc_column"] == 1  # the row with the largest h_i is first in both
    assert overlap[30, "mp_sc_column"] < 1
    coverage = {(row["picks"], row["method"]): row["coverage"] for row in rows}
    assert coverage[30, "mp_sc"] > coverage[1, "mp_sc"]


# --- in a run ---


@pytest.fixture(scope="module")
def picks(micro, tmp_path_factory):
    """A function: overrides -> (selected ids, keys of the stages) of a run that stops after the selection."""
    root = tmp_path_factory.mktemp("distorted")

    def run(*overrides):
        outcome = pipeline.run(micro(root, "until=select", *overrides), Console(io.StringIO()))
        keys = {name: stage["key"] for name, stage in outcome.result["stages"].items()}
        return [row["id"] for row in read_jsonl(outcome.folder / "selected.jsonl")], keys, outcome.folder

    return run


def test_a_rotation_selects_the_same_rows_and_noise_does_not(picks):
    clean, keys, folder = picks()
    turned, turned_keys, turned_folder = picks("distort.embeddings=rotation")
    assert turned == clean
    assert turned_folder != folder
    assert turned_keys["rank"] != keys["rank"]
    assert {name: turned_keys[name] for name in ("data", "score", "embed")} == {
        name: keys[name] for name in ("data", "score", "embed")
    }
    for kind in ("noise", "adversarial"):
        assert picks(f"distort.embeddings={kind}", "distort.embeddings_level=0.5")[0] != clean


def test_a_distortion_counts_only_for_a_selector_that_reads_it(picks):
    by_score, keys, _ = picks("selector=top_score")
    same, same_keys, _ = picks("selector=top_score", "distort.embeddings=noise")
    assert same == by_score
    assert same_keys["rank"] == keys["rank"]
    other, other_keys, _ = picks("selector=top_score", "distort.scores=noise", "distort.scores_level=3")
    assert other != by_score
    assert other_keys["rank"] != keys["rank"]
    assert other_keys["score"] == keys["score"]


def test_a_bias_to_length_selects_longer_rows(micro, picks):
    def characters(folder):
        rows = read_jsonl(folder / "selected.jsonl")
        return sum(len(row["completion"]) for row in rows) / len(rows)

    clean = picks("selector=top_score")[2]
    long = picks("selector=top_score", "distort.scores=length", "distort.scores_level=9")[2]
    assert characters(long) > characters(clean)


def test_what_cannot_be_distorted_is_said(micro, tmp_path, picks):
    with pytest.raises(UserError, match=r"distort\.embeddings=adversarial moves rows by their scores, but"):
        micro(tmp_path, "selector=mp_sc", "distort.embeddings=adversarial")
    with pytest.raises(UserError, match="selector=k_center reads none: use rotation, projection or noise"):
        picks("selector=k_center", "distort.embeddings=adversarial")
    with pytest.raises(UserError, match=r"distort\.scores=subject favours a direction of the embeddings"):
        picks("selector=top_score", "distort.scores=subject")
    with pytest.raises(
        UserError, match=r"share of columns that a projection keeps: give a number in \(0, 1\]"
    ):
        micro(tmp_path, "distort.embeddings=projection", "distort.embeddings_level=2")
    with pytest.raises(UserError, match=r"distort.\* works in one process: set selector.processes=1"):
        micro(tmp_path, "distort.embeddings=rotation", "selector.processes=2")


def test_the_untuned_model_is_shared_by_all_distortions(micro, tmp_path):
    runs = {
        graph.run_key(micro(tmp_path, *given).before_tuning())
        for given in ([], ["distort.embeddings=noise"], ["distort.scores=noise"])
    }
    assert len(runs) == 1
