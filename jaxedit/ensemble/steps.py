"""What runs on the devices while two models decode together; see decode.py."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxedit.ensemble.certificate import Bounds
from jaxedit.ensemble.fusion import Decision, Ends, Fusion, decide
from jaxedit.ensemble.relative import Space
from jaxedit.models.cache import Cache
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import Params, forward
from jaxedit.models.generate import NOTHING


class How(NamedTuple):
    """What the choice of a token is compiled for."""

    fusion: Fusion
    gate: int
    ends: Ends
    each_step: bool


class Tail(NamedTuple):
    """What the plug-in has to run; none of it in rows that have ended."""

    ids: Any  # [B, K]
    start: Any  # [B] the place of the first
    count: Any  # [B] how many


@functools.partial(jax.jit, static_argnames=("config", "slots"))
def begin(
    params: Params, ids: jax.Array, mask: jax.Array, *, config: ModelConfig, slots: int
) -> tuple[jax.Array, Cache]:
    """ids [B, T] padded on the left -> logits [B, V] behind them, and a cache that holds them."""
    rows, length = ids.shape
    positions = jnp.where(mask, jnp.cumsum(mask, axis=1, dtype=jnp.int32) - 1, -1)
    last = jnp.full((rows, 1), length - 1, jnp.int32)
    out = forward(config, params, ids, mask, logits_at=last)
    empty = Cache.empty(config, rows, slots, out.kv[0][0].dtype)
    assert out.logits is not None
    return out.logits[:, 0], empty.write(out.kv, positions, 0)


@functools.partial(jax.jit, static_argnames="config", donate_argnames="cache")
def go_on(
    params: Params,
    token: jax.Array,
    live: jax.Array,
    at: jax.Array,
    cache: Cache,
    *,
    config: ModelConfig,
) -> tuple[jax.Array, Cache]:
    """One token [B] at positions ``at`` [B], in the first free slot -> logits [B, V], the cache."""
    ids, at = jnp.maximum(token, 0)[:, None], at[:, None]
    out = forward(config, params, ids, live[:, None], positions=at, cache=cache)
    written = jnp.any(cache.positions >= 0, axis=0)  # [S]: by rows that are as long as any
    slot = cache.positions.shape[1] - jnp.argmax(written[::-1])
    assert out.logits is not None
    return out.logits[:, 0], cache.write(out.kv, jnp.where(live[:, None], at, -1), slot)


@functools.partial(jax.jit, static_argnames="config", donate_argnames="past")
def hear(
    params: Params, tail: Tail, past: Cache, *, config: ModelConfig
) -> tuple[jax.Array, Cache]:
    """The plug-in's new ids -> its logits [B, V] behind them, and its cache with them."""
    column = jnp.arange(tail.ids.shape[1], dtype=jnp.int32)[None]
    real = column < tail.count[:, None]
    positions = jnp.where(real, tail.start[:, None] + column, -1)
    last = jnp.maximum(tail.count - 1, 0)[:, None]
    past = past.before(tail.start)
    out = forward(config, params, tail.ids, real, positions=positions, logits_at=last, cache=past)
    assert out.logits is not None
    return out.logits[:, 0], past.write(out.kv, positions, tail.start)


@functools.partial(jax.jit, static_argnames="how")
def choose_next(
    space: tuple[Space, Bounds | None],
    logits: tuple[jax.Array, jax.Array],
    alpha: jax.Array,
    begun: jax.Array,
    limit: Any,
    *,
    how: How,
) -> Decision:
    """Both models' logits [B, V] -> the target's next tokens [B], with their reasons.

    A word that a row has begun is gone on with: its next token is in ``begun`` [B], elsewhere
    NOTHING. The token is NOTHING where the row ends without one: as the plug-in would end it, with
    an alpha of ``limit`` or more, and the target has no token for that.
    """
    own, heard = logits
    if how.each_step:
        alpha = jax.nn.sigmoid(heard[:, how.gate])
    made = decide(
        how.fusion, space[0], own, heard, alpha, gate_id=how.gate, ends=how.ends, bounds=space[1]
    )
    best = jnp.argmax(heard.at[:, how.gate].set(-jnp.inf), axis=-1)
    ended = jnp.isin(best, jnp.asarray(how.ends.plug, jnp.int32)) & (alpha >= limit)
    end = how.ends.target[0] if how.ends.target else NOTHING
    free = jnp.where(ended, end, made.tokens).astype(jnp.int32)
    tokens = jnp.where(begun == NOTHING, free, begun)
    return made._replace(tokens=tokens, fused=made.fused & ~ended)


@functools.partial(jax.jit, static_argnames="more")
def longer(past: Cache, *, more: int) -> Cache:
    """The same with free slots at its end."""

    def pad(x: jax.Array, value: int) -> jax.Array:
        return jnp.pad(x, [(0, 0), (0, more)] + [(0, 0)] * (x.ndim - 2), constant_values=value)

    k, v = jax.tree.map(lambda x: pad(x, 0), (past.k, past.v))
    return Cache(k, v, pad(past.positions, -1))
