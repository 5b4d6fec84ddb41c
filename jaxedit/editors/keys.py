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

CHUNK = 32  # facts a device and call


class Place(NamedTuple):
    """Where the walk stands: at the input of block `layer`, for n facts behind N templates.

    Attributes:
      hidden: [n, N, T, D].
      mask: [n, N, T] bool.
      lookup: [n, N] int32, column of the subject's last token.
    """

    hidden: Any
    mask: Any
    lookup: Any


def begin(lm: Transformer, rows: KeyRows, layer: int) -> Place:
    """Runs the rows of `rows` up to the input of block `layer`."""
    call = data_parallel(_run_from_text, lm.mesh, chunk=CHUNK, config=lm.config, stop=layer)
    hidden = call(lm.params, {"ids": rows.ids, "mask": rows.mask})
    return Place(hidden, rows.mask, rows.lookup)


def read(lm: Transformer, place: Place, layer: int, weights: np.ndarray) -> jax.Array:
    """Keys of the n facts at `layer`, [n, d_ff], in float32 or wider.

    Args:
      lm: the model, with the blocks below `layer` as edited so far.
      place: the walk at the input of `layer`.
      layer: the edited layer.
      weights: of the templates, [N] (`rows.context_weights`).
    """
    return average(read_each(lm, place, layer), weights)


def read_each(lm: Transformer, place: Place, layer: int) -> jax.Array:
    """Keys of the n facts behind each of their N templates, [n, N, d_ff]."""
    return passing(lm, place, layer, layer, "mlp.down.in")


@jax.jit
def average(keys: jax.Array, weights: jax.Array) -> jax.Array:
    """Weighted mean over the templates: [n, N, v] -> [n, v], in float32 or wider."""
    wide = jnp.promote_types(keys.dtype, jnp.float32)
    return jnp.einsum("fnv,n->fv", keys.astype(wide), weights.astype(wide))


def advance(lm: Transformer, place: Place, start: int, stop: int) -> Place:
    """Moves from the input of block `start` to that of block `stop`."""
    call = data_parallel(
        _run_from_hidden, lm.mesh, chunk=CHUNK, config=lm.config, start=start, stop=stop
    )
    return place._replace(hidden=call(lm.params, place._asdict()))


def plain(place: Place) -> Place:
    """The rows of the first template, the plain prompt, alone."""
    return jax.tree.map(lambda x: x[:, :1], place)


def passing(
    lm: Transformer, place: Place, start: int, layer: int, site: str = "block.out"
) -> jax.Array:
    """What passes `site` of block `layer` at the subject's last token, [n, N, F].

    Args:
      lm: the model.
      place: the walk at the input of block `start`.
      start: the first block that runs.
      layer: the last one.
      site: see `jaxedit.models.sites`.
    """
    static = {"config": lm.config, "start": start, "layer": layer, "site": site}
    return data_parallel(_run_to_site, lm.mesh, chunk=CHUNK, **static)(lm.params, place._asdict())


def _rows(x: Any) -> Any:
    """[n, N, ...] -> [n * N, ...]: facts are what calls are cut by, rows what a model runs."""
    return x.reshape((-1, *x.shape[2:]))


def _run_from_text(params: Any, batch: Any, *, config: ModelConfig, stop: int) -> jax.Array:
    ids, mask = batch["ids"], batch["mask"]
    hidden = forward(config, params, _rows(ids), _rows(mask), stop=stop).hidden
    return hidden.reshape((*ids.shape, -1))


def _run_from_hidden(
    params: Any, batch: Any, *, config: ModelConfig, start: int, stop: int
) -> jax.Array:
    flat = jax.tree.map(_rows, batch)
    out = forward(config, params, None, flat["mask"], start=start, stop=stop, hidden=flat["hidden"])
    return out.hidden.reshape(batch["hidden"].shape)


def _run_to_site(
    params: Any, batch: Any, *, config: ModelConfig, start: int, layer: int, site: str
) -> jax.Array:
    flat = jax.tree.map(_rows, batch)
    out = forward(
        config,
        params,
        None,
        flat["mask"],
        start=start,
        stop=layer + 1,
        hidden=flat["hidden"],
        taps=(Tap(layer, site, positions=flat["lookup"][:, None]),),
    )
    return out.taps[0].reshape((*batch["lookup"].shape, -1))
