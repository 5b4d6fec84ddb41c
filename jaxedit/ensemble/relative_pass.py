"""One pass over blocks of rows that makes R and what decoding needs of it; see relative.py."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxedit.ensemble.implicit import relative_rows
from jaxedit.sharding import DATA, Mesh, fetch


class Built(NamedTuple):
    """What the pass makes; `best` are the columns' largest entries before rounding.

    The rows' `scale`, `top`, `total` and `nearest` are what a `Basis` keeps of them.
    """

    matrix: jax.Array
    scale: jax.Array
    top: jax.Array
    total: jax.Array
    nearest: jax.Array
    peaks: jax.Array
    best: jax.Array
    tops: jax.Array


def _build(
    embeddings: jax.Array,
    anchors: jax.Array,
    first: jax.Array | int,
    temperature: jax.Array | float,
    *,
    block: int,
    dtype: Any,
    keep: bool,
    unit: bool,
) -> Built:
    """The pass, [V, d] x [A, d], for rows that are numbered from `first` on."""
    count, width = embeddings.shape[0], anchors.shape[0]
    block = min(block, count)

    def step(i: jax.Array, made: Built) -> Built:
        # The last block begins earlier rather than being shorter; doing rows again changes nothing.
        start = jnp.minimum(i * block, count - block)
        part = relative_rows(
            lax.dynamic_slice_in_dim(embeddings, start, block), anchors, temperature, unit=unit
        )
        stored = part.values.astype(dtype)
        best = part.values.max(axis=0)
        higher = best > made.best
        here = (first + start + part.values.argmax(axis=0)).astype(jnp.int32)

        def put(whole: jax.Array, rows: jax.Array) -> jax.Array:
            return lax.dynamic_update_slice_in_dim(whole, rows, start, axis=0)

        return Built(
            put(made.matrix, stored) if keep else made.matrix,
            put(made.scale, part.scale),
            put(made.top, part.top),
            put(made.total, part.total),
            put(made.nearest, part.nearest),
            jnp.maximum(made.peaks, stored.max(axis=0).astype(jnp.float32) if keep else best),
            jnp.where(higher, best, made.best),
            jnp.where(higher, here, made.tops),
        )

    a_row = jnp.zeros(count, jnp.float32)
    a_column = jnp.zeros(width, jnp.float32)
    empty = Built(
        matrix=jnp.zeros((count if keep else 0, width), dtype),
        scale=a_row,
        top=a_row,
        total=a_row,
        nearest=jnp.zeros(count, jnp.int32),
        peaks=a_column,
        best=a_column - 1,
        tops=jnp.zeros(width, jnp.int32),
    )
    return lax.fori_loop(0, -(-count // block), step, empty)


@functools.cache
def compiled(
    mesh: Mesh | None, block: int, dtype: Any, keep: bool, unit: bool = True
) -> Callable[..., Built]:
    """The pass on one device, or on each of a mesh's."""
    build = functools.partial(_build, block=block, dtype=dtype, keep=keep, unit=unit)
    if mesh is None:
        return jax.jit(build)
    axes = (0, None, 0, None)
    return jax.pmap(build, axis_name=DATA, in_axes=axes, devices=mesh.devices)


def shared_out(
    mesh: Mesh, build: Callable, embeddings: Any, ids: np.ndarray, temperature: float
) -> Built:
    """The pass with the rows shared out, [V, d] -> [devices, V', d], put together on the host."""
    host = fetch(embeddings)
    count = len(host)
    each = -(-count // mesh.data)
    fill = np.repeat(host[-1:], each * mesh.data - count, axis=0)
    parts = np.concatenate([host, fill]).reshape(mesh.data, each, -1)
    first = np.arange(mesh.data, dtype=np.int32) * each
    made = jax.tree.map(np.asarray, build(parts, host[ids], first, temperature))
    owner = made.best.argmax(axis=0)  # the first of several: the lowest id
    return Built(
        *(x.reshape(-1, *x.shape[2:])[:count] for x in made[:5]),
        peaks=made.peaks.max(axis=0),
        best=made.best.max(axis=0),
        tops=np.take_along_axis(made.tops, owner[None], axis=0)[0],
    )
