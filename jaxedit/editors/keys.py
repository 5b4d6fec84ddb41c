"""Keys in one walk: up through the edited blocks, never starting again, never past the last.

The key of a fact at a layer is the input of that block's down-projection at the subject's
last token, averaged over the prefix templates (MEMIT, equation 19). The walk keeps the hidden
states at the input of the layer in hand; when its matrix has been solved, the block runs again
with the new one and its output is the next layer's input. What is above the last edited layer,
the LM head included, never runs.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.editors.rows import KeyRows
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import forward
from jaxedit.models.sites import Tap
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import data_parallel

CHUNK = 128  # rows a device and call


class Place(NamedTuple):
    """Where the walk stands: at the input of block `layer`, for n facts behind N templates.

    Attributes:
      hidden: [n * N, T, D].
      mask: [n * N, T] bool.
      lookup: [n * N] int32, column of the subject's last token.
    """

    hidden: Any
    mask: Any
    lookup: Any


def begin(lm: Transformer, rows: KeyRows, layer: int) -> Place:
    """Runs the rows of `rows` up to the input of block `layer`."""
    flat = jax.tree.map(lambda x: x.reshape((-1, *x.shape[2:])), rows)
    call = data_parallel(_run_from_text, lm.mesh, chunk=CHUNK, config=lm.config, stop=layer)
    hidden = call(lm.params, {"ids": flat.ids, "mask": flat.mask})
    return Place(hidden, flat.mask, flat.lookup)


def read(lm: Transformer, place: Place, layer: int, weights: np.ndarray) -> jax.Array:
    """Keys of the n facts at `layer`, [n, d_ff], in float32 or wider.

    Args:
      lm: the model, with the blocks below `layer` as edited so far.
      place: the walk at the input of `layer`.
      layer: the edited layer.
      weights: of the templates, [N] (`rows.context_weights`).
    """
    call = data_parallel(_run_to_key, lm.mesh, chunk=CHUNK, config=lm.config, layer=layer)
    keys = call(lm.params, place._asdict())  # [n * N, v]
    return _average(keys, weights)


def advance(lm: Transformer, place: Place, start: int, stop: int) -> Place:
    """Moves from the input of block `start` to that of block `stop`."""
    call = data_parallel(
        _run_from_hidden, lm.mesh, chunk=CHUNK, config=lm.config, start=start, stop=stop
    )
    return place._replace(hidden=call(lm.params, place._asdict()))


def first_rows(place: Place, templates: int) -> Place:
    """The rows of the first template, the plain prompt, alone."""
    return jax.tree.map(lambda x: x[::templates], place)


def hidden_after(lm: Transformer, place: Place, start: int, layer: int) -> jax.Array:
    """Output of block `layer` at the subject's last token, [rows, D], from the input of `start`."""
    ahead = advance(lm, place, start, layer + 1)
    return _pick(ahead.hidden, ahead.lookup)


def _run_from_text(params: Any, batch: Any, *, config: ModelConfig, stop: int) -> jax.Array:
    return forward(config, params, batch["ids"], batch["mask"], stop=stop).hidden


def _run_from_hidden(
    params: Any, batch: Any, *, config: ModelConfig, start: int, stop: int
) -> jax.Array:
    return forward(
        config, params, None, batch["mask"], start=start, stop=stop, hidden=batch["hidden"]
    ).hidden


def _run_to_key(params: Any, batch: Any, *, config: ModelConfig, layer: int) -> jax.Array:
    out = forward(
        config,
        params,
        None,
        batch["mask"],
        start=layer,
        stop=layer + 1,
        hidden=batch["hidden"],
        taps=(Tap(layer, "mlp.down.in", positions=batch["lookup"][:, None]),),
    )
    return out.taps[0][:, 0]


@jax.jit
def _average(keys: jax.Array, weights: jax.Array) -> jax.Array:
    """[n * N, v] -> [n, v]."""
    wide = jnp.promote_types(keys.dtype, jnp.float32)
    grouped = keys.astype(wide).reshape((-1, weights.shape[0], keys.shape[-1]))
    return jnp.einsum("fnv,n->fv", grouped, weights.astype(wide))


@jax.jit
def _pick(hidden: jax.Array, columns: jax.Array) -> jax.Array:
    return jnp.take_along_axis(hidden, columns[:, None, None], axis=1)[:, 0]
