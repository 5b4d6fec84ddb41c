"""Where an edit is written: the down-projection kernel of a block, [d_ff, d_model].

The literature writes W in R^{u x v} (u = d_model, v = d_ff) and Delta likewise; a Flax kernel
is W^T. An edited kernel is float32 or wider, whatever the other parameters are: a small delta
added to a bfloat16 weight is mostly rounded away.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxedit.errors import UserError
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import replicate


def kernel(lm: Transformer, layer: int) -> jax.Array:
    """The down-projection of block `layer`, [d_ff, d_model]."""
    return lm.params[f"layers_{layer}"]["mlp"]["down"]["kernel"]


def with_kernels(lm: Transformer, kernels: Mapping[int, Any]) -> Transformer:
    """`lm` with other down-projections; the given model is not changed."""
    params = dict(lm.params)
    for layer, new in kernels.items():
        block = dict(params[f"layers_{layer}"])
        mlp = dict(block["mlp"])
        mlp["down"] = {**mlp["down"], "kernel": replicate(new, lm.mesh)}
        block["mlp"] = mlp
        params[f"layers_{layer}"] = block
    return lm.with_params(params)


def add_delta(lm: Transformer, layer: int, delta: jax.Array, scale: float = 1.0) -> Transformer:
    """W + scale * Delta at `layer`, rounded once to float32 (or the kernel's wider type).

    Args:
      lm: the model.
      layer: which block.
      delta: [u, v] float64.
      scale: factor of delta.
    """
    old = kernel(lm, layer)
    wide = jnp.promote_types(old.dtype, jnp.float32)
    with jax.enable_x64(True):
        change = _change(delta, scale, dtype=wide)
    return with_kernels(lm, {layer: _sum(old, replicate(change, lm.mesh))})


def _change(delta: jax.Array, scale: float, *, dtype: Any) -> jax.Array:
    return _scaled(delta, jnp.asarray(scale, delta.dtype), dtype=jnp.dtype(dtype).name)


@jax.jit(static_argnames="dtype")
def _scaled(delta: jax.Array, scale: jax.Array, *, dtype: str) -> jax.Array:
    return (delta * scale).astype(dtype).T


@jax.jit
def _sum(old: jax.Array, change: jax.Array) -> jax.Array:
    return old.astype(change.dtype) + change


def check_layers(lm: Transformer, layers: tuple[int, ...]) -> None:
    """Refuses layers that the model does not have, or that do not ascend.

    Raises:
      UserError: naming the layer and the model's range.
    """
    for layer in layers:
        if not 0 <= layer < lm.config.n_layers:
            raise UserError(
                f"editor layer {layer} does not exist: {lm.name} has layers 0 to "
                f"{lm.config.n_layers - 1}; set layers to some of these"
            )
    if not layers or list(layers) != sorted(set(layers)):
        raise UserError(f"editor layers {list(layers)} must be ascending and not empty")
