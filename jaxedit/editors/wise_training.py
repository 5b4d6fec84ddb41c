"""How WISE writes facts into its side memory: the loss, and the steps on a share of the weights.

The loss is the target's, behind every prefix template, plus margins of the activation distance
(Wang et al. 2024, "WISE", equations 5 and 6): prompts of edits must lie far from the linear's own
output, unrelated ones near, and both apart. Only a fixed random share of the entries is trained
(section 2.3.2), by plain gradient descent within a box around the original weights.

All that the edited linear reads is the same at every step, and so is what its layer gives besides:
the layers up to it run once, and a step begins behind it, with the changed output added.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxedit.editors.side_memory import distance
from jaxedit.editors.weights import DOWN
from jaxedit.editors.wise_rows import Replay, WiseRows
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import forward
from jaxedit.models.layers import matmul
from jaxedit.models.sites import Tap


class Margins(NamedTuple):
    """alpha: most distance of what is unrelated; beta: least of an edit; gamma: least between."""

    alpha: float
    beta: float
    gamma: float


class Descent(NamedTuple):
    """Hyper-parameters of the steps; see `wise.Wise`."""

    margins: Margins
    margin_weight: float
    learning_rate: float
    steps: int
    weight_decay: float
    mask_ratio: float
    norm_constraint: float | None
    stop_below: float
    stop_change: float
    seed: int
    legacy: bool


class Written(NamedTuple):
    """The version after the steps, and what they ended with.

    Attributes:
      delta: D, [v, u].
      loss: of each fact's target, nats, when the last step was taken, [n].
      inside: mean distance of each fact's rows from where D is now, [n].
      outside: mean distance of its unrelated texts, [n].
      total: the whole loss, as it was last.
      updates: steps taken, [].
    """

    delta: jax.Array
    loss: jax.Array
    inside: jax.Array
    outside: jax.Array
    total: jax.Array
    updates: jax.Array


def hinge(x: jax.Array) -> jax.Array:
    """Mean of the entries above 0; 0 if there are none."""
    above = x > 0
    return jnp.where(above, x, 0).sum() / jnp.maximum(above.sum(), 1)


def margin_loss(inside: jax.Array, outside: jax.Array, margins: Margins) -> jax.Array:
    """Equation 5 over all pairs of an edit's row and an unrelated one, as the code averages it.

    Args:
      inside: distances of edits, any shape.
      outside: of unrelated texts, any shape.
      margins: alpha, beta, gamma.
    """
    apart = outside.reshape(-1, 1) - inside.reshape(1, -1) + margins.gamma
    return hinge(apart) + hinge(outside - margins.alpha) + hinge(margins.beta - inside)


def replay_loss(far: jax.Array, side: jax.Array, margins: Margins) -> jax.Array:
    """Earlier edits' distances [R]: beyond beta in their own version, within alpha in another.

    Appendix B.3; the published code has 5 and 20 in place of alpha and beta whatever these are.
    """
    near = hinge(jnp.where(side < 0, far - margins.alpha, 0))
    return near + hinge(jnp.where(side > 0, margins.beta - far, 0))


def trained_share(seed: int, shard: jax.Array, ratio: float, shape: tuple[int, ...]) -> jax.Array:
    """Which entries of a shard's version are trained: each one with probability `ratio`."""
    return jax.random.bernoulli(jax.random.fold_in(jax.random.key(seed), shard), ratio, shape)


class _Fixed(NamedTuple):
    """What does not change while a version is trained, for rows [R, T]."""

    x: jax.Array  # [R, T, v] the linear's input
    y: jax.Array  # [R, T, u] its output
    hidden: jax.Array  # [R, T, D] the layer's

    def change(self, delta: jax.Array, shift: jax.Array | None) -> jax.Array:
        """What D changes of the linear's output."""
        found = matmul(self.x, delta, delta.dtype)
        return found if shift is None else found + shift


def _fixed(config: ModelConfig, params: Any, layer: int, ids: jax.Array, mask: jax.Array) -> _Fixed:
    taps = [Tap(layer, f"{DOWN}.in"), Tap(layer, f"{DOWN}.out")]
    out = forward(config, params, ids, mask, stop=layer + 1, taps=taps)
    x, y = out.taps
    return _Fixed(x, y, out.hidden)


