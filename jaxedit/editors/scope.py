"""SERAC's scope classifier: which edit a question is about, if it is about any.

Mitchell et al. 2022, section 3.1, the embedding form: with e a learned embedding of texts,

    d_i = ||e(c_i) - e(x)||^2,   log s_i = -d_i,   s = max_i s_i,   i* = argmax_i s_i

for a question x and the cached edits c_i. Here e is one matrix behind the hidden states of a model
that is there anyway, so that nothing is downloaded and training it takes seconds: the state at a
question's last token far up says what is asked for, the mean of all states far down of whom.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.models.features import features
from jaxedit.models.routed import Route
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import Mesh, data_parallel

SMALLEST = 16  # rows of a memory
NEAREST = 1e-6  # squared distance below which two texts are taken to be that far apart
CHUNK = 256  # questions that are compared with all edits at a time


@dataclasses.dataclass(frozen=True)
class Reading:
    """Where a text is read: blocks whose output is taken at the last token, or over all tokens."""

    last: tuple[int, ...]
    mean: tuple[int, ...]

    def of(self, lm: Transformer, texts: Sequence[str]) -> np.ndarray:
        """[N, F] float32, one vector behind another; each text runs once a block."""
        read = [features(lm, texts, layer, "last") for layer in self.last]
        read += [features(lm, texts, layer, "mean") for layer in self.mean]
        return np.concatenate(read, axis=1)


class Metric(NamedTuple):
    """What is trained: e(x) = (x / scale) @ matrix.

    Attributes:
      scale: [F], the deviation of each feature over the training texts; not trained.
      matrix: [F, K].
    """

    scale: Any
    matrix: Any


class Memory(NamedTuple):
    """Embeddings of the cached edits, and room for more.

    Attributes:
      keys: [C, K] float32; C is a power of two.
      count: how many of the rows are taken, the first ones.
    """

    keys: np.ndarray
    count: int


def first_metric(found: np.ndarray, width: int, seed: int, apart: float = 4.0) -> Metric:
    """A random one under which two texts of [N, F] features are about `apart` from each other."""
    size = found.shape[1]
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(size, width)) * np.sqrt(apart / (2 * size * width))
    scale = found.astype(np.float64).std(axis=0) + 1e-6
    return Metric(scale.astype(np.float32), matrix.astype(np.float32))


def embed(metric: Metric, found: Any) -> jax.Array:
    """e of [..., F] features, [..., K]; the scale passes no gradient on."""
    return (found / jax.lax.stop_gradient(metric.scale)) @ metric.matrix


def distances(texts: jax.Array, keys: jax.Array) -> jax.Array:
    """[N, C] squared distances of embeddings [N, K] and [C, K]; of equal ones exactly 0."""
    return jnp.square(texts[:, None] - keys[None]).sum(-1)


def memory_of(keys: np.ndarray) -> Memory:
    """Of [n, K] embeddings; the capacity is the smallest power of two that holds them."""
    capacity = max(SMALLEST, 1 << max(0, len(keys) - 1).bit_length())
    whole = np.zeros((capacity, keys.shape[1]), np.float32)
    whole[: len(keys)] = keys
    return Memory(whole, len(keys))


def embedded(metric: Metric, found: np.ndarray, mesh: Mesh) -> np.ndarray:
    """[N, K] embeddings of [N, F] features, on the host."""
    return np.asarray(data_parallel(embed, mesh, chunk=CHUNK)(metric, found))


def nearest(memory: Memory, texts: np.ndarray, mesh: Mesh) -> tuple[np.ndarray, np.ndarray]:
    """Of each embedding [N, K] the smallest d_i and its i; d is infinite if there is no edit."""
    if not len(texts) or not memory.count:
        return np.full(len(texts), np.inf, np.float32), np.zeros(len(texts), np.int32)
    look = data_parallel(_nearest, mesh, chunk=CHUNK)
    apart, which = look((memory.keys, np.int32(memory.count)), texts)
    return np.asarray(apart), np.asarray(which)


def _nearest(memory: tuple[jax.Array, jax.Array], texts: jax.Array) -> tuple[jax.Array, jax.Array]:
    keys, count = memory
    apart = distances(texts, keys)
    apart = jnp.where(jnp.arange(len(keys)) < count, apart, jnp.inf)
    return apart.min(axis=1), apart.argmin(axis=1).astype(jnp.int32)


@dataclasses.dataclass(frozen=True, eq=False)
class Scope:
    """From texts to where they go; what `Routed` calls.

    Attributes:
      lm: whose states are read.
      reading: where.
      metric: trained.
      memory: the cached edits' embeddings.
      edits: their texts, as the counterfactual model reads them.
    """

    lm: Transformer
    reading: Reading
    metric: Metric
    memory: Memory
    edits: tuple[str, ...]

    def __call__(self, texts: Sequence[str]) -> Route:
        """The scope of each text, and the edit that it is nearest to."""
        if not self.edits or not texts:
            return Route(np.zeros(len(texts), np.float32), ("",) * len(texts))
        made = embedded(self.metric, self.reading.of(self.lm, texts), self.lm.mesh)
        apart, which = nearest(self.memory, made, self.lm.mesh)
        return Route(np.exp(-apart), tuple(self.edits[i] for i in which))
