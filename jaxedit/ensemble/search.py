"""The search for what the target would have to say to agree with a fused distribution.

DeePEn (Huang et al., 2024, section 3.3; OnceEdit, equations 9 to 11) looks for logits z over the
target's V tokens whose relative representation q = softmax(z) R comes close to P [A]:

    L(z) = 1/A sum_j P_j (log P_j - log q_j)
    dL/dz_v = -1/A p_v (y_v - sum_u p_u y_u),   p = softmax(z),  y = R (P / q)

The factor 1/A is PyTorch's mean over the anchors. It matters: at real sizes gradients are about
1e-9, which AdamW's epsilon of 1e-8 damps. Five steps of AdamW at a cosine schedule move a logit by
4.496 learning rates at most.

Where P is one-hot at anchor a, y = R[:, a] / q: one column of R, O(V) a step. From z = 0 the best
token is then the column's own, argmax_v R[v, a]: after any number of steps of gradient descent,
after AdamW's first, and in the limit of both. That is what the look-up table holds.

AdamW's later steps are no theorem. A step is largest where the gradient has grown 1.11-fold, and
a token's may grow exp(2 lr)-fold while no token outweighs the others. So the second step keeps the
best in front up to a rate of .051; at .15 columns can be made, level but for a few tokens, where a
lesser one passes by, and at 2 diffuse R have many. `oracle` takes the search in float64, and
`exceptions` lists the columns of an R where it ends elsewhere than the table.

In float32 a token whose entry is above some .998 of the best may come out as large (`ties`).
After k steps these logits are worth their order only: the best of 32,000 tokens has a probability
of 6e-5.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.scipy.special import xlogy

from jaxedit.ensemble.maps import Map

PERIOD = 10  # steps of the cosine, however few are taken
LOWEST = 0.25  # of the learning rate, at its end
WEIGHT_DECAY = 0.01  # on logits: PyTorch's default
BLOCK = 64  # columns that `oracle` searches at once
WIDE = 256  # columns that `ties` looks at at once

Pull = Callable[[jax.Array], tuple[jax.Array, jax.Array]]


class Found(NamedTuple):
    """Where a search ended, and the way there.

    Attributes:
      values: logits after the last step (probabilities from `search_probabilities`), [B, V].
      losses: before each step, [B, steps].
      trajectory: z_0 to z_steps, [B, steps + 1, V]; None unless it was asked for.
    """

    values: jax.Array
    losses: jax.Array
    trajectory: jax.Array | None


class Ties(NamedTuple):
    """Columns of R whose two largest entries are nearly equal.

    Attributes:
      columns: their numbers, [n] int32, ascending.
      ratios: second largest over largest entry, [n] float32.
    """

    columns: np.ndarray
    ratios: np.ndarray


def schedule(learning_rate: float) -> optax.Schedule:
    """DeePEn's cosine from the learning rate to a quarter of it after ten steps, then constant."""
    return optax.cosine_decay_schedule(learning_rate, PERIOD, alpha=LOWEST)


def search(
    target: Map,
    start: jax.Array,
    fused: jax.Array,
    *,
    learning_rate: float,
    steps: int,
    trace: bool = False,
) -> Found:
    """Logits whose relative representation comes close to a distribution over anchors.

    Where P = q at the start (the target's own logits, and no share of a plug-in), the gradient is
    rounding noise, which AdamW makes as large as any other: do not search there.

    Args:
      target: the target's R.
      start: z_0, [B, V], of the dtype to compute in.
      fused: P, [B, A]; rows sum to 1, entries may be 0.
      learning_rate: of AdamW, before the schedule.
      steps: how many.
      trace: keep all z.
    """
    tiny = jnp.finfo(start.dtype).tiny

    def pull(p: jax.Array) -> tuple[jax.Array, jax.Array]:
        q = jnp.maximum(target.project(p), tiny)
        losses = (xlogy(fused, fused) - xlogy(fused, q)).sum(-1) / target.anchors
        return losses, target.pull_back(fused / q)

    return _logits(pull, target.anchors, start, learning_rate, steps, trace)


def search_column(
    column: jax.Array,
    anchors: int,
    start: jax.Array,
    *,
    learning_rate: float,
    steps: int,
    trace: bool = False,
) -> Found:
    """The same search for one-hot P, O(V) a step.

    Args:
      column: R[:, a] of each row's anchor a, [B, V].
      anchors: A, how many columns R has.
      start: z_0, [B, V].
      learning_rate: of AdamW, before the schedule.
      steps: how many.
      trace: keep all z.
    """
    column = column.astype(start.dtype)

    def pull(p: jax.Array) -> tuple[jax.Array, jax.Array]:
        q = (p * column).sum(-1)
        return -jnp.log(q) / anchors, column / q[:, None]

    return _logits(pull, anchors, start, learning_rate, steps, trace)


