"""Least squares over carried sums: the mathematics of MEMIT and D4S, without a model.

For one edited matrix W (u x v), keys k in R^v, residuals r in R^u and a prior
B = lambda C (lambda times the second moment of keys, v x v), every update here solves

    min_Delta  sum_i |Delta k_i - r_i|^2 + tr(Delta B Delta^T),
    Delta = S (B + T)^-1,   S = sum_i r_i k_i^T,   T = sum_i k_i k_i^T

(MEMIT, Meng et al. 2022, equation 14; D4S, equations 5 and 8-11). D4S carries S and T.
`refactor` is the reference: a Cholesky of B + T from the sums. `append` is the fast path:
recursive least squares, O(u v + v^2) an edit.

The recursion's rounding errors are as large as the inverse was when it started, but the inverse
shrinks with every key. So `follow` refactors whenever the inverse has shrunk tenfold: at most
once a decade of the condition number over the whole history, and the recursion stays as close
to the reference as two direct solvers are to each other.

Everything is float64: call inside ``jax.enable_x64(True)``. In float32 the sums are
indefinite already at a condition number of 1e7.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.scipy import linalg

FLOAT = jnp.float64
SHRUNK = 0.1  # an inverse this much smaller than it started is computed afresh


class Prior(NamedTuple):
    """B = lambda C, factored once.

    Attributes:
      matrix: B, [v, v] float64.
      cholesky: lower factor of B + ridge I, [v, v] float64.
      ridge: what had to be added to the diagonal for the factorisation, 0 if nothing.
    """

    matrix: jax.Array
    cholesky: jax.Array
    ridge: float


class Sums(NamedTuple):
    """What D4S carries for one layer (equations 8-11): O(1) in the number of edits.

    Attributes:
      rk: sum of r k^T, [u, v] float64.
      kk: sum of k k^T, [v, v] float64.
    """

    rk: jax.Array
    kk: jax.Array


class Recursion(NamedTuple):
    """The sums with their solution, kept up to date edit by edit.

    Attributes:
      sums: the carried sums.
      inverse: (B + T)^-1, [v, v] float64.
      delta: S (B + T)^-1, [u, v] float64.
      ceiling: largest diagonal entry of the inverse when it was last factored, [] float64.
    """

    sums: Sums
    inverse: jax.Array
    delta: jax.Array
    ceiling: jax.Array


def prior(moment: np.ndarray | jax.Array, weight: float, *, layer: int) -> Prior:
    """Factors B = weight * moment, adding the smallest ridge that makes it definite.

    Args:
      moment: uncentred second moment C of the keys, [v, v].
      weight: lambda, the number of preserved keys that C stands for.
      layer: named in the message if a ridge is needed.
    """
    with jax.enable_x64(True):
        matrix = weight * jnp.asarray(moment, FLOAT)
        factor, ridge = _definite_cholesky(matrix, f"layer {layer}: {weight:g} x C")
        return Prior(matrix, factor, ridge)


def _definite_cholesky(matrix: jax.Array, what: str) -> tuple[jax.Array, float]:
    """Lower Cholesky factor of matrix + ridge I, and the ridge, which is logged."""
    scale = float(jnp.trace(matrix)) / matrix.shape[0]
    for ridge in (0.0, *(scale * 10.0**power for power in range(-14, 1))):
        factor = _cholesky(matrix, jnp.asarray(ridge, FLOAT))
        if bool(jnp.isfinite(factor).all()):
            if ridge:
                logging.warning("%s is not positive definite; added a ridge of %.3g", what, ridge)
            return factor, ridge
    raise FloatingPointError(f"{what} cannot be factored; are the statistics finite?")


@jax.jit
def _cholesky(matrix: jax.Array, ridge: jax.Array) -> jax.Array:
    return jnp.linalg.cholesky(matrix + ridge * jnp.eye(matrix.shape[0], dtype=matrix.dtype))


def no_sums(rows: int, width: int) -> Sums:
    """Sums before the first edit: u = rows, v = width."""
    with jax.enable_x64(True):
        return Sums(jnp.zeros((rows, width), FLOAT), jnp.zeros((width, width), FLOAT))


def accumulate(sums: Sums, keys: jax.Array, residuals: jax.Array) -> Sums:
    """Adds n edits to the sums (D4S, equations 10 and 11).

    Args:
      sums: the sums so far.
      keys: [n, v].
      residuals: [n, u].
    """
    keys, residuals = keys.astype(FLOAT), residuals.astype(FLOAT)
    return Sums(sums.rk + residuals.T @ keys, sums.kk + keys.T @ keys)


def refactor(sums: Sums, before: Prior, *, layer: int) -> Recursion:
    """The reference solution from the sums, by a Cholesky of B + T.

    It also restarts the recursion, so a run that was restored from its sums and one that
    refactors at the same checkpoint go on with the same numbers.
    """
    with jax.enable_x64(True):
        ridge = before.ridge * jnp.eye(before.matrix.shape[0], dtype=FLOAT)
        factor, _ = _definite_cholesky(
            before.matrix + ridge + sums.kk, f"layer {layer}: the sum of keys and prior"
        )
        inverse, delta = _invert(factor, sums.rk)
        return Recursion(sums, inverse, delta, jnp.diagonal(inverse).max())


@jax.jit
def _invert(factor: jax.Array, rk: jax.Array) -> tuple[jax.Array, jax.Array]:
    identity = jnp.eye(factor.shape[0], dtype=factor.dtype)
    inverse = linalg.cho_solve((factor, True), identity)
    delta = linalg.cho_solve((factor, True), rk.T).T
    return (inverse + inverse.T) / 2, delta


def append(state: Recursion, key: jax.Array, residual: jax.Array) -> Recursion:
    """One more edit by recursive least squares, O(u v + v^2).

        g = A k / (1 + k^T A k),  Delta += (r - Delta k) g^T,  A -= g (A k)^T

    Args:
      state: the recursion so far.
      key: k, [v].
      residual: r, [u].
    """
    key, residual = key.astype(FLOAT), residual.astype(FLOAT)
    a_key = state.inverse @ key  # [v]
    gain = a_key / (1.0 + key @ a_key)  # [v]
    return Recursion(
        Sums(
            state.sums.rk + jnp.outer(residual, key),
            state.sums.kk + jnp.outer(key, key),
        ),
        state.inverse - jnp.outer(gain, a_key),
        state.delta + jnp.outer(residual - state.delta @ key, gain),
        state.ceiling,
    )


def follow(
    state: Recursion, before: Prior, keys: np.ndarray, residuals: np.ndarray, *, layer: int
) -> Recursion:
    """Appends n edits, and refactors if the recursion has become less exact than the sums.

    Args:
      state: the recursion so far.
      before: the prior that it started from.
      keys: [n, v].
      residuals: [n, u].
      layer: named if something cannot be factored.
    """
    with jax.enable_x64(True):
        state, stale = _append_all(state, keys, residuals)
        return refactor(state.sums, before, layer=layer) if stale else state


@jax.jit
def _append_all(
    state: Recursion, keys: jax.Array, residuals: jax.Array
) -> tuple[Recursion, jax.Array]:
    def step(carry: Recursion, edit: tuple[jax.Array, jax.Array]) -> tuple[Recursion, None]:
        return append(carry, *edit), None

    state, _ = jax.lax.scan(step, state, (keys, residuals))
    return state, jnp.diagonal(state.inverse).max() < SHRUNK * state.ceiling


def solve_batch(before: Prior, keys: jax.Array, residuals: jax.Array) -> jax.Array:
    """MEMIT's update for n new edits at once, Delta = R K^T (B + K K^T)^-1.

    With few edits for the width it is Woodbury on the factor of B, O(n v^2); with many,
    a Cholesky of B + K K^T, O(v^3).

    Args:
      before: the prior, factored.
      keys: [n, v].
      residuals: [n, u].

    Returns:
      Delta, [u, v] float64.
    """
    keys, residuals = keys.astype(FLOAT), residuals.astype(FLOAT)
    count, width = keys.shape
    if 2 * count < width:
        # (B + K K^T)^-1 K = B^-1 K (I + K^T B^-1 K)^-1
        solved = linalg.cho_solve((before.cholesky, True), keys.T)  # B^-1 K, [v, n]
        gram = jnp.eye(count, dtype=FLOAT) + keys @ solved
        return residuals.T @ jnp.linalg.solve(gram, solved.T)
    ridge = before.ridge * jnp.eye(width, dtype=FLOAT)
    factor = jnp.linalg.cholesky(before.matrix + ridge + keys.T @ keys)
    return residuals.T @ linalg.cho_solve((factor, True), keys.T).T
