"""The relative space: every word of a model described by its closeness to the anchors.

R[v] = softmax(100 * c / |c|) with c[j] = cos(e_v, e_j) over the input embeddings of the anchors j
(DeePEn, Huang et al. 2024, as its code has it; OnceEdit, equations (15) and (16), which leave out
the temperature 100 and the division by the row's length). Rows are probability vectors, so that a
distribution over words, p [V], becomes one over anchors, p R [A], in which models with different
vocabularies can be added up.

One pass over blocks of rows makes R and what decoding needs of it: the word at the top of each
column (OnceEdit's search, started from zeros for one anchor, ends at that word), the anchor at
the top of each row, and the columns' peaks. Without `keep` the pass makes the same of an R that
never exists as a whole (see `implicit`).
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxedit.ensemble.anchors import Anchors
from jaxedit.ensemble.implicit import BLOCK, Basis, Relative, relative_rows
from jaxedit.ensemble.spelling import Spelling
from jaxedit.errors import UserError
from jaxedit.sharding import DATA, Mesh, replicate

TEMPERATURE = 100.0
FORMS = ("float32", "bfloat16")


class Side(NamedTuple):
    """One model in the relative space.

    Attributes:
      relative: R, [V, A], a matrix or a `Basis`.
      peaks: the largest entry of each column as R is held, [A] float32.
      tops: which word has it, before R is rounded; the lowest id if several do, [A] int32.
      nearest: which anchor has the largest entry of each row, as `tops`, [V] int32.
    """

    relative: Relative
    peaks: jax.Array
    tops: jax.Array
    nearest: jax.Array


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("main", "plug", "table", "plug_table", "peaks", "spelt"),
    meta_fields=("anchors",),
)
@dataclass(frozen=True)
class Space:
    """A target model and a plug-in in one relative space.

    Attributes:
      anchors: what they have in common.
      main: R_l, [V_l, A].
      plug: R_s, [V_s, A].
      table: T[j] = argmax_v R_l[v, j], the target's word for anchor j, [A] int32.
      plug_table: S[v] = argmax_j R_s[v, j], the anchor of the plug-in's word v, [V_s] int32.
      peaks: M[j], no entry of column j of either R is larger, [A] float32.
      spelt: the plug-in's words that the target says in several tokens; None leaves them to R.
    """

    anchors: Anchors
    main: Relative
    plug: Relative
    table: jax.Array
    plug_table: jax.Array
    peaks: jax.Array
    spelt: Spelling | None = None


def relative(
    embeddings: Any,
    anchors: Any,
    *,
    temperature: float = TEMPERATURE,
    dtype: Any = jnp.float32,
    block: int = BLOCK,
) -> jax.Array:
    """R, [V, A], in `dtype`; cosines, lengths and the softmax are float32.

    Args:
      embeddings: input embeddings, [V, d].
      anchors: ids of anchors, [A] int.
      temperature: a factor before the softmax.
      dtype: float32 or bfloat16.
      block: rows at a time; so many rows of A float32 are held a few times.
    """
    made = side(embeddings, anchors, temperature=temperature, dtype=dtype, block=block)
    assert not isinstance(made.relative, Basis)
    return made.relative


def side(
    embeddings: Any,
    anchors: Any,
    *,
    temperature: float = TEMPERATURE,
    dtype: Any = jnp.float32,
    block: int = BLOCK,
    keep: bool = True,
    mesh: Mesh | None = None,
    name: str = "the model",
) -> Side:
    """One model's R and its tables.

    Args:
      embeddings: as for `relative`.
      anchors: as for `relative`.
      temperature: as for `relative`.
      dtype: as for `relative`.
      block: as for `relative`.
      keep: whether R is held; else a `Basis` stands for it.
      mesh: devices; the rows are shared out among them, and each gets the whole result. One by
        default.
      name: what to call the model in an error.

    Raises:
      UserError: an anchor has no embedding, the embeddings are not finite, or the dtype is none.
    """
    form = jnp.dtype(dtype)
    if form.name not in FORMS:
        raise UserError(f"R in {form.name} is not offered; choose {' or '.join(FORMS)}")
    ids = np.asarray(anchors, np.int32)
    if ids.size and not 0 <= ids.min() <= ids.max() < embeddings.shape[0]:
        raise UserError(
            f"{name} has {embeddings.shape[0]} embeddings, and its tokenizer an anchor with the id "
            f"{ids.max()}; use the tokenizer that the model was trained with"
        )
    build = _compiled(None if mesh is None or mesh.data == 1 else mesh, block, form, keep)
    if mesh is None or mesh.data == 1:
        made = build(embeddings, embeddings[ids], 0, temperature)
    else:
        made = _shared_out(mesh, build, embeddings, ids, temperature)
    if not np.isfinite(np.asarray(made.peaks)).all():
        raise UserError(f"{name} has embeddings that are not finite; its weights are damaged")
    if not keep:
        kept = made.scale, made.top, made.total, made.nearest
        basis = Basis(jnp.asarray(embeddings), jnp.asarray(ids), *kept)
        return Side(basis, made.peaks, made.tops, made.nearest)
    return Side(made.matrix, made.peaks, made.tops, made.nearest)


def make_space(
    main_embeddings: Any,
    plug_embeddings: Any,
    anchors: Anchors,
    *,
    temperature: float = TEMPERATURE,
    dtype: Any = jnp.float32,
    block: int = BLOCK,
    keep: bool = True,
    mesh: Mesh | None = None,
) -> Space:
    """Both models' R and the tables.

    Args:
      main_embeddings: the target's input embeddings, [V_l, d_l].
      plug_embeddings: the plug-in's, [V_s, d_s].
      anchors: what they have in common.
      temperature: as for `relative`.
      dtype: as for `relative`.
      block: as for `relative`.
      keep: as for `side`.
      mesh: as for `side`.

    Raises:
      UserError: see `side`.
    """
    of = functools.partial(
        side, temperature=temperature, dtype=dtype, block=block, keep=keep, mesh=mesh
    )
    return join(
        anchors,
        of(main_embeddings, anchors.main, name="the target"),
        of(plug_embeddings, anchors.plug, name="the plug-in"),
    )


def join(anchors: Anchors, main: Side, plug: Side) -> Space:
    """A space of two sides that were made apart."""
    peaks = jnp.maximum(main.peaks, plug.peaks)
    return Space(anchors, main.relative, plug.relative, main.tops, plug.nearest, peaks)


class _Built(NamedTuple):
    """What one pass makes; `best` are the columns' largest entries before rounding."""

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
) -> _Built:
    """The pass, [V, d] x [A, d], for rows that are numbered from `first` on."""
    count, width = embeddings.shape[0], anchors.shape[0]
    block = min(block, count)

    def step(i: jax.Array, made: _Built) -> _Built:
        # The last block begins earlier rather than being shorter; doing rows again changes nothing.
        start = jnp.minimum(i * block, count - block)
        part = relative_rows(
            lax.dynamic_slice_in_dim(embeddings, start, block), anchors, temperature
        )
        stored = part.values.astype(dtype)
        best = part.values.max(axis=0)
        higher = best > made.best
        here = (first + start + part.values.argmax(axis=0)).astype(jnp.int32)

        def put(whole: jax.Array, rows: jax.Array) -> jax.Array:
            return lax.dynamic_update_slice_in_dim(whole, rows, start, axis=0)

        return _Built(
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
    empty = _Built(
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
def _compiled(mesh: Mesh | None, block: int, dtype: Any, keep: bool) -> Callable[..., _Built]:
    """The pass on one device, or on each of a mesh's."""
    build = functools.partial(_build, block=block, dtype=dtype, keep=keep)
    if mesh is None:
        return jax.jit(build)
    axes = (0, None, 0, None)
    return jax.pmap(build, axis_name=DATA, in_axes=axes, devices=mesh.devices)


def _shared_out(
    mesh: Mesh, build: Callable, embeddings: Any, ids: np.ndarray, temperature: float
) -> _Built:
    """The pass with the rows shared out, [V, d] -> [devices, V', d], and put together again."""
    host = np.asarray(embeddings)
    count = len(host)
    each = -(-count // mesh.data)
    fill = np.repeat(host[-1:], each * mesh.data - count, axis=0)
    parts = np.concatenate([host, fill]).reshape(mesh.data, each, -1)
    first = np.arange(mesh.data, dtype=np.int32) * each
    made = jax.tree.map(np.asarray, build(parts, host[ids], first, temperature))
    owner = made.best.argmax(axis=0)  # the first of several: the lowest id
    whole = _Built(
        *(x.reshape(-1, *x.shape[2:])[:count] for x in made[:5]),
        peaks=made.peaks.max(axis=0),
        best=made.best.max(axis=0),
        tops=np.take_along_axis(made.tops, owner[None], axis=0)[0],
    )
    return replicate(whole, mesh)
