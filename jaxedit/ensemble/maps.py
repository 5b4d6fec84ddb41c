"""One model's way to the anchors: R, and end-of-text paired with end-of-text if wished."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxedit.ensemble import implicit
from jaxedit.ensemble.implicit import Relative


class Map(NamedTuple):
    """From distributions over a vocabulary to distributions over anchors: p -> p R.

    End-of-text is often no anchor, as the models spell it differently. `ends` pairs it explicitly:
    one more column, the last, takes all that end-of-text tokens have, and nothing of others.

    Attributes:
      relative: R, [V, A]; rows sum to 1.
      ends: which tokens end a text, [V] bool; None if R speaks for them as for others.
    """

    relative: Relative
    ends: jax.Array | None = None

    @property
    def anchors(self) -> int:
        """How many columns: A, or A + 1 with the pair."""
        return self.relative.shape[1] + (self.ends is not None)

    def project(self, p: jax.Array) -> jax.Array:
        """p R: [B, V] -> [B, anchors]."""
        if self.ends is None:
            return implicit.project(self.relative, p)
        inner = implicit.project(self.relative, self.inner(p))
        return jnp.concatenate([inner, self.ended(p)], axis=-1)

    def pull_back(self, weights: jax.Array) -> jax.Array:
        """w R^T: [B, anchors] -> [B, V]."""
        if self.ends is None:
            return implicit.pull_back(self.relative, weights)
        inner = implicit.pull_back(self.relative, weights[:, :-1])
        return jnp.where(self.ends, weights[:, -1:], inner)

    def columns(self, index: jax.Array) -> jax.Array:
        """R[:, a] for each a: [B] -> [B, V] float32."""
        if self.ends is None:
            return implicit.columns(self.relative, index).T
        pair = self.relative.shape[1]
        inner = implicit.columns(self.relative, jnp.minimum(index, pair - 1)).T
        inner = jnp.where(self.ends, 0.0, inner)
        return jnp.where((index == pair)[:, None], self.ends.astype(jnp.float32), inner)

    def inner(self, p: jax.Array) -> jax.Array:
        """p without what ends a text, [B, V]."""
        return p if self.ends is None else jnp.where(self.ends, 0.0, p)

    def ended(self, p: jax.Array) -> jax.Array:
        """What ends a text: the paired column, [B, 1]."""
        assert self.ends is not None
        return jnp.where(self.ends, p, 0.0).sum(-1, keepdims=True)
