"""Adapters that look at the end of the prompt: where that is, what they reach, and a codebook.

What such an adapter decides at the last token that was given holds for the whole answer: it is its
memory over cached tokens (see ``models/sites.py``).
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from jaxedit.editors.weights import check_layers, leaf_names
from jaxedit.errors import UserError
from jaxedit.models.layers import wide
from jaxedit.models.sites import STATIC, Context
from jaxedit.models.transformer import Transformer

Replace = Literal["last", "prompt", "all"]
"""At which tokens an adapter's own output stands in place of its linear's.

  "last"    the prompt's last one.
  "prompt"  all of the prompt.
  "all"     these and all that is answered.
"""
OUTSIDE = -1  # in place of an entry


def one_place(lm: Transformer, layers: tuple[int, ...], module: str) -> str:
    """The name of the one linear that an adapter stands behind, such as "layers_3/mlp.down".

    Raises:
      UserError: there is not exactly one layer, or the model has no such place.
    """
    check_layers(lm, layers)
    if len(layers) != 1:
        raise UserError(
            f"layers {list(layers)}: this method stands behind one linear; name one layer"
        )
    (name,) = leaf_names(lm, layers, (module,))
    return name


def at_prompt_end(x: jax.Array, prompt: jax.Array) -> jax.Array:
    """x [B, T, F] at each row's last True of prompt [B, T]: [B, F], float32 or wider."""
    query = jnp.take_along_axis(x, _last(prompt)[:, None, None], axis=1)[:, 0]
    return query.astype(wide(x.dtype))


def reached(prompt: jax.Array, mask: jax.Array, replace: Replace) -> jax.Array:
    """[B, T] True where outputs are replaced; prompt and mask [B, T]."""
    if replace == "last":
        return prompt & (jnp.arange(prompt.shape[1]) == _last(prompt)[:, None])
    return prompt if replace == "prompt" else mask


def _last(prompt: jax.Array) -> jax.Array:
    """[B] column of the last True."""
    return prompt.shape[1] - 1 - jnp.argmax(prompt[:, ::-1], axis=1)


def nearest(keys: jax.Array, count: jax.Array, query: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The entry nearest to each query, the first of equals, and its Euclidean distance.

    Args:
      keys: [C, F], of which the first `count` are there.
      count: [].
      query: [B, F].

    Returns:
      [B] int32 and [B] in the keys' dtype; infinitely far if there is no entry. Differences are
      squared one by one: expanded, |k|^2 - 2 k q + |q|^2 loses all that two near points differ by.
    """
    squares = jnp.square(keys - query[:, None].astype(keys.dtype)).sum(-1)  # [B, C]
    distance = jnp.where(jnp.arange(len(keys)) < count, jnp.sqrt(squares), jnp.inf)
    return jnp.argmin(distance, axis=1).astype(jnp.int32), distance.min(axis=1)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Codebook:
    """GRACE's adapter: near a key, its value stands in place of the linear's output.

    Attributes:
      keys: inputs of the linear, [C, F].
      values: outputs, [C, D].
      radii: how far each key reaches, [C].
      count: entries that are there, [].
      replace: at which tokens.
    """

    keys: jax.Array
    values: jax.Array
    radii: jax.Array
    count: jax.Array
    replace: Replace = dataclasses.field(default="last", metadata=STATIC)

    def __call__(self, x: jax.Array, y: jax.Array, context: Context) -> tuple[jax.Array, jax.Array]:
        """x [B, T, F], y [B, T, D] -> y with values, and each row's entry or OUTSIDE, [B]."""
        entry = context.memory
        if entry is None:
            found, distance = nearest(self.keys, self.count, at_prompt_end(x, context.prompt))
            entry = jnp.where(distance <= self.radii[found], found, OUTSIDE)
        here = reached(context.prompt, context.mask, self.replace) & (entry >= 0)[:, None]
        value = self.values[jnp.maximum(entry, 0)][:, None]  # [B, 1, D]
        return jnp.where(here[..., None], value.astype(y.dtype), y), entry
