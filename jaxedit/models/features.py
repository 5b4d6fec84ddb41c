"""Texts as vectors: a model's own hidden states, pooled over each text's tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.errors import UserError
from jaxedit.models.batches import batches, check_lengths
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import Params, forward
from jaxedit.models.text import pad_batch
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import data_parallel

Pooling = Literal["mean", "last"]
TINY = 1e-12  # in place of the norm of a vector that is nothing


class _Texts(NamedTuple):
    """Padded texts: ids [B, T] int32, mask [B, T] bool, and ``pooled`` [B, T] bool."""

    ids: Any  # numpy on the host, traced inside a compiled function
    mask: Any
    pooled: Any


def features(
    lm: Transformer, texts: Sequence[str], layer: int, pooling: Pooling = "mean"
) -> np.ndarray:
    """[N, D] float32: what block ``layer`` gives out for each text, as one vector.

    Each distinct text is run once, up to that block and no further, in batches over all devices.

    Args:
      lm: any model.
      texts: whole texts; one that has no token is the model's opening token alone.
      layer: the block, from 0.
      pooling: "mean": the mean over the text's tokens of their states, each at length 1, so that
        the few tokens whose states are hundreds of times larger (Sun et al. 2024, "Massive
        activations") are no more than others; a BOS is left out. "last": the last token's state.

    Raises:
      UserError: there is no such layer or pooling, or a text is longer than the model's positions.
    """
    if pooling not in get_args(Pooling):
        raise UserError(f'pooling is {pooling!r}; it is "mean" or "last"')
    if not 0 <= layer < lm.config.n_layers:
        raise UserError(
            f"{lm.name} has no layer {layer} to take features from; it has 0 to "
            f"{lm.config.n_layers - 1}"
        )
    distinct = list(dict.fromkeys(texts))
    rows = [lm.prompt_row(text) for text in distinct]
    check_lengths(rows, lm.config.max_positions)
    found = np.zeros((len(rows), lm.config.d_model), np.float32)
    for places, length, each in batches([len(row) for row in rows], lm.mesh.data):
        batch = _padded(lm, [rows[i] for i in places], length, pooling)
        pool = data_parallel(_pool, lm.mesh, chunk=each, config=lm.config, stop=layer + 1)
        found[places] = pool(lm.params, batch)
    place = {text: i for i, text in enumerate(distinct)}
    return found[[place[text] for text in texts]] if len(texts) else found


def _padded(
    lm: Transformer, rows: Sequence[Sequence[int]], length: int, pooling: Pooling
) -> _Texts:
    ids, mask = pad_batch(rows, pad_id=lm.tokenizer.pad_id, length=length)
    if pooling == "last":
        last = mask.sum(axis=1, keepdims=True) - 1
        return _Texts(ids, mask, np.arange(length)[None] == last)
    bos = lm.tokenizer.bos_id
    opens = np.asarray([len(row) > 1 and row[0] == bos for row in rows])
    pooled = mask.copy()
    pooled[opens, 0] = False
    return _Texts(ids, mask, pooled)


def _pool(params: Params, texts: _Texts, *, config: ModelConfig, stop: int) -> jax.Array:
    """[B, D]: the mean of the pooled tokens' states at length 1."""
    hidden = forward(config, params, texts.ids, texts.mask, stop=stop).hidden
    hidden = hidden.astype(jnp.float32)
    unit = hidden / jnp.maximum(jnp.linalg.norm(hidden, axis=-1, keepdims=True), TINY)
    weight = texts.pooled.astype(jnp.float32)
    return jnp.einsum("bt,btd->bd", weight, unit) / weight.sum(axis=1)[:, None]


def cosines(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """[N, M]: cosine of each of [N, D] with each of [M, D]; 0 with a vector that is nothing."""

    def unit(x: np.ndarray) -> np.ndarray:
        return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), TINY)

    return unit(left) @ unit(right).T
