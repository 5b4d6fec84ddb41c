"""TIES: by hand, and what holds whatever is merged."""

import hypothesis.strategies as st
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from jaxedit.editors.ties import ties

CHANGES = arrays(np.float32, (3, 2, 3), elements=st.integers(-64, 64).map(lambda n: n / 16))


def merged(deltas: np.ndarray, weights: list[float], density: float) -> np.ndarray:
    return np.asarray(ties(jnp.asarray(deltas), jnp.asarray(weights), density))


def test_two_changes_by_hand():
    deltas = np.array([[[4, -1, 2], [0, 3, -6]], [[2, 5, -8], [1, -1, -2]]], np.float32)
    # Half of six entries: {4, 3, -6} of the first; of the second {5, -8} and both of size 2.
    expected = np.array([[3, 5, -8], [0, 3, -4]], np.float32)
    np.testing.assert_allclose(merged(deltas, [1, 1], 0.5), expected)
    # 4 and 2 as 3 to 1: 3.5. Where only one is left its weight does not matter.
    unequal = np.array([[3.5, 5, -8], [0, 3, -5]], np.float32)
    np.testing.assert_allclose(merged(deltas, [3, 1], 0.5), unequal)


def test_signs_are_elected_by_weight():
    deltas = np.array([[3.0], [-2.0]], np.float32)
    assert merged(deltas, [1, 1], 1.0) == [3]
    assert merged(deltas, [1, 2], 1.0) == [-2]
    assert merged(np.array([[2.0], [-2.0]], np.float32), [1, 1], 1.0) == [2]  # a tie is plus


@settings(max_examples=30, deadline=None)
@given(CHANGES)
def test_one_change_is_itself(deltas):
    np.testing.assert_allclose(merged(deltas[:1], [0.3], 1.0), deltas[0], rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(CHANGES, st.sampled_from([0.3, 0.53, 1.0]), st.permutations(range(3)))
def test_the_order_of_changes_does_not_matter(deltas, density, order):
    # Sums of other orders differ by rounding, which may turn a sign: of sixteenths they do not.
    weights = [1.0, 2.0, 1.0]
    again = merged(deltas[list(order)], [weights[i] for i in order], density)
    np.testing.assert_allclose(again, merged(deltas, weights, density), rtol=1e-6)


@settings(max_examples=30, deadline=None)
@given(CHANGES)
def test_nothing_is_larger_than_what_was_merged(deltas):
    found = merged(deltas, [1, 1, 1], 0.53)
    assert (np.abs(found) <= np.abs(deltas).max(axis=0) * (1 + 1e-6)).all()
