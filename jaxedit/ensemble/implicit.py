"""Rows, columns and products of R, held as a matrix or computed from the embeddings when asked.

R [V, A] says how close each of V words is to each of A anchors. At published sizes it is 2 to 8
gigabytes. A `Basis` is what it can be computed from: a block of rows at a time, with every sum
over all anchors taken in full, so that the numbers are those of the matrix. The columns use the
rows' norms and sums, which are kept.

What multiplies with R takes either (`Relative`), in float32 at the highest precision.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.typing import ArrayLike

COSINE_EPS = 1e-8  # as torch.cosine_similarity has it
ROW_EPS = 1e-12  # as torch.nn.functional.normalize has it
BLOCK = 512  # rows of R at a time: 64 MiB with 32,000 anchors
HIGHEST = lax.Precision.HIGHEST


class Basis(NamedTuple):
    """R without R: R[v, j] = exp(scale[v] * cos(v, j) - top[v]) / total[v].

    Attributes:
      embeddings: input embeddings, [V, d], as the model holds them.
      anchors: rows of them, [A] int32.
      scale: temperature, over the length of the row of cosines where rows are of unit length,
        [V] float32.
      top: largest exponent of each row, [V] float32.
      total: sum of exponentials of each row below its largest, [V] float32.
      nearest: which anchor the largest is of, [V] int32.
    """

    embeddings: jax.Array
    anchors: jax.Array
    scale: jax.Array
    top: jax.Array
    total: jax.Array
    nearest: jax.Array

    @property
    def shape(self) -> tuple[int, int]:
        """(V, A), as the matrix has it."""
        return self.embeddings.shape[0], self.anchors.shape[0]


Relative = jax.Array | Basis  # [V, A]


class Rows(NamedTuple):
    """Some rows of R, [B, A], and what a `Basis` keeps of each, [B]."""

    values: jax.Array
    scale: jax.Array
    top: jax.Array
    total: jax.Array
    nearest: jax.Array


def cosines(words: jax.Array, anchors: jax.Array) -> jax.Array:
    """cos(word, anchor), [B, d] x [A, d] -> [B, A] float32.

    Products of bfloat16 embeddings are exact in float32, and are taken before the division by
    the lengths: nothing is rounded that a float32 product would not round.
    """
    dot = jnp.dot(words, anchors.T, precision=HIGHEST, preferred_element_type=jnp.float32)
    return dot / _length(words, COSINE_EPS) / _length(anchors, COSINE_EPS).T


def relative_rows(
    words: jax.Array,
    anchors: jax.Array,
    temperature: jax.Array | float,
    *,
    unit: bool = True,
) -> Rows:
    """Rows of R: softmax(temperature * c / |c|) with c the cosines to all anchors.

    Args:
      words: their embeddings, [B, d].
      anchors: the anchors' embeddings, [A, d].
      temperature: a factor.
      unit: whether c is divided by its length.
    """
    cosine = cosines(words, anchors)
    scale = temperature / (
        _length(cosine, ROW_EPS) if unit else jnp.ones((len(words), 1), jnp.float32)
    )
    exponents = cosine * scale
    top = exponents.max(axis=1, keepdims=True)
    values = jnp.exp(exponents - top)
    total = values.sum(axis=1, keepdims=True)
    nearest = values.argmax(axis=1).astype(jnp.int32)
    return Rows(values / total, scale[:, 0], top[:, 0], total[:, 0], nearest)


@jax.jit
def rows(relative: Relative, ids: jax.Array) -> jax.Array:
    """R[ids], [..., A] float32.

    Args:
      relative: R.
      ids: of words, [...] int.
    """
    if not isinstance(relative, Basis):
        return relative[ids].astype(jnp.float32)
    flat = ids.reshape(-1)
    made = _rows_again(relative, flat, relative.embeddings[relative.anchors])
    return made.reshape(*ids.shape, -1)


@jax.jit
def columns(relative: Relative, ids: jax.Array) -> jax.Array:
    """R[:, ids], [V, ...] float32; V x d operations each without the matrix.

    Args:
      relative: R.
      ids: of anchors, as R numbers them, [...] int.
    """
    if not isinstance(relative, Basis):
        return relative[:, ids].astype(jnp.float32)
    words = relative.embeddings
    flat = ids.reshape(-1)
    near = cosines(words, words[relative.anchors[flat]])
    exponents = near * relative.scale[:, None] - relative.top[:, None]
    # An exponent of 30 is known to 4e-6 only; the largest one's difference to itself is known.
    exponents = jnp.where(flat == relative.nearest[:, None], 0.0, exponents)
    values = jnp.exp(exponents) / relative.total[:, None]
    return values.reshape(-1, *ids.shape)


@jax.jit
def project(relative: Relative, p: ArrayLike) -> jax.Array:
    """p R: what a distribution over words says about anchors, [B, V] -> [B, A] float32."""
    if not isinstance(relative, Basis):
        return _product(p, relative)
    count, width = relative.shape
    anchors = relative.embeddings[relative.anchors]
    p = jnp.asarray(p, jnp.float32)

    def add(i: jax.Array, total: jax.Array) -> jax.Array:
        ids = _block_ids(i, count)
        fresh = ids >= i * _block(count)  # the last block begins among rows already counted
        weights = jnp.where(fresh, p[:, ids], 0.0)
        return total + jnp.dot(weights, _rows_again(relative, ids, anchors), precision=HIGHEST)

    start = jnp.zeros((p.shape[0], width), jnp.float32)
    return lax.fori_loop(0, -(-count // _block(count)), add, start)


@jax.jit
def pull_back(relative: Relative, weights: ArrayLike) -> jax.Array:
    """w R^T: the transposed product, [B, A] -> [B, V] float32."""
    if not isinstance(relative, Basis):
        return _product(weights, relative, transposed=True)
    count, _ = relative.shape
    anchors = relative.embeddings[relative.anchors]
    weights = jnp.asarray(weights, jnp.float32)

    def put(i: jax.Array, made: jax.Array) -> jax.Array:
        ids = _block_ids(i, count)
        part = jnp.dot(weights, _rows_again(relative, ids, anchors).T, precision=HIGHEST)
        return lax.dynamic_update_slice_in_dim(made, part, ids[0], axis=1)

    start = jnp.zeros((weights.shape[0], count), jnp.float32)
    return lax.fori_loop(0, -(-count // _block(count)), put, start)


def _rows_again(basis: Basis, ids: jax.Array, anchors: jax.Array) -> jax.Array:
    """Rows of R with their sums taken again: their errors then cancel, as in the matrix."""
    exponents = cosines(basis.embeddings[ids], anchors) * basis.scale[ids][:, None]
    return jax.nn.softmax(exponents, axis=1)


def _product(x: ArrayLike, matrix: jax.Array, *, transposed: bool = False) -> jax.Array:
    """x @ matrix, or its transpose, in float32; a bfloat16 matrix is read once and never widened.

    A float32 factor is the sum of three bfloat16 ones, up to 2^-24, whose products with bfloat16
    entries are exact in float32.
    """
    x = jnp.asarray(x, jnp.float32)
    if matrix.dtype == jnp.float32:
        return _dot(x, matrix, transposed)
    parts = []
    for _ in range(3):
        # Not a cast there and back, which a compiler may drop.
        part = lax.reduce_precision(x, exponent_bits=8, mantissa_bits=7)
        parts.append(part.astype(matrix.dtype))
        x = x - part
    high, middle, low = jnp.split(_dot(jnp.concatenate(parts), matrix, transposed), 3)
    return high + (middle + low)


def _dot(x: jax.Array, matrix: jax.Array, transposed: bool) -> jax.Array:
    dot = functools.partial(jnp.dot, precision=HIGHEST, preferred_element_type=jnp.float32)
    # One row times a transpose is 30 times slower on a CPU than the matrix times a column.
    return dot(matrix, x.T).T if transposed else dot(x, matrix)


def _length(x: jax.Array, least: float) -> jax.Array:
    """|x| of each row, at least `least`, [B, 1] float32."""
    squares = jnp.square(x.astype(jnp.float32)).sum(axis=1, keepdims=True)
    return jnp.maximum(jnp.sqrt(squares), least)


def _block(count: int) -> int:
    return min(BLOCK, count)


def _block_ids(i: jax.Array, count: int) -> jax.Array:
    """Ids of the rows of block i; the last one is as long as the others and begins earlier."""
    block = _block(count)
    return jnp.minimum(i * block, count - block) + jnp.arange(block)
