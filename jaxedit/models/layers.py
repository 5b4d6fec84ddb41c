"""The pieces that every family's block is made of (Flax Linen, one leaf a matrix).

Dtypes: the residual stream has the dtype of the embeddings (or of the hidden state that a call
starts from); a linear whose kernel is wider than its input, such as an edited float32 kernel
among bfloat16 ones, computes in the wider dtype and rounds its output back. Norms, softmax and
rotary angles are computed in :func:`wide`.
"""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.models.config import ModelConfig, RopeScaling
from jaxedit.models.sites import LayerSites

KV = tuple[jax.Array, jax.Array]  # keys, values [B, S, Hkv, Dh]


def wide(dtype) -> jnp.dtype:
    """The wider of float32 and ``dtype``."""
    return jnp.promote_types(dtype, jnp.float32)


def exact(dtype) -> jax.lax.Precision | None:
    """Full float32 products on accelerators, which round their inputs to fewer bits if let."""
    return jax.lax.Precision.HIGHEST if dtype == jnp.float32 else None


def matmul(x: jax.Array, kernel: jax.Array, out: jnp.dtype) -> jax.Array:
    """x [..., I] @ kernel [I, O] in the wider of their dtypes, accumulated and given as ``out``."""
    dtype = jnp.promote_types(x.dtype, kernel.dtype)
    return jax.lax.dot_general(
        x.astype(dtype),
        kernel.astype(dtype),
        (((x.ndim - 1,), (0,)), ((), ())),
        precision=exact(dtype),
        preferred_element_type=jnp.promote_types(dtype, out),
    )


def normal(std: float) -> Callable[..., jax.Array]:
    """Initialiser of given standard deviation."""
    return nn.initializers.normal(std, dtype=jnp.float32)


def activation(name: str, x: jax.Array) -> jax.Array:
    """``gelu_new`` is the tanh approximation, ``gelu`` the exact one."""
    if name == "gelu_new":
        return nn.gelu(x, approximate=True)
    if name == "gelu":
        return nn.gelu(x, approximate=False)
    return {"silu": nn.silu, "relu": nn.relu}[name](x)


class Linear(nn.Module):
    """y = x W + b, with the sites ``<site>.in``, ``<site>.out`` and an adapter in between."""

    site: str
    features: int
    bias: bool = False
    std: float | None = None  # None: 1 / sqrt(inputs)

    @nn.compact
    def __call__(self, x: jax.Array, sites: LayerSites) -> jax.Array:
        """x [..., inputs] -> [..., features] in x's dtype."""
        x = sites.visit(f"{self.site}.in", x)
        inputs = x.shape[-1]
        init = normal(inputs**-0.5 if self.std is None else self.std)
        kernel = self.param("kernel", init, (inputs, self.features), jnp.float32)
        y = matmul(x, kernel, x.dtype)
        if self.bias:
            y = y + self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32)
        y = sites.adapt(self.site, x, y.astype(x.dtype)).astype(x.dtype)
        return sites.visit(f"{self.site}.out", y)


class LayerNorm(nn.Module):
    """(x - mean) / sqrt(variance + eps) * scale + bias, in the wide dtype."""

    eps: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """x [..., D] -> the same shape and dtype."""
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (x.shape[-1],), jnp.float32)
        y = x.astype(wide(x.dtype))
        y = y - y.mean(-1, keepdims=True)
        y = y * jax.lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + self.eps)
        return (y * scale + bias).astype(x.dtype)


class RMSNorm(nn.Module):
    """x / sqrt(mean of squares + eps) * scale, in the wide dtype."""

    eps: float

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """x [..., D] -> the same shape and dtype."""
        scale = self.param("scale", nn.initializers.ones, (x.shape[-1],), jnp.float32)
        y = x.astype(wide(x.dtype))
        y = y * jax.lax.rsqrt(jnp.square(y).mean(-1, keepdims=True) + self.eps)
        return (y * scale).astype(x.dtype)


class Rotary(NamedTuple):
    """cos and sin [B, T, 1, rotary_dim / 2] of the angles at each token's position."""

    cos: jax.Array
    sin: jax.Array


