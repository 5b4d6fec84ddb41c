"""The solves: against textbook forms, over long sequences, and on badly conditioned priors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.editors.least_squares import (
    accumulate,
    append,
    follow,
    no_sums,
    prior,
    refactor,
    solve_batch,
)

U, V = 12, 40


def moment(seed: int, condition: float, width: int = V) -> np.ndarray:
    """A symmetric matrix with a given condition number, float64."""
    rng = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(rng.normal(size=(width, width)))
    spectrum = np.logspace(0, -np.log10(condition), width)
    return (basis * spectrum) @ basis.T


def edits(seed: int, n: int, width: int = V) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, width)), rng.normal(size=(n, U))


def relative(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(np.asarray(a) - np.asarray(b)).max() / np.abs(np.asarray(b)).max())


def test_refactor_is_the_closed_form():
    keys, residuals = edits(0, 7)
    matrix = moment(1, 1e3)
    with jax.enable_x64(True):
        sums = accumulate(no_sums(U, V), jnp.asarray(keys), jnp.asarray(residuals))
    solved = refactor(sums, prior(matrix, 30.0, layer=0), layer=0)
    expected = residuals.T @ keys @ np.linalg.inv(30.0 * matrix + keys.T @ keys)
    assert solved.delta.dtype == jnp.float64
    assert relative(solved.delta, expected) < 1e-12


@pytest.mark.parametrize("condition", [1e2, 1e6, 1e10])
@pytest.mark.parametrize("like_text", [False, True])
def test_recursion_equals_the_reference_over_600_edits(condition: float, like_text: bool):
    """At every tenth edit; keys fill all directions, or those that text fills as text does."""
    matrix = moment(3, condition)
    keys, residuals = edits(2, 600)
    if like_text:
        keys = 3 * keys @ np.linalg.cholesky(matrix).T
    keys[100:140] = keys[:40]  # the same keys again, with other residuals: revisions
    before = prior(matrix, 15.0, layer=0)
    state = refactor(no_sums(U, V), before, layer=0)
    for n, (k, r) in enumerate(zip(keys, residuals, strict=True), start=1):
        state = follow(state, before, k[None], r[None], layer=0)
        if n == 1 or n % 10 == 0:
            total = np.asarray(before.matrix + state.sums.kk)
            cholesky = np.asarray(refactor(state.sums, before, layer=0).delta)
            lu = np.linalg.solve(total, np.asarray(state.sums.rk).T).T
            error = relative(state.delta, cholesky)
            assert error < 1e-14 * np.linalg.cond(total) + 1e-14
            assert error < 20 * relative(cholesky, lu)
    assert relative(state.sums.kk, keys.T @ keys) < 1e-13


def test_edits_followed_together_are_edits_followed_one_by_one():
    keys, residuals = edits(4, 9)
    before = prior(moment(5, 1e4), 2.0, layer=0)
    start = refactor(no_sums(U, V), before, layer=0)
    together = follow(start, before, keys, residuals, layer=0)
    single = start
    for k, r in zip(keys, residuals, strict=True):
        single = follow(single, before, k[None], r[None], layer=0)
    assert relative(together.delta, single.delta) < 1e-10


@pytest.mark.parametrize("count", [1, 8, 19, 20, 60])
def test_batch_solve_is_the_closed_form_on_both_sides_of_the_switch(count: int):
    keys, residuals = edits(6, count)
    matrix = moment(7, 1e4)
    before = prior(matrix, 3.0, layer=0)
    with jax.enable_x64(True):
        solved = jax.jit(solve_batch)(before, keys, residuals)
    expected = residuals.T @ keys @ np.linalg.inv(3.0 * matrix + keys.T @ keys)
    assert solved.dtype == jnp.float64
    assert relative(solved, expected) < 1e-10


def test_one_appended_edit_is_a_memit_update_of_one_fact():
    keys, residuals = edits(8, 1)
    before = prior(moment(9, 1e4), 3.0, layer=0)
    with jax.enable_x64(True):
        batch = solve_batch(before, jnp.asarray(keys), jnp.asarray(residuals))
        single = append(refactor(no_sums(U, V), before, layer=0), keys[0], residuals[0])
    assert relative(single.delta, batch) < 1e-11


def test_a_singular_prior_gets_a_reported_ridge(caplog: pytest.LogCaptureFixture):
    matrix = moment(10, 10.0)
    matrix[:, -5:] = matrix[-5:] = 0.0  # neurons that never fire
    with caplog.at_level("WARNING"):
        before = prior(matrix, 3.0, layer=4)
    assert before.ridge > 0
    assert "layer 4" in caplog.text and "ridge" in caplog.text
    assert np.isfinite(np.asarray(before.cholesky)).all()


def test_a_non_finite_prior_is_refused_by_layer():
    with pytest.raises(FloatingPointError, match="layer 3"):
        prior(np.full((V, V), np.nan), 3.0, layer=3)
