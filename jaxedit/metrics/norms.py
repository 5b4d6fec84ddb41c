"""Size of the edited weights and of what was added to them (D4S figures 5 and 6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Norms(NamedTuple):
    """Norms of one edited weight.

    ``l1`` is the L1 norm per weight, mean |w|, as the paper draws it; ``l2`` is the Frobenius
    norm; the ``delta_`` ones are of the edited weight minus the unedited one.
    """

    l1: float
    l2: float
    delta_l1: float
    delta_l2: float


def weight_norms(edited: Mapping[str, Any], unedited: Mapping[str, Any]) -> dict[str, Norms]:
    """Norms of each named weight, in float32 or wider.

    Args:
        edited, unedited: name -> array; the same names and shapes.
    """
    found = {}
    for name, weight in edited.items():
        values = jax.device_get(_norms(weight, unedited[name]))
        found[name] = Norms(*(float(value) for value in values))
    return found


@jax.jit
def _norms(weight: jax.Array, unedited: jax.Array) -> tuple[jax.Array, ...]:
    dtype = jnp.promote_types(jnp.float32, weight.dtype)
    weight = weight.astype(dtype)
    delta = weight - unedited.astype(dtype)
    return *_pair(weight), *_pair(delta)


def _pair(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    return jnp.mean(jnp.abs(x)), jnp.sqrt(jnp.sum(jnp.square(x)))
