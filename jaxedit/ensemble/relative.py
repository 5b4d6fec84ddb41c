"""The relative space: every word of a model described by its closeness to the anchors.

R[v] = softmax(100 * c / |c|) with c[j] = cos(e_v, e_j) over the input embeddings of the anchors j
(DeePEn, Huang et al. 2024, as its code has it; OnceEdit, equations (15) and (16), which leave out
the temperature 100 and the division by the row's length). Rows are probability vectors, so that a
distribution over words, p [V], becomes one over anchors, p R [A], in which models with different
vocabularies can be added up.

One pass over blocks of rows (relative_pass.py) makes R and what decoding needs of it: the word at
the top of each column (OnceEdit's search, started from zeros for one anchor, ends at that word),
the anchor at the top of each row, and the columns' peaks. Without `keep` the pass makes the same of
an R that never exists as a whole (see `implicit`).
"""

import functools
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.ensemble.anchors import Anchors
from jaxedit.ensemble.implicit import BLOCK, Basis, Relative
from jaxedit.ensemble.relative_pass import compiled, shared_out
from jaxedit.ensemble.spelling import Spelling
from jaxedit.errors import UserError
from jaxedit.sharding import DATA, Mesh, put, replicate

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

    Where R is shared out over devices, columns of zeros may fill it up, and A is more than there
    are anchors. Their P is zero.
    """

    anchors: Anchors
    main: Relative
    plug: Relative
    table: jax.Array
    plug_table: jax.Array
    peaks: jax.Array
    spelt: Spelling | None = None

    @property
    def sharded(self) -> bool:
        """Whether each device has only its columns of R."""
        main = self.main
        return not isinstance(main, Basis) and not main.sharding.is_fully_replicated


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
    sharded: bool = False,
    unit: bool = True,
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
      sharded: each gets only its columns of R, where R is held; see `placed`.
      unit: whether a row of cosines is divided by its length, as in DeePEn's code; without, and
        with a temperature of 1, R is as in OnceEdit's text.
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
    many = mesh if mesh is not None and len(mesh.devices) > 1 else None
    own = None if many is None else many.local
    build = compiled(own, block, form, keep, unit)
    if own is None:
        made = build(embeddings, embeddings[ids], 0, temperature)
    else:  # every host by itself: what travels between them costs more
        made = shared_out(own, build, embeddings, ids, temperature)
    if not np.isfinite(np.asarray(made.peaks)).all():
        raise UserError(f"{name} has embeddings that are not finite; its weights are damaged")
    if keep and many is not None:
        return placed(Side(made.matrix, made.peaks, made.tops, made.nearest), many, sharded=sharded)
    if many is not None:
        made = replicate(made, many)
    if not keep:
        kept = made.scale, made.top, made.total, made.nearest
        words, own = jnp.asarray(embeddings), jnp.asarray(ids)
        words, own = (words, own) if many is None else replicate((words, own), many)
        basis = Basis(words, own, *kept)
        return Side(basis, made.peaks, made.tops, made.nearest)
    return Side(made.matrix, made.peaks, made.tops, made.nearest)


def placed(made: Side, mesh: Mesh, *, sharded: bool = False) -> Side:
    """One model's side on the devices: all of it on each, or each with its columns of R.

    Programs need not be told: what multiplies, gathers rows or looks for the best column does so
    where the columns are. Logits go to every device, and of P only its best column and how large
    it is; of a search one number a word and step.

    Args:
      made: on the host, or on one device.
      mesh: the devices.
      sharded: whether R is shared out, by columns; they are filled up with zeros. Devices of
        several hosts hold all of it in any case: what travels between them costs more.
    """
    if not sharded or mesh.data == 1 or mesh.hosts:
        return replicate(made, mesh)
    surplus = -made.relative.shape[1] % mesh.data
    matrix = np.pad(np.asarray(made.relative), [(0, 0), (0, surplus)])
    peaks, tops = (np.pad(np.asarray(x), (0, surplus)) for x in (made.peaks, made.tops))
    return Side(put(matrix, mesh, None, DATA), *replicate((peaks, tops, made.nearest), mesh))


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
    sharded: bool = False,
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
      sharded: as for `side`.

    Raises:
      UserError: see `side`.
    """
    settings = {"dtype": dtype, "block": block, "keep": keep, "mesh": mesh, "sharded": sharded}
    of = functools.partial(side, temperature=temperature, **settings)
    return join(
        anchors,
        of(main_embeddings, anchors.main, name="the target"),
        of(plug_embeddings, anchors.plug, name="the plug-in"),
    )


def join(anchors: Anchors, main: Side, plug: Side) -> Space:
    """A space of two sides that were made apart."""
    peaks = jnp.maximum(main.peaks, plug.peaks)
    return Space(anchors, main.relative, plug.relative, main.tops, plug.nearest, peaks)
