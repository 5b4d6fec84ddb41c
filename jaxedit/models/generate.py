"""Continuations, token by token, with the keys and values of the past kept."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.models.batches import batches, check_lengths
from jaxedit.models.cache import Cache
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import Params, forward
from jaxedit.models.protocol import Advance
from jaxedit.models.text import bucket, pad_batch
from jaxedit.sharding import Mesh, data_parallel

NOTHING = -1  # in place of a token, once a row has ended
SHORTEST = 32  # padded length of the shortest prompts


class Sampling(NamedTuple):
    """Draw each token among the ``top_k`` most probable (None: all) instead of the best."""

    key: jax.Array
    top_k: int | None = None
    temperature: float = 1.0


class _Setting(NamedTuple):
    """What all rows of a call share."""

    params: Params
    ends: np.ndarray  # [V] bool, tokens after which a row ends
    limit: np.int32  # most new tokens
    temperature: np.float32


class _State(NamedTuple):
    step: jax.Array  # [] int32: tokens chosen so far
    token: jax.Array  # [B] the last one
    tokens: jax.Array  # [B, slots] all of them
    done: jax.Array  # [B] bool
    cache: Cache


def generate_ids(
    config: ModelConfig,
    params: Params,
    mesh: Mesh,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    *,
    ends: Sequence[int] | np.ndarray = (),
    sampling: Sampling | None = None,
    advance: Advance | None = None,
) -> list[list[int]]:
    """New ids for each prompt, greedy or sampled.

    A row ends after a token of ``ends`` (which is kept), after ``max_new_tokens``, or when the
    model's positions are used up. A sampled row depends on the key and on its place among
    ``prompts``, not on how they are batched. ``advance`` is called after each batch with its
    number of rows.

    Raises UserError if a prompt is longer than the model's positions.
    """
    check_lengths(prompts, config.max_positions)
    if max_new_tokens < 1:
        return [[] for _ in prompts]
    stops = np.zeros(config.vocab_size, bool)
    stops[np.asarray(ends, np.int64)] = True
    temperature = 1.0 if sampling is None else sampling.temperature
    setting = _Setting(params, stops, np.int32(max_new_tokens), np.float32(temperature))
    static = {
        "config": config,
        "slots": bucket(max_new_tokens),
        "sampled": sampling is not None,
        "top_k": None if sampling is None else sampling.top_k,
    }
    keys = None
    if sampling is not None:
        keys = np.asarray(jax.random.key_data(jax.random.split(sampling.key, len(prompts))))
    made: dict[int, list[int]] = {}
    for group, length, each in batches([len(row) for row in prompts], mesh.data, shortest=SHORTEST):
        rows = [prompts[i] for i in group]
        # Padding on the left: all rows then write each new token to the same slot.
        ids, mask = pad_batch(rows, side="left", length=length, pad_id=0)
        batch = {"ids": ids, "mask": mask} | ({} if keys is None else {"key": keys[group]})
        tokens = np.asarray(data_parallel(_decode, mesh, chunk=each, **static)(setting, batch))
        for index, row in zip(group, tokens, strict=True):
            made[index] = row[row != NOTHING].tolist()
        if advance is not None:
            advance(len(group))
    return [made[i] for i in range(len(prompts))]


def _decode(
    setting: _Setting,
    batch: dict[str, jax.Array],
    *,
    config: ModelConfig,
    slots: int,
    sampled: bool,
    top_k: int | None,
) -> jax.Array:
    """ids [B, T] padded on the left -> new tokens [B, slots], NOTHING after a row's end."""
    params, mask = setting.params, batch["mask"].astype(bool)
    rows, length = mask.shape
    count = mask.sum(axis=1, dtype=jnp.int32)  # [B] real tokens
    positions = jnp.where(mask, jnp.cumsum(mask, axis=1, dtype=jnp.int32) - 1, -1)
    last = jnp.full((rows, 1), length - 1, jnp.int32)
    first = forward(config, params, batch["ids"], mask, logits_at=last)
    empty = Cache.empty(config, rows, length + slots, first.kv[0][0].dtype)

    def choose(step: jax.Array, logits: jax.Array) -> jax.Array:
        if not sampled:
            return jnp.argmax(logits, axis=-1).astype(jnp.int32)
        return _draw(batch["key"], step, logits / setting.temperature, top_k)

    def take(step, logits, tokens, done, cache) -> _State:
        token = jnp.where(done, NOTHING, choose(step, logits))
        tokens = tokens.at[:, step].set(token)
        full = count + step >= config.max_positions  # no position left to feed it at
        done = done | setting.ends[jnp.maximum(token, 0)] | full
        return _State(step + 1, token, tokens, done, cache)

    def more(state: _State) -> jax.Array:
        return (state.step < setting.limit) & ~state.done.all()

    def body(state: _State) -> _State:
        live, at = ~state.done[:, None], (count + state.step - 1)[:, None]
        ids = jnp.maximum(state.token, 0)[:, None]
        out = forward(config, params, ids, live, positions=at, cache=state.cache)
        slot = length + state.step - 1
        cache = state.cache.write(out.kv, jnp.where(live, at, -1), slot).remember(out.aux)
        assert out.logits is not None
        return take(state.step, out.logits[:, 0], state.tokens, state.done, cache)

    assert first.logits is not None
    tokens = jnp.full((rows, slots), NOTHING, jnp.int32)
    none_done = jnp.zeros((rows,), bool)
    filled = empty.write(first.kv, positions, 0).remember(first.aux)
    start = take(jnp.zeros((), jnp.int32), first.logits[:, 0], tokens, none_done, filled)
    return jax.lax.while_loop(more, body, start).tokens


def _draw(keys: jax.Array, step: jax.Array, logits: jax.Array, top_k: int | None) -> jax.Array:
    """One token a row [B] from logits [B, V]; each row has its own key data [B, ...]."""
    best = None
    if top_k is not None:
        logits, best = jax.lax.top_k(logits, min(top_k, logits.shape[-1]))

    def one(key: jax.Array, row: jax.Array) -> jax.Array:
        return jax.random.categorical(jax.random.fold_in(jax.random.wrap_key_data(key), step), row)

    place = jax.vmap(one)(keys, logits)
    token = place if best is None else jnp.take_along_axis(best, place[:, None], axis=1)[:, 0]
    return token.astype(jnp.int32)