class _Step(NamedTuple):
    """What one step leaves to the next."""

    count: jax.Array  # []
    delta: jax.Array
    loss: jax.Array  # [n]
    total: jax.Array  # []
    before: jax.Array  # [], the total of the step before


@functools.partial(jax.jit, static_argnames=("config", "layer", "settings"))
def write(
    params: Any,
    delta: jax.Array,
    rows: WiseRows,
    shard: jax.Array,
    shift: jax.Array | None,
    replay: Replay | None,
    *,
    config: ModelConfig,
    layer: int,
    settings: Descent,
) -> Written:
    """Trains D on n facts at once.

    Args:
      params: of the unedited model.
      delta: D so far, [v, u].
      rows: the facts.
      shard: number of the version, which says what share of it is trained.
      shift: see `side_memory.Router`.
      replay: earlier edits; None without.
      config: the model's.
      layer: whose down-projection it is.
      settings: of the steps.
    """
    n = len(rows.scope)
    flat = jax.tree.map(lambda x: x.reshape((-1, *x.shape[2:])), rows)
    edit, margins = flat.edits, settings.margins

    fixed = functools.partial(_fixed, config, params, layer)
    own, other = fixed(edit.ids, edit.mask), fixed(flat.other, flat.other_mask)
    past = None if replay is None else fixed(replay.ids, replay.mask)

    def far(at: _Fixed, delta: jax.Array, tokens: jax.Array) -> jax.Array:
        return distance(at.y, at.change(delta, shift), tokens, config.activation)

    def distances(delta: jax.Array) -> tuple[jax.Array, jax.Array]:
        return far(own, delta, flat.scope), far(other, delta, flat.other_mask)

    def losses(delta: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The whole loss, and each fact's target's [n]."""
        moved = own.hidden + own.change(delta, shift)
        out = forward(
            config,
            params,
            None,
            edit.mask,
            start=layer + 1,
            hidden=moved.astype(own.hidden.dtype),
            logits_at=edit.predict,
        )
        assert out.logits is not None
        log_p = jax.nn.log_softmax(out.logits, axis=-1)  # [R, P, V]
        gold = jnp.take_along_axis(log_p, edit.target[..., None], axis=-1)[..., 0]
        counted = edit.target_mask.sum(-1) + settings.legacy
        each = -jnp.where(edit.target_mask, gold, 0).sum(-1) / counted  # [R]
        kept = margin_loss(*distances(delta), margins)
        if past is not None and replay is not None:
            kept += replay_loss(far(past, delta, replay.mask), replay.side, margins)
        total = each.mean() + settings.margin_weight * kept
        return total, each.reshape(n, -1).mean(axis=1)

    kernel = params[f"layers_{layer}"]["mlp"]["down"]["kernel"].astype(delta.dtype)
    share = trained_share(settings.seed, shard, settings.mask_ratio, delta.shape)

    def step(state: _Step) -> _Step:
        (total, each), gradient = jax.value_and_grad(losses, has_aux=True)(state.delta)
        decay = settings.weight_decay * (kernel + state.delta)
        if settings.legacy:
            down = jnp.where(share, gradient, 0) + decay
        else:
            down = jnp.where(share, gradient + decay, 0)
        moved = state.delta - settings.learning_rate * down
        if settings.norm_constraint is not None:
            moved = jnp.clip(moved, -settings.norm_constraint, settings.norm_constraint)
        # A loss that is not finite is kept, and nothing is stepped with it.
        moved = jnp.where(jnp.isfinite(total), moved, state.delta)
        return _Step(state.count + 1, moved, each, total, state.total)

    def more(state: _Step) -> jax.Array:
        still = jnp.abs(state.total - state.before) <= settings.stop_change
        done = still & (state.total <= settings.stop_below)
        return (state.count < settings.steps) & ~done & ~jnp.isnan(state.total)

    zero = jnp.zeros((), delta.dtype)
    start = _Step(jnp.asarray(0, jnp.int32), delta, jnp.zeros(n, delta.dtype), zero + 1e9, zero)
    end = jax.lax.while_loop(more, step, start)
    inside, outside = distances(end.delta)
    own_mean, other_mean = (x.reshape(n, -1).mean(axis=1) for x in (inside, outside))
    return Written(end.delta, end.loss, own_mean, other_mean, end.total, end.count)
