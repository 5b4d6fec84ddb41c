"""Statistics: the uncentred second moment of the keys, C = (1/N) sum k k^T, for each layer.

N counts the tokens of ordinary text, k is the input of a down-projection. One pass serves all
layers, stops at the last, and sums in float64: float32 sums of a real model's activations are
not even positive definite. C times lambda stands for the keys that an edit is to preserve
(MEMIT, equation 15).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from jaxedit.errors import UserError
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import forward
from jaxedit.models.sites import Tap
from jaxedit.models.text import bucket, pad_batch
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import data_parallel_sum

ROWS = 32  # texts a device and call
TOKENS_PER_WIDTH = 10  # default number of tokens, in units of d_ff


class Moments(NamedTuple):
    """Second moments of the keys.

    Attributes:
      matrices: C of each layer, [v, v] float64.
      tokens: N, the number of tokens they were taken over.
    """

    matrices: dict[int, np.ndarray]
    tokens: int


def second_moments(
    lm: Transformer,
    layers: Sequence[int],
    texts: Iterable[str],
    *,
    tokens: int | None = None,
    length: int | None = None,
) -> Moments:
    """Second moments at the down-projections of `layers` over `texts`, in one pass.

    Args:
      lm: the unedited model.
      layers: which blocks.
      texts: ordinary text, one document an item; BOS is counted where the tokenizer adds it.
      tokens: stop at the end of the batch that reaches this many; 10 x d_ff by default.
      length: tokens kept of a document; the model's maximum by default.

    Raises:
      UserError: the texts hold no token.
    """
    wanted = TOKENS_PER_WIDTH * lm.config.d_ff if tokens is None else tokens
    length = min(length or lm.config.max_positions, lm.config.max_positions)
    layers = tuple(sorted(layers))
    call = data_parallel_sum(_sums, lm.mesh, config=lm.config, layers=layers)
    total, seen = None, 0
    with jax.enable_x64(True):
        for ids, mask in _batches(lm, texts, length, ROWS * lm.mesh.data):
            sums = call(lm.params, {"ids": ids, "mask": mask})
            total = sums if total is None else jax.tree.map(jnp.add, total, sums)
            seen += int(mask.sum())
            if seen >= wanted:
                break
    if total is None or not seen:
        raise UserError("the corpus for the statistics holds no text; name another one")
    if seen < wanted:
        logging.warning("the corpus ended after %d of %d tokens", seen, wanted)
    return Moments({j: np.asarray(total[j]) / seen for j in layers}, seen)


def _batches(
    lm: Transformer, texts: Iterable[str], length: int, rows: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Padded batches of `rows` texts of like length, in the order in which they fill."""
    waiting: dict[int, list[list[int]]] = {}
    for text in texts:
        ids = lm.tokenizer.encode(text)[:length]
        if not ids:
            continue
        shelf = waiting.setdefault(min(bucket(len(ids)), length), [])
        shelf.append(ids)
        if len(shelf) == rows:
            yield _padded(lm, shelf, rows)
            shelf.clear()
    for shelf in waiting.values():
        if shelf:
            yield _padded(lm, shelf, rows)


def _padded(lm: Transformer, shelf: list[list[int]], rows: int) -> tuple[np.ndarray, np.ndarray]:
    size = bucket(max(map(len, shelf)))
    filled = [*shelf, *([[]] * (rows - len(shelf)))]
    return pad_batch(filled, side="right", length=size, pad_id=lm.tokenizer.pad_id)


def _sums(
    params: Any, batch: Any, *, config: ModelConfig, layers: tuple[int, ...]
) -> dict[int, jax.Array]:
    taps = tuple(Tap(layer, "mlp.down.in", reduce=_outer) for layer in layers)
    out = forward(config, params, batch["ids"], batch["mask"], stop=layers[-1] + 1, taps=taps)
    return dict(zip(layers, out.taps, strict=True))


def _outer(keys: jax.Array, mask: jax.Array) -> jax.Array:
    """Sum of k k^T over the real tokens; keys [B, T, v] -> [v, v] float64."""
    real = jnp.where(mask[..., None], keys, 0).astype(jnp.float64)
    return jnp.einsum("btv,btw->vw", real, real)
