"""A relative space of random rows, without embeddings, and what two models might say in it."""

import jax.numpy as jnp
import numpy as np

from jaxedit.ensemble.anchors import Anchors
from jaxedit.ensemble.relative import Space

TARGET, PLUG, COMMON = 1060, 1030, 60


def random_rows(rng: np.random.Generator, words: int, common: int, sharp: float) -> np.ndarray:
    """R [V, A]: random distributions, the first words nearly all on their own anchor if sharp."""
    scores = rng.normal(size=(words, common))
    own = np.arange(min(words, common))
    scores[own, own] += sharp
    rows = np.exp(scores)
    return (rows / rows.sum(1, keepdims=True)).astype(np.float32)


def space_from(main: np.ndarray, plug: np.ndarray, dtype=jnp.float32) -> Space:
    """A space of given R, stored as asked; the tables are those of the unrounded ones."""
    ids = np.arange(main.shape[1], dtype=np.int32)
    anchors = Anchors(ids, ids, tuple(map(str, ids)), "deepen")
    stored = jnp.asarray(main, dtype), jnp.asarray(plug, dtype)
    peaks = jnp.maximum(*(x.max(0).astype(jnp.float32) for x in stored))
    table, near = main.argmax(0).astype(np.int32), plug.argmax(1).astype(np.int32)
    return Space(anchors, *stored, jnp.asarray(table), jnp.asarray(near), peaks)


def random_space(seed: int, sharp: float = 8.0, dtype=jnp.float32) -> Space:
    """Always of the same shapes, so that programs compile once."""
    rng = np.random.default_rng(seed)
    return space_from(
        random_rows(rng, TARGET, COMMON, sharp), random_rows(rng, PLUG, COMMON, sharp), dtype
    )


def logits(rng: np.random.Generator, texts: int, words: int, scale: float = 4.0) -> np.ndarray:
    """Random logits, the surer the larger the scale."""
    return (scale * rng.normal(size=(texts, words))).astype(np.float32)
