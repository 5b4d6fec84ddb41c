"""What SERAC's classifier and counterfactual model should do together, as a loss.

"apart"  each what it is for (Mitchell et al. 2022, section 3.2): the classifier by binary cross
         entropy on s, where the largest s counts, as it does later; the counterfactual model by
         the NLL of the answer to a question in scope, behind its edit. Their gradients do not
         meet.
"joint"  the mixture p = (1 - s) p_base + s p_counterfactual, as in EasyEdit's trainer,

           L = w_inside NLL(p; in scope) + w_outside KL(p_base || p; out of scope),

         with the counterfactual model behind the edit that the classifier finds nearest.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from jaxedit.editors.captures import target_loss
from jaxedit.editors.rows import TargetRows
from jaxedit.editors.scope import NEAREST, Metric, distances, embed
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import forward
from jaxedit.models.routed import log_mixture

Objective = Literal["apart", "joint"]
Numbers = dict[str, jax.Array]
FAR = 1e9  # in place of the distance to a key that does not count
EDGE = 1e-6  # s stays so far from 0 and 1 where gradients are taken through its logarithms
SURE = 0.5  # scope above which a question is taken to be about an edit


class Trained(NamedTuple):
    """All that training gives.

    Attributes:
      metric: of the classifier.
      counterfactual: the parameters of that model.
    """

    metric: Metric
    counterfactual: Any


class Weights(NamedTuple):
    """Of the parts of the loss: in scope, and out of scope."""

    inside: float = 1.0
    outside: float = 1.0


class Said(NamedTuple):
    """B questions of one kind with their answers.

    Attributes:
      features: [B, F].
      apart: [B, C] bool, the keys whose scope they are not in.
      own: [B] int32, the key that each belongs to; -1 for none.
      base: as the base model reads them; None where it does not.
      other: as the counterfactual model reads them, an edit before each; likewise.
      weight: [B], of a question in a mean.
      token_weight: [B], of each of its target's tokens.
    """

    features: Any
    apart: Any
    own: Any
    base: Any
    other: Any
    weight: Any
    token_weight: Any


class Batch(NamedTuple):
    """Questions in the scope of an edit, and questions in that of none."""

    inside: Said
    outside: Said


def which(known: tuple[Metric, jax.Array], said: Said) -> jax.Array:
    """The key that each question is nearest to, [B]; features of the keys are [C, F]."""
    metric, keys = known
    own, rival = _distances(metric, embed(metric, keys), said)
    return jnp.where(own < rival.min(axis=1), said.own, rival.argmin(axis=1)).astype(jnp.int32)


def losses(
    known: tuple[Trained, jax.Array, Any],
    batch: Batch,
    *,
    base: ModelConfig,
    other: ModelConfig,
    objective: Objective,
    weights: Weights,
    gradient: bool,
) -> tuple[Numbers, Any]:
    """The loss with its parts, and its gradient if it is wanted; sums over the batch's rows.

    Args:
      known: what is trained, the keys' features [C, F], and the base model's parameters (None
        where they are not needed).
      batch: the questions.
      base, other: the models' configs.
      objective: see the module.
      weights: of the loss's parts.
      gradient: whether it is wanted.
    """
    trained, keys, params = known

    def loss(trained: Trained) -> tuple[jax.Array, Numbers]:
        if objective == "apart":
            return _apart(trained, keys, batch, other, weights)
        return _joint(trained, keys, params, batch, (base, other), weights)

    if not gradient:
        return loss(trained)[1], None
    slope, numbers = jax.grad(loss, has_aux=True)(trained)
    return numbers, slope


def _apart(
    trained: Trained, keys: jax.Array, batch: Batch, other: ModelConfig, weights: Weights
) -> tuple[jax.Array, Numbers]:
    inside, outside = batch
    embedded = embed(trained.metric, keys)
    own, rival = _distances(trained.metric, embedded, inside)
    rival = rival.min(axis=1)
    strange = _distances(trained.metric, embedded, outside)[1].min(axis=1)
    logits = _logits(other, trained.counterfactual, inside.other)
    nll, reached = _told(logits, inside)
    yes = ((own + _not(rival)) * inside.weight).sum()
    no = (_not(strange) * outside.weight).sum()
    loss = weights.inside * (yes + nll) + weights.outside * no
    found = (own < rival) & (jnp.exp(-own) > SURE)
    return loss, {
        "loss": loss,
        "nll": nll,
        "scope": yes + no,
        "found": (found * inside.weight).sum(),
        "mistaken": ((jnp.exp(-strange) > SURE) * outside.weight).sum(),
        "reached": reached,
    }


def _joint(
    trained: Trained,
    keys: jax.Array,
    params: Any,
    batch: Batch,
    configs: tuple[ModelConfig, ModelConfig],
    weights: Weights,
) -> tuple[jax.Array, Numbers]:
    embedded = embed(trained.metric, keys)

    def both(said: Said) -> tuple[jax.Array, jax.Array, jax.Array]:
        """log p of the base model and of the mixture [B, P, V], and the scope [B]."""
        own, rival = _distances(trained.metric, embedded, said)
        scope = jnp.clip(jnp.exp(-jnp.minimum(own, rival.min(axis=1))), EDGE, 1 - EDGE)
        logits = _logits(configs[0], params, said.base)
        theirs = _logits(configs[1], trained.counterfactual, said.other)
        mixed = log_mixture(scope[:, None], logits, theirs)
        gap = [(0, 0), (0, 0), (0, mixed.shape[-1] - logits.shape[-1])]
        log_p = jnp.pad(jax.nn.log_softmax(logits), gap, constant_values=-FAR)
        return log_p, mixed, scope

    inside, outside = batch
    _, told, sure = both(inside)
    nll, reached = _told(told, inside)
    before, now, strange = both(outside)
    divergence = (jnp.exp(before) * (before - now)).sum(-1)  # [B, P]
    divergence = jnp.where(outside.base.target_mask, divergence, 0).sum(-1)
    divergence = (divergence * outside.token_weight).sum()
    loss = weights.inside * nll + weights.outside * divergence
    return loss, {
        "loss": loss,
        "nll": nll,
        "divergence": divergence,
        "found": ((sure > SURE) * inside.weight).sum(),
        "mistaken": ((strange > SURE) * outside.weight).sum(),
        "reached": reached,
    }


def _distances(metric: Metric, keys: jax.Array, said: Said) -> tuple[jax.Array, jax.Array]:
    """Squared distances of questions to their own key [B], and to those of others [B, C]."""
    each = distances(embed(metric, said.features), keys)
    rival = jnp.maximum(jnp.where(said.apart, each, FAR), NEAREST)
    own = jnp.take_along_axis(each, jnp.maximum(said.own, 0)[:, None], axis=1)[:, 0]
    return jnp.where(said.own >= 0, own, FAR), rival


def _not(distance: jax.Array) -> jax.Array:
    """-log(1 - s) with s = exp(-d)."""
    return -jnp.log(-jnp.expm1(-distance))


def _logits(config: ModelConfig, params: Any, rows: TargetRows) -> jax.Array:
    """[B, P, V] where the target's tokens are predicted."""
    found = forward(config, params, rows.ids, rows.mask, logits_at=rows.predict).logits
    assert found is not None
    return found


def _told(logits: jax.Array, said: Said) -> tuple[jax.Array, jax.Array]:
    """The mean NLL of the targets' tokens, and the share of them that are the likeliest."""
    rows: TargetRows = said.other
    right = ((logits.argmax(-1) == rows.target) & rows.target_mask).sum(-1)
    nll = target_loss(logits, rows.target, rows.target_mask)
    return (nll * said.token_weight).sum(), (right * said.token_weight).sum()
