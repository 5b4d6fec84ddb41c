"""RECT and PRUNE as functions, and around an editor."""

import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxedit.editors.editor import take
from jaxedit.editors.restrain import Pruned, Rect, prune, rect
from jaxedit.editors.weights import leaves
from jaxedit.errors import UserError
from tests.editors.test_editors import editor_of
from tests.tiny import tiny_facts, tiny_model

RNG = np.random.default_rng(0)
W, DELTA = RNG.normal(size=(12, 7)), RNG.normal(size=(12, 7))


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([0.01, 0.2, 0.4, 0.999, 1.0]))
def test_rect_keeps_exactly_its_share_of_the_largest(keep: float):
    kept = np.asarray(rect(jnp.asarray(W), jnp.asarray(DELTA), keep))
    assert (kept != 0).sum() == math.ceil(keep * DELTA.size)
    ratio = np.abs(DELTA) / np.abs(W)
    if (kept == 0).any():
        assert ratio[kept != 0].min() >= ratio[kept == 0].max() * (1 - 1e-5)
    np.testing.assert_allclose(kept[kept != 0], DELTA[kept != 0], rtol=1e-6)


def spectrum(matrix: np.ndarray) -> np.ndarray:
    return np.linalg.svd(matrix, compute_uv=False)


def test_prune_leaves_a_small_change_and_bends_a_large_one():
    largest = spectrum(W)[0]
    small = 0.9 * DELTA * largest / spectrum(DELTA)[0]
    np.testing.assert_allclose(prune(W, small, math.e), small, rtol=1e-5, atol=1e-6)
    large = 30 * DELTA
    expected = spectrum(large)
    over = expected > largest
    expected[over] = np.log2(expected[over]) - np.log2(largest) + largest
    found = np.asarray(prune(W, large, 2.0))
    np.testing.assert_allclose(spectrum(found), np.sort(expected)[::-1], rtol=1e-5)
    wide = np.asarray(prune(W.T, large.T, 2.0))
    np.testing.assert_allclose(wide, found.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("excess", [1e-6, 1e-3])
def test_prune_is_continuous_and_its_slope_is_the_documented_one(excess: float):
    """Above s_max it rises by 1 / (s_max ln base), faster than before if s_max is small."""
    reference, direction = np.diag([0.5, 0.1]), np.diag([1.0, 0.0])
    at = np.asarray(prune(reference, (0.5 + excess) * direction, 1.2), np.float64)[0, 0]
    assert (at - 0.5) == pytest.approx(excess / (0.5 * math.log(1.2)), rel=0.1, abs=1e-7)


def test_around_an_editor():
    lm, facts, inner = tiny_model(), tiny_facts(2), editor_of("memit")
    names = inner.places(lm)
    old = leaves(lm, names)
    cut = Rect(inner, 0.1)
    prepared = cut.prepare(lm, facts)
    state, _ = cut.edit(lm, cut.init(lm), take(prepared, 0, 1))
    for name, new in leaves(cut.bind(lm, state), names).items():
        changed = int((np.asarray(new) != np.asarray(old[name])).sum())
        assert 0 < changed <= math.ceil(0.1 * new.size)
    bent = Pruned(inner, 1.2)
    state, _ = bent.edit(lm, bent.init(lm), prepared)
    plain = leaves(inner.bind(lm, state), names)
    for name, new in leaves(bent.bind(lm, state), names).items():
        expected = old[name] + prune(old[name], plain[name] - old[name], 1.2)
        np.testing.assert_allclose(new, expected, atol=1e-6)
    with pytest.raises(UserError, match="D4S has not"):
        Rect(editor_of("d4s"), 0.1).init(lm)
