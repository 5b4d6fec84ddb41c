"""One model's way to the anchors: R, and columns beyond it for tokens that R does not speak for."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxedit.ensemble import implicit
from jaxedit.ensemble.implicit import Relative


class Map(NamedTuple):
    """From distributions over a vocabulary to distributions over anchors: p -> p R.

    End-of-text is often no anchor, as the models spell it differently. `ends` pairs it explicitly:
    one more column, the last, takes all that end-of-text tokens have, and nothing of others. And
    words may have columns of their own, before that one (see spelling.py).

    Attributes:
      relative: R, [V, A]; rows sum to 1.
      ends: which tokens end a text, [V] bool; None if R speaks for them as for others.
      words: tokens with columns of their own, [U] int32; V for a column of the other model's.
        Only `project`, `inner` and `outer` know of them: no search does.
    """

    relative: Relative
    ends: jax.Array | None = None
    words: jax.Array | None = None

    @property
    def anchors(self) -> int:
        """How many columns: A, or A + 1 with the pair."""
        assert self.words is None
        return self.relative.shape[1] + (self.ends is not None)

    def project(self, p: jax.Array) -> jax.Array:
        """p R: [B, V] -> [B, A + U, and one more with the pair]."""
        inner = implicit.project(self.relative, self.inner(p))
        return jnp.concatenate([inner, self.outer(p)], axis=-1)

    def pull_back(self, weights: jax.Array) -> jax.Array:
        """w R^T: [B, anchors] -> [B, V]."""
        assert self.words is None
        if self.ends is None:
            return implicit.pull_back(self.relative, weights)
        inner = implicit.pull_back(self.relative, weights[:, :-1])
        return jnp.where(self.ends, weights[:, -1:], inner)

    def columns(self, index: jax.Array) -> jax.Array:
        """R[:, a] for each a: [B] -> [B, V] float32."""
        assert self.words is None
        if self.ends is None:
            return implicit.columns(self.relative, index).T
        pair = self.relative.shape[1]
        inner = implicit.columns(self.relative, jnp.minimum(index, pair - 1)).T
        inner = jnp.where(self.ends, 0.0, inner)
        return jnp.where((index == pair)[:, None], self.ends.astype(jnp.float32), inner)

    def inner(self, p: jax.Array) -> jax.Array:
        """p of the tokens that R speaks for, [B, V]."""
        if self.words is not None:
            p = p.at[:, self.words].set(0.0, mode="drop")
        return p if self.ends is None else jnp.where(self.ends, 0.0, p)

    def outer(self, p: jax.Array) -> jax.Array:
        """p of the others, in the columns beyond R: [B, U, and one more with the pair]."""
        parts = [p[:, :0]]
        if self.words is not None:
            parts.append(p.at[:, self.words].get(mode="fill", fill_value=0.0))
        if self.ends is not None:
            parts.append(jnp.where(self.ends, p, 0.0).sum(-1, keepdims=True))
        return jnp.concatenate(parts, axis=-1)
