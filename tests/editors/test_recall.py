"""Nearest vectors and the threshold, by hand and against brute force."""

import hypothesis.strategies as st
import numpy as np
from hypothesis import given

from jaxedit.editors import recall
from jaxedit.editors.recall import best_threshold, latest, nearest

MEMORY = np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8], [2.0, 0.0]])


def test_the_nearest_stands_last_and_far_ones_not_at_all():
    queries = np.array([[0.0, 3.0], [1.0, 0.1], [-1.0, 0.0]])
    assert nearest(queries, MEMORY, 2, -np.inf) == [[2, 1], [0, 3], [2, 1]]
    assert nearest(queries, MEMORY, 2, 0.9) == [[1], [0, 3], []]
    assert nearest(queries, MEMORY, 1, 0.7) == [[1], [3], []]  # 0 and 3 are one direction
    assert nearest(queries[:1], MEMORY, 9, -np.inf) == [[0, 3, 2, 1]]


def test_blocks_of_queries_do_not_matter(monkeypatch):
    queries = np.random.default_rng(0).normal(size=(11, 2))
    whole = nearest(queries, MEMORY, 2, 0.3)
    monkeypatch.setattr(recall, "ROWS", 3)
    assert nearest(queries, MEMORY, 2, 0.3) == whole


def test_only_the_latest_of_equal_keys_counts():
    assert latest(["a", "b", "a", "c", "b"]) == [2, 3, 4]


scores = st.lists(st.integers(-20, 20).map(lambda x: x / 20), min_size=1, max_size=8)


@given(scores, scores)
def test_no_threshold_tells_them_apart_better(inside: list[float], outside: list[float]):
    def right(cut: float) -> float:
        return float(np.mean(np.array(inside) >= cut) + np.mean(np.array(outside) < cut))

    found = best_threshold(np.array(inside), np.array(outside))
    cuts = np.linspace(-1.1, 1.1, 89)
    assert right(found) >= max(map(right, cuts)) - 1e-9


def test_the_threshold_lies_in_the_middle_of_the_gap():
    assert best_threshold(np.array([0.9, 0.8]), np.array([0.2, 0.4])) == np.mean([0.8, 0.4])
