"""TIES: several changes of one matrix merged into one.

Yadav et al. 2023, "TIES-Merging: Resolving Interference When Merging Models", section 3, in three
steps. Trim: of each change, the share of its entries that are largest. Elect: for each entry,
the sign of the weighted sum of what is left. Merge: the weighted mean of those that agree with it.
"""

import functools

import jax
import jax.numpy as jnp


def ties(deltas: jax.Array, weights: jax.Array, density: float) -> jax.Array:
    """The merged change.

    Entries as large as the smallest one that is kept are kept as well, so that the order of
    entries does not matter; a sum of zero elects plus, as in the published code.

    Args:
      deltas: changes, [k, ...].
      weights: of each, [k], positive.
      density: share of entries that is kept of each, rounded down but never none.

    Returns:
      [...], of the changes' dtype.
    """
    kept = max(1, int(density * deltas[0].size))
    return _merge(jnp.asarray(deltas), jnp.asarray(weights, deltas.dtype), kept=kept)


@functools.partial(jax.jit, static_argnames="kept")
def _merge(deltas: jax.Array, weights: jax.Array, *, kept: int) -> jax.Array:
    trimmed = jax.lax.map(functools.partial(trim, kept=kept), deltas)
    share = weights.reshape(-1, *[1] * (deltas.ndim - 1))
    weighted = share * trimmed
    elected = jnp.where(weighted.sum(axis=0) >= 0, 1, -1).astype(deltas.dtype)
    agree = jnp.sign(weighted) == elected
    total = jnp.where(agree, share, 0).sum(axis=0)
    return jnp.where(agree, weighted, 0).sum(axis=0) / jnp.where(total == 0, 1, total)


def trim(delta: jax.Array, *, kept: int) -> jax.Array:
    """`delta` with the `kept` entries of the largest magnitude, and zeros."""
    if kept >= delta.size:
        return delta
    size = jnp.abs(delta)
    least = jnp.sort(size.reshape(-1))[delta.size - kept]
    return jnp.where(size >= least, delta, 0)