def frequencies(dim: int, theta: float, scaling: RopeScaling | None) -> np.ndarray:
    """theta^(-2 i / dim) for i < dim/2, float64 (RoFormer, section 3.2), stretched if asked."""
    inverse = theta ** (-np.arange(0, dim, 2, dtype=np.float64) / dim)
    if scaling is None:
        return inverse
    if scaling.kind == "linear":
        return inverse / scaling.factor
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    turns = scaling.original_max_positions * inverse / (2 * np.pi)  # over the trained context
    keep = np.clip((turns - low) / (high - low), 0.0, 1.0)
    return inverse * (keep + (1 - keep) / scaling.factor)


def rotary_tables(config: ModelConfig, positions: jax.Array, dtype) -> Rotary | None:
    """Tables for positions [B, T] (pads, at -1, turn as if at 0); None without rotary."""
    if not config.rotary_dim:
        return None
    inverse = frequencies(config.rotary_dim, config.rope_theta, config.rope_scaling)
    turning = jnp.maximum(positions, 0).astype(wide(dtype))
    angles = turning[..., None, None] * jnp.asarray(inverse, dtype=wide(dtype))
    return Rotary(jnp.cos(angles), jnp.sin(angles))


def rotate_interleaved(x: jax.Array, rotary: Rotary) -> jax.Array:
    """GPT-J's form: neighbours (0,1), (2,3), ... of the first rotary_dim turn as pairs."""
    width = 2 * rotary.cos.shape[-1]
    pairs = x[..., :width].astype(rotary.cos.dtype).reshape(*x.shape[:-1], width // 2, 2)
    a, b = pairs[..., 0], pairs[..., 1]
    turned = jnp.stack(
        [a * rotary.cos - b * rotary.sin, b * rotary.cos + a * rotary.sin], axis=-1
    ).reshape(*x.shape[:-1], width)
    return jnp.concatenate([turned.astype(x.dtype), x[..., width:]], axis=-1)


def rotate_half(x: jax.Array, rotary: Rotary) -> jax.Array:
    """Llama's form: dimension i turns with dimension i + rotary_dim / 2."""
    width = 2 * rotary.cos.shape[-1]
    a, b = jnp.split(x[..., :width].astype(rotary.cos.dtype), 2, axis=-1)
    turned = jnp.concatenate(
        [a * rotary.cos - b * rotary.sin, b * rotary.cos + a * rotary.sin], axis=-1
    )
    return jnp.concatenate([turned.astype(x.dtype), x[..., width:]], axis=-1)


class Attend(NamedTuple):
    """What a layer's attention needs besides the hidden states."""

    visible: jax.Array  # [B, T, S + T] bool: cached slots first, then this call's tokens
    rotary: Rotary | None
    past: KV | None  # this layer's cached keys (after rotary) and values [B, S, Hkv, Dh]


def visibility(queries: jax.Array, keys: jax.Array, window: int | None) -> jax.Array:
    """[B, T, S]: key visible iff 0 <= its position <= the query's, and inside the window."""
    q, k = queries[:, :, None], keys[:, None, :]
    seen = (k >= 0) & (k <= q)
    return seen if window is None else seen & (q - k < window)


def attention(q: jax.Array, kvs: tuple[KV, ...], visible: jax.Array) -> jax.Array:
    """Softmax attention of q [B, T, H, Dh] over the segments of ``kvs``, laid end to end.

    Groups of H / Hkv query heads share a key-value head. A query that sees nothing (a pad, or
    one with all its edges knocked out) gets zeros. Gives [B, T, H, Dh] in q's dtype.
    """
    batch, length, heads, dim = q.shape
    kv_heads = kvs[0][0].shape[2]
    grouped = q.reshape(batch, length, kv_heads, heads // kv_heads, dim)
    out = wide(q.dtype)
    scores = [
        jnp.einsum(
            "btkgd,bskd->bkgts", grouped, k, precision=exact(q.dtype), preferred_element_type=out
        )
        for k, _ in kvs
    ]
    logits = jnp.concatenate(scores, axis=-1) if len(scores) > 1 else scores[0]
    seen = visible[:, None, None]  # [B, 1, 1, T, S]
    logits = jnp.where(seen, logits * dim**-0.5, jnp.finfo(out).min)
    weights = jnp.where(seen, jax.nn.softmax(logits, axis=-1), jnp.zeros((), out))
    weights = weights.astype(q.dtype)
    ends = np.cumsum([k.shape[1] for k, _ in kvs])[:-1]
    mixed = [
        jnp.einsum("bkgts,bskd->btkgd", w, v.astype(q.dtype), precision=exact(q.dtype))
        for w, (_, v) in zip(jnp.split(weights, ends, axis=-1), kvs, strict=True)
    ]
    return sum(mixed[1:], mixed[0]).reshape(batch, length, heads, dim)


class Attention(nn.Module):
    """Self-attention with grouped heads; ``rotate`` turns queries and keys."""

    config: ModelConfig
    rotate: Callable[[jax.Array, Rotary], jax.Array] | None = None

    @nn.compact
    def __call__(self, x: jax.Array, attend: Attend, sites: LayerSites) -> tuple[jax.Array, KV]:
        """x [B, T, D] -> [B, T, D], and the keys (after rotary) and values of x's tokens."""
        c = self.config

        def heads(name: str, count: int) -> jax.Array:
            linear = Linear(f"attn.{name}", count * c.head_dim, c.qkv_bias, name=name)
            return linear(x, sites).reshape(*x.shape[:2], count, c.head_dim)

        q, k, v = heads("q", c.n_heads), heads("k", c.n_kv_heads), heads("v", c.n_kv_heads)
        if self.rotate is not None and attend.rotary is not None:
            q, k = self.rotate(q, attend.rotary), self.rotate(k, attend.rotary)
        kvs = ((k, v),) if attend.past is None else (attend.past, (k, v))
        mixed = attention(q, kvs, attend.visible).reshape(*x.shape[:2], -1)
        out = Linear("attn.o", c.d_model, c.o_bias, residual_std(c, mixed.shape[-1]), name="o")
        return out(mixed, sites), (k, v)


class MLP(nn.Module):
    """down(act(up(x))), or down(act(gate(x)) * up(x)) when ``gated``."""

    config: ModelConfig
    gated: bool = False

    @nn.compact
    def __call__(self, x: jax.Array, sites: LayerSites) -> jax.Array:
        """x [B, T, D] -> [B, T, D]."""
        c = self.config
        inner = Linear("mlp.up", c.d_ff, c.mlp_bias, name="up")(x, sites)
        if self.gated:
            gate = Linear("mlp.gate", c.d_ff, c.mlp_bias, name="gate")(x, sites)
            inner = activation(c.activation, gate) * inner
        else:
            inner = activation(c.activation, inner)
        down = Linear("mlp.down", c.d_model, c.mlp_bias, residual_std(c, c.d_ff), name="down")
        return down(inner, sites)


def residual_std(config: ModelConfig, inputs: int) -> float:
    """Initial deviation of a linear that writes to the stream: its 2 n_layers writes add up."""
    return (2 * config.n_layers * inputs) ** -0.5


class Embed(nn.Module):
    """Token embeddings and, for models without rotary, learned positions."""

    config: ModelConfig

    @nn.compact
    def __call__(self, ids: jax.Array, positions: jax.Array) -> jax.Array:
        """ids, positions [B, T] -> [B, T, D]."""
        c = self.config
        tokens = self.param("tokens", normal(0.02), (c.vocab_size, c.d_model), jnp.float32)
        x = tokens[ids]
        if not c.rotary_dim:
            table = self.param("positions", normal(0.02), (c.max_positions, c.d_model), jnp.float32)
            x = (x + table[jnp.maximum(positions, 0)]).astype(tokens.dtype)
        return x


class Head(nn.Module):
    """Logits in the wide dtype; ``tokens`` is the embedding that a tied head reads."""

    config: ModelConfig

    @nn.compact
    def __call__(self, x: jax.Array, tokens: jax.Array | None) -> jax.Array:
        """x [..., D] -> logits [..., V]."""
        c = self.config
        if tokens is None:
            kernel = self.param("kernel", normal(0.02), (c.d_model, c.vocab_size), jnp.float32)
        else:
            kernel = tokens.T
        logits = matmul(x, kernel, wide(x.dtype))
        if c.head_bias:
            zeros = nn.initializers.zeros
            logits = logits + self.param("bias", zeros, (c.vocab_size,), jnp.float32)
        return logits
