"""Measures in the space of embeddings, against the definitions written out."""

import numpy as np
import pytest

from gip_exp.selection_report import geometry


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=(60, 5)).astype(np.float32)


@pytest.mark.parametrize("block", [4096, 7])  # in one block, and in many with a rest
def test_nearest_picks_are_those_of_the_full_table_of_cosines(features, block, monkeypatch):
    monkeypatch.setattr(geometry, "BLOCK", block)
    picks = np.array([5, 40, 2, 33, 17, 8, 21, 59, 11, 3])
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosines = units @ units[picks].T
    cosines[picks, np.arange(len(picks))] = -np.inf  # a pick is not its own nearest
    nearest, cosine = geometry.nearest_picks(features, picks)
    assert nearest.tolist() == cosines.argmax(axis=1).tolist()
    assert np.allclose(cosine, cosines.max(axis=1), atol=1e-6)


def test_a_single_pick_has_no_other_pick(features):
    nearest, cosine = geometry.nearest_picks(features, np.array([4]))
    assert nearest[4] == -1
    assert np.isnan(cosine[4])
    assert (np.delete(nearest, 4) == 0).all()


@pytest.mark.parametrize("block", [4096, 7])
def test_coverage_is_the_mean_of_the_best_cosines(features, block, monkeypatch):
    monkeypatch.setattr(geometry, "BLOCK", block)
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    order, asked = np.random.default_rng(1).permutation(60)[:30], np.arange(0, 60, 3)
    curve = geometry.coverage_curve(features, order, [1, 9, 30], asked)
    for count, coverage in zip([1, 9, 30], curve, strict=True):
        assert coverage == pytest.approx((units[asked] @ units[order[:count]].T).max(axis=1).mean(), abs=1e-6)


def test_topics_are_the_clusters_of_the_rows_and_named_by_their_words():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 40)
    features = np.eye(3)[labels] + 0.02 * rng.normal(size=(120, 3))
    subjects = ["the otters swim", "the lathe turns", "the violin plays"]
    found = geometry.topics(features, 3)
    groups = [set(found[labels == label]) for label in range(3)]
    assert [len(group) for group in groups] == [1, 1, 1]
    assert len(set.union(*groups)) == 3
    words = {
        topic.number: topic.words for topic in geometry.topic_words([subjects[i] for i in labels], found)
    }
    for group, subject in zip(groups, subjects, strict=True):
        assert set(words[group.pop()]) == set(subject.split()[1:])  # "the" is as frequent elsewhere


def test_texts_without_words_give_topics_without_names():
    found = geometry.topic_words(["...", "!!!"], np.array([0, 1]))
    assert [topic.words for topic in found] == [(), ()]


def test_the_map_of_equal_and_of_one_dimensional_rows_has_two_coordinates():
    assert np.isfinite(geometry.on_a_map(np.zeros((4, 3), dtype=np.float32))).all()
    assert geometry.on_a_map(np.ones((4, 1), dtype=np.float32)).shape == (4, 2)
