"""A running mean and variance of rows that come in groups, for life.

The normaliser of editors that read gradients (MALMEN, RLEdit, UltraEdit): every group is counted
before its rows are normalised. Groups are pooled by Welford's formula (Chan et al. 1979): with n
rows so far, b new ones and d the distance of their mean from the old one,

    mean += b d / (n + b),   S += (sum of squares about their own mean) + n b d^2 / (n + b)

and the variance is S / (rows - 1). The published code takes b times the *unbiased* variance of a
group for its sum of squares, which is b / (b - 1) too much of it (`legacy`).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

EPSILON = float(np.finfo(np.float32).eps)  # added to standard deviations


class Normaliser(NamedTuple):
    """What is known of the rows so far, F columns; float64.

    Attributes:
      mean: [F].
      square: sum of squared distances from the mean, [F].
      rows: how many.
    """

    mean: Any
    square: Any
    rows: Any

    @classmethod
    def empty(cls, width: int) -> "Normaliser":
        """Before the first row."""
        return cls(np.zeros(width), np.zeros(width), np.float64(0))


@jax.jit(static_argnames="legacy")
def follow(normaliser: Normaliser, rows: Any, real: Any, *, legacy: bool = False) -> Normaliser:
    """The normaliser once it has seen some groups, one after another.

    Args:
      normaliser: before them.
      rows: [groups, N, F]; a group may be filled up with anything finite.
      real: [groups, N] bool, True where a row counts.
      legacy: weight the groups' variances as the published code does.
    """

    def step(at: Normaliser, group: tuple[Any, Any]) -> tuple[Normaliser, None]:
        x, here = group[0].astype(at.mean.dtype), group[1].astype(at.mean.dtype)
        b = here.sum()
        centre = here @ x / jnp.maximum(b, 1)
        spread = here @ jnp.square(x - centre)
        if legacy:
            spread = spread * b / jnp.maximum(b - 1, 1)
        n = at.rows + b
        part = b / jnp.maximum(n, 1)
        far = centre - at.mean
        between = at.rows * part * jnp.square(far)
        return Normaliser(at.mean + part * far, at.square + spread + between, n), None

    return jax.lax.scan(step, normaliser, (rows, real))[0]


def normalise(normaliser: Normaliser, rows: jax.Array) -> jax.Array:
    """(rows - mean) / (standard deviation + eps), rows [N, F], in the normaliser's dtype.

    A single row has no deviation; 1 is taken for it, and the row becomes zeros.
    """
    std = jnp.sqrt(normaliser.square / jnp.maximum(normaliser.rows - 1, 1))
    std = jnp.where(normaliser.rows > 1, std, 1)
    return (rows.astype(std.dtype) - normaliser.mean) / (std + EPSILON)
