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


def solve_batch(
    before: Prior, keys: jax.Array, residuals: jax.Array, *, slack: float = 1.0
) -> jax.Array:
    """The update for n new edits at once, Delta = R (slack I + K^T B^-1 K)^-1 K^T B^-1.

    With slack 1 this is MEMIT's R K^T (B + K K^T)^-1 by Woodbury's identity; with any other,
    MEMIT's with slack x B for B, which is what EMMET solves for a batch. With few edits for
    the width it costs O(n v^2); with many it is a Cholesky of slack B + K K^T, O(v^3).

    Args:
      before: the prior, factored.
      keys: [n, v].
      residuals: [n, u].
      slack: how much each equation Delta k = r may give way, above 0.

    Returns:
      Delta, [u, v] float64.
    """
    keys, residuals = keys.astype(FLOAT), residuals.astype(FLOAT)
    count, width = keys.shape
    if 2 * count < width:
        solved = linalg.cho_solve((before.cholesky, True), keys.T)  # B^-1 K, [v, n]
        gram = slack * jnp.eye(count, dtype=FLOAT) + keys @ solved
        return residuals.T @ jnp.linalg.solve(gram, solved.T)
    ridge = before.ridge * jnp.eye(width, dtype=FLOAT)
    factor = jnp.linalg.cholesky(slack * (before.matrix + ridge) + keys.T @ keys)
    return residuals.T @ linalg.cho_solve((factor, True), keys.T).T


def solve_inverse(inverse: jax.Array, keys: jax.Array, residuals: jax.Array) -> jax.Array:
    """As `solve_batch`, with A = (B + T)^-1 carried by a recursion: R (I + K^T A K)^-1 K^T A.

    Args:
      inverse: A, [v, v] float64.
      keys: [n, v].
      residuals: [n, u].
    """
    solved = inverse @ keys.T  # [v, n]
    gram = jnp.eye(len(keys), dtype=FLOAT) + keys @ solved
    return residuals.T.astype(FLOAT) @ jnp.linalg.solve(gram, solved.T)


class Rank(NamedTuple):
    """An update of the exact rank of its facts, Delta = left right^T.

    Attributes:
      left: [u, n] float64.
      right: [v, n] float64.
    """

    left: jax.Array
    right: jax.Array


def solve_equalities(
    before: Prior,
    directions: np.ndarray | jax.Array,
    keys: np.ndarray | jax.Array,
    residuals: np.ndarray | jax.Array,
    *,
    layer: int,
) -> Rank:
    """The update with Delta k_i = r_i exactly, along B^-1 of given directions (ROME).

        Delta = R (U^T K)^-1 U^T,   U = B^-1 D

    With directions = keys it is the one of least tr(Delta B Delta^T).

    Args:
      before: the prior, factored.
      directions: D, [n, v].
      keys: K, where the equations hold, [n, v].
      residuals: R, [n, u].
      layer: named in the message if the equations contradict each other.
    """
    with jax.enable_x64(True):
        wide = [jnp.asarray(x, FLOAT) for x in (directions, keys, residuals)]
        right, gram = _equations(before.cholesky, wide[0], wide[1])
        gram = _regular(gram, f"layer {layer}: the keys of {len(wide[1])} facts")
        return Rank(jnp.linalg.solve(gram, wide[2]).T, right)


@jax.jit
def _equations(
    cholesky: jax.Array, directions: jax.Array, keys: jax.Array
) -> tuple[jax.Array, jax.Array]:
    right = linalg.cho_solve((cholesky, True), directions.T)  # U, [v, n]
    right = right / jnp.linalg.norm(right, axis=0)
    return right, keys @ right


SINGULAR = 1e-12  # smallest over largest singular value below which equations contradict


def _regular(gram: jax.Array, what: str) -> jax.Array:
    """The matrix of the equations, with a ridge on its diagonal where it is singular."""
    if not np.isfinite(np.asarray(gram)).all():
        raise FloatingPointError(f"{what} are zero or not finite")
    values = np.linalg.svd(np.asarray(gram), compute_uv=False)
    if values[-1] > SINGULAR * values[0]:
        return gram
    ridge = 1e-8 * values[0]
    logging.warning("%s are linearly dependent; added a ridge of %.3g", what, ridge)
    return gram + ridge * jnp.eye(len(gram), dtype=FLOAT)
