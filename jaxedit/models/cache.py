"""Keys and values of tokens that went through the model before, as a plain value."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxedit.models.config import ModelConfig
from jaxedit.models.layers import KV


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cache:
    """Slots of past tokens: ``k`` and ``v`` one [B, S, Hkv, Dh] a layer (None: layer not kept).

    ``positions`` [B, S] int32 says which position a slot holds, -1 that it is empty. Slots may
    be in any order: attention goes by position. Keys are stored after rotary. ``memory`` is what
    adapters keep of the past, by layer and linear (``Output.aux``).
    """

    k: tuple[jax.Array | None, ...]
    v: tuple[jax.Array | None, ...]
    positions: jax.Array
    memory: Mapping[tuple[int, str], Any] = dataclasses.field(default_factory=dict)

    @classmethod
    def empty(cls, config: ModelConfig, rows: int, slots: int, dtype) -> "Cache":
        """All slots free."""
        shape = (rows, slots, config.n_kv_heads, config.head_dim)
        each = tuple(jnp.zeros(shape, dtype) for _ in range(config.n_layers))
        return cls(each, each, jnp.full((rows, slots), -1, jnp.int32))

    @classmethod
    def of(cls, kv: Mapping[int, KV], positions: jax.Array, n_layers: int) -> "Cache":
        """The slots that a call's ``Output.kv`` makes, as they are; positions [B, T]."""
        pairs = [kv.get(layer, (None, None)) for layer in range(n_layers)]
        return cls(tuple(k for k, _ in pairs), tuple(v for _, v in pairs), positions)

    def before(self, starts: jax.Array) -> "Cache":
        """Forget every position from ``starts`` [B] on (a suffix that will be run anew)."""
        kept = jnp.where(self.positions < starts[:, None], self.positions, -1)
        return dataclasses.replace(self, positions=kept.astype(jnp.int32))

    def layer(self, index: int) -> KV:
        """Keys and values of one layer; ValueError if they are not kept."""
        k, v = self.k[index], self.v[index]
        if k is None or v is None:
            raise ValueError(f"the cache holds nothing for layer {index}")
        return k, v

    def write(self, kv: Mapping[int, KV], positions: jax.Array, at: jax.Array | int) -> "Cache":
        """Put a call's tokens (positions [B, T]) into the slots from ``at`` on.

        ``at`` is one slot for all rows or [B], one a row. Layers absent from ``kv`` stay.
        """

        def put(old: jax.Array | None, new: jax.Array | None) -> jax.Array | None:
            if old is None or new is None:
                return old
            new = new.astype(old.dtype)
            if jnp.ndim(at) == 0:
                return jax.lax.dynamic_update_slice_in_dim(old, new, at, axis=1)
            row = jax.vmap(lambda o, n, a: jax.lax.dynamic_update_slice_in_dim(o, n, a, axis=0))
            return row(old, new, at)

        layers = range(len(self.k))
        none = (None, None)
        k = tuple(put(self.k[i], kv.get(i, none)[0]) for i in layers)
        v = tuple(put(self.v[i], kv.get(i, none)[1]) for i in layers)
        placed = put(self.positions, positions)
        assert placed is not None
        return dataclasses.replace(self, k=k, v=v, positions=placed)

    def remember(self, memory: Mapping[tuple[int, str], Any]) -> "Cache":
        """With what the adapters gave besides their outputs in the last call."""
        return dataclasses.replace(self, memory=memory)