def search_probabilities(
    target: Map,
    start: jax.Array,
    fused: jax.Array,
    *,
    learning_rate: float,
    steps: int,
    trace: bool = False,
) -> Found:
    """Equations 9 and 10 to the letter: probabilities are searched, from zero if need be.

    KL is undefined at zero, so the loss is |p R - P|^2, by gradient descent without a projection.
    From zero the first step is 2 lr R P; for one-hot P that is the column, and its best token.
    Where R's rows are alike the squares are steep, and more steps than one may diverge.
    """

    def pull(p: jax.Array) -> tuple[jax.Array, jax.Array]:
        error = target.project(p) - fused
        return (error**2).sum(-1), 2 * target.pull_back(error)

    optimiser = optax.sgd(schedule(learning_rate))
    return _descend(optimiser, pull, start, steps, trace)


def _logits(
    pull: Pull, anchors: int, start: jax.Array, learning_rate: float, steps: int, trace: bool
) -> Found:
    """AdamW on z, given losses and y for p = softmax(z)."""

    def slope(z: jax.Array) -> tuple[jax.Array, jax.Array]:
        p = jax.nn.softmax(z, axis=-1)
        losses, y = pull(p)
        return losses, -p * (y - (p * y).sum(-1, keepdims=True)) / anchors

    optimiser = optax.adamw(schedule(learning_rate), 0.9, 0.999, 1e-8, weight_decay=WEIGHT_DECAY)
    return _descend(optimiser, slope, start, steps, trace)


def _descend(
    optimiser: optax.GradientTransformation, slope: Pull, start: jax.Array, steps: int, trace: bool
) -> Found:
    def step(carry: tuple, _: None) -> tuple[tuple, tuple]:
        x, state = carry
        losses, gradient = slope(x)
        updates, state = optimiser.update(gradient, state, x)
        x = x + updates
        return (x, state), (losses, x if trace else None)

    (x, _), (losses, path) = jax.lax.scan(step, (start, optimiser.init(start)), length=steps)
    if trace:
        path = jnp.moveaxis(jnp.concatenate([start[None], path]), 0, 1)
    return Found(x, losses.T, path)


def oracle(
    target: Map,
    index: np.ndarray | jax.Array,
    *,
    learning_rate: float = 0.15,
    steps: int = 5,
) -> np.ndarray:
    """The tokens that a float64 search from zero ends at, for one-hot targets: what T must equal.

    Args:
      target: the target's R; in bfloat16 entries that differed may have become equal.
      index: each step's best anchor, [N]; every different one is searched once.
      learning_rate: of AdamW, before the schedule.
      steps: how many.

    Returns:
      tokens, [N] int32.
    """
    different, place = np.unique(np.asarray(index, np.int32), return_inverse=True)
    found = np.zeros(len(different), np.int32)
    for start in range(0, len(different), BLOCK):
        some = different[start : start + BLOCK]
        filled = np.resize(some, BLOCK)  # one shape to compile
        columns = np.asarray(target.columns(jnp.asarray(filled)), np.float64)
        with jax.enable_x64(True):
            best = _best_of_column(columns, target.anchors, learning_rate, steps)
        found[start : start + len(some)] = np.asarray(best)[: len(some)]
    return found[place]


def exceptions(
    target: Map, table: np.ndarray | jax.Array, *, learning_rate: float = 0.15, steps: int = 5
) -> np.ndarray:
    """Columns from which the search in float64 ends elsewhere than T says, [n] int32, ascending.

    Args:
      target: the target's R.
      table: T, each column's best token, [A].
      learning_rate: of AdamW, before the schedule.
      steps: how many.
    """
    ends = oracle(target, np.arange(len(table)), learning_rate=learning_rate, steps=steps)
    return np.flatnonzero(ends != np.asarray(table)).astype(np.int32)


@jax.jit(static_argnums=(1, 2, 3))
def _best_of_column(column: jax.Array, anchors: int, learning_rate: float, steps: int) -> jax.Array:
    zeros = jnp.zeros_like(column)
    z = search_column(column, anchors, zeros, learning_rate=learning_rate, steps=steps).values
    return jnp.argmax(z, axis=-1)


def ties(target: Map, table: jax.Array, threshold: float = 0.998) -> Ties:
    """Columns in which a float32 search may not tell the best token from the second.

    Args:
      target: the target's R.
      table: T, each column's best token, [A].
      threshold: ratio of second to best above which a column is listed.
    """
    index = np.arange(len(table), dtype=np.int32)
    ratios = np.zeros(len(table), np.float32)
    for start in range(0, len(table), WIDE):
        some = np.resize(index[start : start + WIDE], WIDE)
        made = np.asarray(_runner_up(target, some, jnp.asarray(table)[some]))
        ratios[start : start + WIDE] = made[: len(table) - start]
    found = np.flatnonzero(ratios > threshold).astype(np.int32)
    return Ties(found, ratios[found])


@jax.jit
def _runner_up(target: Map, index: jax.Array, best: jax.Array) -> jax.Array:
    """Second largest over largest entry of some columns, [B]."""
    columns = target.columns(index)
    own = jnp.arange(columns.shape[1]) == best[:, None]
    second = jnp.where(own, -jnp.inf, columns).max(1)
    return second / jnp.where(own, columns, -jnp.inf).max(1)
