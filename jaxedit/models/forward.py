"""The forward pass: one function that runs all, or any stretch, of a model's layers."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jaxedit.models.cache import Cache
from jaxedit.models.config import ModelConfig
from jaxedit.models.families import FAMILIES
from jaxedit.models.layers import KV, Attend, Embed, Head, rotary_tables, visibility
from jaxedit.models.sites import (
    Adapters,
    Add,
    Context,
    Interventions,
    LayerSites,
    Set,
    Tap,
    carried,
)

Params = Mapping[str, Any]


class Output(NamedTuple):
    """What a call gives; under ``jax.jit`` only what the caller returns is computed."""

    hidden: jax.Array  # [B, T, D] output of the last layer that ran, before the final norm
    logits: jax.Array | None  # [B, P|T, V], float32 or wider
    taps: tuple[Any, ...]  # one entry a tap, in their order
    kv: dict[int, KV]  # this call's keys (after rotary) and values [B, T, Hkv, Dh] by layer
    aux: dict[tuple[int, str], Any]  # what adapters gave besides their output


def forward(
    config: ModelConfig,
    params: Params,
    ids: jax.Array | None,
    mask: jax.Array,
    *,
    start: int = 0,
    stop: int | None = None,
    hidden: jax.Array | None = None,
    positions: jax.Array | None = None,
    logits_at: jax.Array | Literal[False] | None = None,
    taps: Sequence[Tap] = (),
    add: Sequence[Add] = (),
    sets: Sequence[Set] = (),
    adapters: Adapters | None = None,
    cache: Cache | None = None,
    knockout: Mapping[int, jax.Array] | None = None,
    prompt: jax.Array | None = None,
) -> Output:
    """Run layers ``start`` to ``stop - 1`` and, if ``stop`` is None, the final norm and head.

    Args:
      config: static under jit, as are start, stop, adapters and logits_at=False.
      params: nested dict of arrays; everything follows their dtype (see layers.py).
      ids: [B, T] int32, or None when ``hidden`` is given.
      mask: [B, T], 1 real and 0 pad; pads may stand on either side.
      start: first layer that runs.
      stop: the layer before which to end; then there are no logits. None: all, with logits.
      hidden: [B, T, D] input of layer ``start``, in place of the embeddings of ``ids``.
      positions: [B, T] int32 place of each token in its text; by default the count of real
        tokens before it. Pads get -1 whatever is given.
      logits_at: [B, P] int32 indices along T where logits are wanted; None: everywhere;
        False: nowhere.
      taps, add, sets, adapters: see sites.py. Taps come back in ``Output.taps``. Adapters that
        travel with the parameters take part besides those that are given.
      cache: past tokens. A new token sees every cached and every new token whose position is
        between 0 and its own (and inside the sliding window), so a suffix may start at a
        different position in each row. The cache is not written: see ``Cache.write``.
      knockout: by layer, bool [B, T, S + T]: attention edges to cut, from a new token to a
        cached (S, first) or new token. A token with no edge left gets zeros from attention.
      prompt: bool [B, T]: tokens that were given, not answered; only adapters ask for it. By
        default all of a call without a cache and none of one with it.

    Raises:
      ValueError: a site, layer or combination that does not exist (at trace time).
    """
    end = config.n_layers if stop is None else stop
    if not 0 <= start <= end <= config.n_layers:
        raise ValueError(f"no layers {start} to {end} in a model of {config.n_layers}")
    if hidden is None and (ids is None or start):
        raise ValueError(f"starting at layer {start} needs " + ("hidden" if start else "ids"))
    own = {at: adapter for at, adapter in carried(params).items() if start <= at[0] < end}
    what = Interventions(tuple(taps), tuple(add), tuple(sets), {**own, **(adapters or {})})
    what.check(range(start, end), FAMILIES[config.hf_type].linears)
    mask = mask.astype(bool)
    if prompt is None:
        prompt = mask if cache is None else jnp.zeros_like(mask)
    if positions is None:
        positions = jnp.cumsum(mask, axis=1, dtype=jnp.int32) - 1
    positions = jnp.where(mask, positions, -1).astype(jnp.int32)

    if hidden is None:
        assert ids is not None
        hidden = _apply(Embed(config), params["embed"], ids, positions)
    h = jnp.asarray(hidden)
    keys = positions if cache is None else jnp.concatenate([cache.positions, positions], axis=1)
    visible = visibility(positions, keys, config.sliding_window)
    rotary = rotary_tables(config, positions, h.dtype)
    block = FAMILIES[config.hf_type].block(config)

    found: dict[int, Any] = {}
    kv: dict[int, KV] = {}
    aux: dict[tuple[int, str], Any] = {}
    for layer in range(start, end):
        context = Context(layer, mask, positions, prompt & mask)
        sites = LayerSites(layer, what, context, {} if cache is None else cache.memory)
        seen = visible & ~knockout[layer] if knockout and layer in knockout else visible
        attend = Attend(seen, rotary, None if cache is None else cache.layer(layer))
        h = sites.visit("block.in", h)
        h, kv[layer] = _apply(block, params[f"layers_{layer}"], h, attend, sites)
        h = sites.visit("block.out", h)
        found.update(sites.found)
        aux.update(sites.aux)

    logits = None
    if stop is None and logits_at is not False:
        picked = h if logits_at is None else jnp.take_along_axis(h, logits_at[..., None], axis=1)
        logits = head(config, params, picked)
    return Output(h, logits, tuple(found[i] for i in range(len(what.taps))), kv, aux)


def head(config: ModelConfig, params: Params, hidden: jax.Array) -> jax.Array:
    """Final norm and LM head: hidden [..., D] -> logits [..., V], float32 or wider."""
    x = _apply(_final_norm(config), params["norm"], hidden)
    tokens = params["embed"]["tokens"] if config.tied else None
    return _apply(Head(config), params.get("head", {}), x, tokens)


def _apply(module: nn.Module, params: Params, *inputs: Any) -> Any:
    return module.apply({"params": params}, *inputs)


def _final_norm(config: ModelConfig) -> nn.Module:
    return FAMILIES[config.hf_type].norm(config.norm_eps)


def init_params(config: ModelConfig, key: jax.Array, dtype: Any = jnp.float32) -> dict[str, Any]:
    """Random parameters: embeddings and head N(0, 0.02), linears N(0, 1/inputs).

    Linears that write to the residual stream are narrower by sqrt(2 n_layers) (GPT-2's rule),
    biases 0, gains 1. Drawn in float32 and rounded to ``dtype``.
    """
    keys = jax.random.split(key, config.n_layers + 1)
    params = _draw_ends(config, jnp.dtype(dtype), keys[0])
    for layer in range(config.n_layers):
        params[f"layers_{layer}"] = _draw_block(config, jnp.dtype(dtype), keys[layer + 1])
    return params


@functools.partial(jax.jit, static_argnums=(0, 1))
def _draw_ends(config: ModelConfig, dtype: jnp.dtype, key: jax.Array) -> dict[str, Any]:
    keys = jax.random.split(key, 3)
    ids, x, _, _ = _nothing(config)
    params = {
        "embed": Embed(config).init(keys[0], ids, ids)["params"],
        "norm": _final_norm(config).init(keys[1], x)["params"],
    }
    tokens = params["embed"]["tokens"] if config.tied else None
    own = Head(config).init(keys[2], x, tokens).get("params")
    params |= {"head": own} if own else {}  # a tied head without bias has nothing of its own
    return jax.tree.map(lambda leaf: leaf.astype(dtype), params)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _draw_block(config: ModelConfig, dtype: jnp.dtype, key: jax.Array) -> dict[str, Any]:
    _, x, attend, sites = _nothing(config)
    params = FAMILIES[config.hf_type].block(config).init(key, x, attend, sites)["params"]
    return jax.tree.map(lambda leaf: leaf.astype(dtype), params)


def _nothing(config: ModelConfig) -> tuple[jax.Array, jax.Array, Attend, LayerSites]:
    """A text of one token, for modules that want to see one before they make parameters."""
    ids, see = jnp.zeros((1, 1), jnp.int32), jnp.ones((1, 1, 1), bool)
    attend = Attend(see, rotary_tables(config, ids, jnp.float32), None)
    sites = LayerSites(0, Interventions(), Context(0, see[0], ids, see[0]))
    return ids, jnp.zeros((1, 1, config.d_model), jnp.float32), attend, sites


def param_shapes(config: ModelConfig, dtype: Any = jnp.float32) -> dict[str, Any]:
    """The tree of shapes and dtypes of a model's parameters; nothing is allocated."""
    key = jax.ShapeDtypeStruct((2,), jnp.uint32)
    return jax.eval_shape(lambda key: init_params(config, key, dtype), key)
