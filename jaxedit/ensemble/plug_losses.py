"""The objective of the editing stage: L = L_gen + lambda L_weight (OnceEdit, equations 5 to 7).

L_gen is the cross entropy of the edits' target tokens, each given all before it. L_weight is the
binary cross entropy of the gate at the end of each prompt alone, 1 for edits and 0 for questions
that no edit touches.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxedit.ensemble.plug_rows import Rows
from jaxedit.ensemble.plugin import Reading, gate_logit
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import Params, forward, head

Mean = Literal["token", "example"]


class Losses(NamedTuple):
    """Of one batch, in nats; scalars but for the gate's logits [B]."""

    generation: jax.Array  # L_gen
    weight: jax.Array  # L_weight
    gate: jax.Array


def losses(
    config: ModelConfig,
    params: Params,
    rows: Rows,
    *,
    gate: int,
    reading: Reading = "component",
    weight: float = 0.8,
    mean: Mean = "token",
) -> tuple[jax.Array, Losses]:
    """L_gen + weight x L_weight, and its parts.

    Args:
        config: of the plug-in, the gate's row included.
        params: likewise.
        rows: a batch.
        gate: the row's id.
        reading: what the gate is; a head of its own takes no part in the softmax over tokens.
        weight: lambda of equation 7.
        mean: L_gen over all target tokens of the batch, or over examples of the mean over each.
    """
    hidden = forward(config, params, rows.ids, rows.mask, logits_at=False).hidden  # [B, T, D]
    at = jnp.take_along_axis(hidden, rows.read[:, None, None], axis=1)[:, 0]
    logit = gate_logit(config, params, gate, at)  # [B]
    said = _cross_entropy(config, params, hidden, rows, gate if reading == "head" else None)
    if mean == "token":
        generation = said.sum() / jnp.maximum(rows.target_mask.sum(), 1)
    else:
        tokens = rows.target_mask.sum(-1)
        each = said.sum(-1) / jnp.maximum(tokens, 1)
        generation = each.sum() / jnp.maximum((tokens > 0).sum(), 1)
    # -log sigmoid(x) for label 1 and -log sigmoid(-x) for label 0.
    wrong = jax.nn.softplus((1 - 2 * rows.label) * logit)
    gated = rows.gated.astype(wrong.dtype)
    separation = (wrong * gated).sum() / jnp.maximum(gated.sum(), 1)
    return generation + weight * separation, Losses(generation, separation, logit)


def _cross_entropy(
    config: ModelConfig, params: Params, hidden: jax.Array, rows: Rows, left_out: int | None
) -> jax.Array:
    """[B, P], -log p of the target's tokens; 0 where there is none."""
    at = jnp.take_along_axis(hidden, rows.predict[..., None], axis=1)
    logits = head(config, params, at)  # [B, P, V]
    if left_out is not None:
        logits = logits.at[..., left_out].set(-jnp.inf)
    picked = jnp.take_along_axis(logits, rows.target[..., None], axis=-1)[..., 0]
    return jnp.where(rows.target_mask, jax.nn.logsumexp(logits, axis=-1) - picked, 0)
