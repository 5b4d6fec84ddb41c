"""Values: the hidden state at the subject's last token that makes the model say the target.

For fact i, z_i = h_i + delta_i, where delta_i minimises (ROME, Meng et al. 2022a, equation
4; MEMIT, equation 16; D4S, equation 3)

    mean_c -log p(target | prefix_c + prompt)  +  kl_factor KL(p_delta || p_0)
        + weight_decay |delta| / |h_i|^2

with Adam inside the ball |delta| <= clamp |h_i|. Delta enters at one block, at the subject's
last token: at the block's output (MEMIT), at its MLP's (ROME), or one delta each at its MLP's
and its attention's (PMET). Hence the blocks below and every token before the subject's last are
the same at each step: they run once, their keys and values are cached, and a step runs only
what is above on the few tokens from there on, packed into one row a fact, for a whole batch of
facts, with the LM head at the predicting positions alone.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxedit.editors.packing import Packed, pack, spans
from jaxedit.editors.rows import ValueRows
from jaxedit.models.cache import Cache
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import forward
from jaxedit.models.sites import Add, Tap
from jaxedit.models.text import round_up
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import data_parallel

BLOCK_OUT = "block.out"
MLP_OUT = "mlp.down.out"
ATTENTION_OUT = "attn.o.out"
Sites = tuple[str, ...]
COLUMNS = 16  # rows are cut to a multiple of this


@dataclass(frozen=True)
class ValueSettings:
    """Hyper-parameters of the optimisation, under the names of the literature.

    Attributes:
      steps: forward passes S; there are at most S - 1 updates.
      learning_rate: Adam's.
      weight_decay: factor of |delta| / |h|^2 (the norm in the numerator is not squared).
      clamp_norm_factor: radius of delta's ball, in units of |h|.
      kl_factor: weight of the divergence at the subject's own prompt, in nats.
      stop_below: a fact stops when its loss is below this.
      relaxed_factor: once every token of the target is the likeliest, the target's loss counts
        only so much, and the fact stops where the divergence is small (PMET); 1 without.
    """

    steps: int = 25
    learning_rate: float = 0.5
    weight_decay: float = 0.5
    clamp_norm_factor: float = 0.75
    kl_factor: float = 0.0625
    stop_below: float = 0.05
    relaxed_factor: float = 1.0


SMALL_DIVERGENCE = 0.01  # kl_factor KL at which a relaxed fact stops (PMET)


class Values(NamedTuple):
    """What was found, one row a fact; S sites, mostly one.

    Attributes:
      initial: h_i, what passes the sites behind no prefix, [n, S, D].
      delta: [n, S, D]; the target z_i is initial + delta.
      loss: total loss at delta, [n].
      probability: exp(-nll) of the target's tokens at delta, mean over the prefixes, [n].
      initial_probability: the same at delta = 0, [n].
      updates: Adam updates made, [n] int32.
      path: delta before each update, [n, steps - 1, S, D]; NaN after the last (with trace=True).
      gradients: the gradient there, [n, steps - 1, S, D] (with trace=True).
    """

    initial: jax.Array
    delta: jax.Array
    loss: jax.Array
    probability: jax.Array
    initial_probability: jax.Array
    updates: jax.Array
    path: jax.Array | None = None
    gradients: jax.Array | None = None

    @property
    def target(self) -> jax.Array:
        """z_i at the first site, [n, D]."""
        return (self.initial + self.delta)[:, 0]


def optimise_values(
    lm: Transformer,
    rows: ValueRows,
    layer: int,
    settings: ValueSettings,
    *,
    sites: Sites = (BLOCK_OUT,),
    chunk: int | None = None,
    trace: bool = False,
) -> Values:
    """Optimises the values of n facts on `lm`, `chunk` facts at a time on each device.

    Args:
      lm: the model to read; never changed.
      rows: the facts' tokens (`rows.value_rows`); the first template must be the plain ``{}``.
      layer: the block at which delta is added.
      settings: hyper-parameters.
      sites: where in the block; a delta for each.
      chunk: facts a device and call; by default 8 on a CPU, which a few rows fill, and where a
        small call stops as soon as its own facts do, and 32 elsewhere.
      trace: keep every step's delta and gradient.

    A loss that is not finite is returned as such; `updates` then tells the step.
    """
    few = lm.mesh.devices[0].platform == "cpu"
    size = (chunk or (8 if few else 32)) * lm.mesh.data
    call = data_parallel(
        _optimise,
        lm.mesh,
        chunk=size // lm.mesh.data,
        config=lm.config,
        layer=layer,
        settings=settings,
        sites=sites,
        trace=trace,
    )
    order = np.argsort(spans(rows).tails, kind="stable")  # facts of like size together
    parts = []
    for start in range(0, len(order), size):
        own = order[start : start + size]
        part = _trimmed(jax.tree.map(lambda x, i=own: np.asarray(x)[i], rows))
        parts.append(call(lm.params, (part, pack(part))))
    if len(parts) == 1 and (order == np.arange(len(order))).all():
        return parts[0]
    back = np.argsort(order)
    return jax.tree.map(lambda *x: np.concatenate([np.asarray(y) for y in x])[back], *parts)


def _trimmed(rows: ValueRows) -> ValueRows:
    """Without the columns on the right that no row of these facts needs."""
    needed = int(np.flatnonzero(np.asarray(rows.mask).any((0, 1)))[-1]) + 1
    width = min(round_up(needed, COLUMNS), rows.ids.shape[-1])
    return rows._replace(ids=rows.ids[..., :width], mask=rows.mask[..., :width])


class _Tail(NamedTuple):
    """All that a step reads and no step changes; n facts of W packed tokens.

    Attributes:
      hidden: input of the block at which the tail starts, [n, W, D].
      positions: [n, W], -1 behind the end.
      cache: keys and values of the tokens before the subject's last, in the blocks that run.
      apart: tokens of different rows, which do not see each other, [n, W, S + W] bool.
      logits_at: tokens where the head is needed, [n, N * P + 1].
    """

    hidden: jax.Array
    positions: jax.Array
    cache: Cache
    apart: jax.Array
    logits_at: jax.Array


class _Step(NamedTuple):
    """What one step leaves to the next; n facts."""

    step: jax.Array  # []
    delta: jax.Array  # [n, S, D]
    moments: Any  # Adam's
    active: jax.Array  # [n] bool
    updates: jax.Array  # [n] int32
    factor: jax.Array  # [n], of the target's loss
    path: jax.Array  # [steps - 1, 2, n, S, D] where traced


class _Losses(NamedTuple):
    """Of n facts, [n] each."""

    total: jax.Array
    divergence: jax.Array  # kl_factor KL
    probability: jax.Array
    found: jax.Array  # bool: every token of the target is the likeliest behind every prefix


def _optimise(
    params: Any,
    batch: tuple[ValueRows, Packed],
    *,
    config: ModelConfig,
    layer: int,
    settings: ValueSettings,
    sites: Sites,
    trace: bool,
) -> Values:
    """The optimisation of one device's facts; every array has a leading axis of facts."""
    inputs, packed = batch
    n, templates, width = inputs.predict.shape
    # What is added to the output of a block or of its MLP needs nothing of that block any more.
    start = layer if ATTENTION_OUT in sites else layer + 1
    tail, initial = _run_once(
        params, inputs, packed, config=config, layer=layer, start=start, sites=sites
    )
    target = jnp.where(inputs.target_mask, inputs.target, 0)  # [n, P]
    lengths = inputs.target_mask.sum(-1).astype(initial.dtype)  # [n]

    def log_probabilities(delta: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Log p of the target's tokens and of the likeliest [n, N, P]; subject's log p [n, V]."""
        shift = delta.astype(tail.hidden.dtype)[:, :, None]  # [n, S, 1, D], for all rows
        inside = start == layer
        at = (jnp.arange(n)[:, None], packed.start)  # [n, R]
        each = (n, templates + 1, delta.shape[-1])
        out = forward(
            config,
            params,
            None,
            tail.positions >= 0,
            start=start,
            hidden=tail.hidden if inside else tail.hidden.at[at].add(shift.sum(1)),
            positions=tail.positions,
            cache=tail.cache,
            knockout=dict.fromkeys(range(start, config.n_layers), tail.apart),
            logits_at=tail.logits_at,
            add=[
                Add(layer, site, packed.start, jnp.broadcast_to(shift[:, s], each))
                for s, site in enumerate(sites)
                if inside
            ],
        )
        assert out.logits is not None
        log_p = jax.nn.log_softmax(out.logits, axis=-1)  # [n, N * P + 1, V]
        likely = log_p[:, :-1].reshape((n, templates, width, -1))
        gold = jnp.take_along_axis(likely, target[:, None, :, None], axis=-1)[..., 0]
        real = inputs.target_mask[:, None]
        return jnp.where(real, gold, 0), jnp.where(real, likely.max(-1), 0), log_p[:, -1]

    zero = jnp.zeros_like(initial)
    gold_0, _, subject_0 = log_probabilities(zero)
    size = _norm(initial)  # [n, S]
    radius = settings.clamp_norm_factor * size

    def losses(delta: jax.Array, factor: jax.Array) -> tuple[jax.Array, _Losses]:
        """Sum over facts, which are independent, so its gradient is each fact's own."""
        gold, best, subject = log_probabilities(delta)
        nll = -gold.sum(-1) / lengths[:, None]  # [n, N]
        kl = settings.kl_factor * (jnp.exp(subject) * (subject - subject_0)).sum(-1)  # [n]
        decay = settings.weight_decay * (_norm(delta) / size**2).sum(-1)
        total = factor * nll.mean(-1) + kl + decay
        found = (gold == best).all((-1, -2))
        return total.sum(), _Losses(total, kl, jnp.exp(-nll).mean(-1), found)

    adam = optax.adam(settings.learning_rate)

    def update(at: _Step) -> _Step:
        (_, loss), gradient = jax.value_and_grad(losses, has_aux=True)(at.delta, at.factor)
        active = at.active & (loss.total >= settings.stop_below) & jnp.isfinite(loss.total)
        factor = at.factor
        if settings.relaxed_factor != 1:
            active &= ~(loss.found & (loss.divergence <= SMALL_DIVERGENCE))
            factor = jnp.where(active, jnp.where(loss.found, settings.relaxed_factor, 1), factor)
        path = at.path
        if trace:
            keep = jnp.where(active[:, None, None], jnp.stack([at.delta, gradient]), jnp.nan)
            path = jax.lax.dynamic_update_index_in_dim(path, keep, at.step, axis=0)
        change, moments = adam.update(gradient, at.moments)
        moved = at.delta + jnp.asarray(change)
        norm = _norm(moved)
        shrink = jnp.where(norm > radius, radius / jnp.where(norm > 0, norm, 1), 1)
        delta = jnp.where(active[:, None, None], moved * shrink[..., None], at.delta)
        updates = at.updates + active.astype(jnp.int32)
        return _Step(at.step + 1, delta, moments, active, updates, factor, path)

    last = settings.steps - 1
    begin = _Step(
        jnp.asarray(0, jnp.int32),
        zero,
        adam.init(zero),
        jnp.ones((n,), bool),
        jnp.zeros((n,), jnp.int32),
        jnp.ones((n,), zero.dtype),
        jnp.full((last if trace else 0, 2, *zero.shape), jnp.nan, zero.dtype),
    )
    end = jax.lax.while_loop(lambda at: (at.step < last) & at.active.any(), update, begin)
    _, loss = losses(end.delta, end.factor)
    nll_0 = -gold_0.sum(-1) / lengths[:, None]
    traced = jnp.moveaxis(end.path, 2, 0)  # [n, steps - 1, 2, S, D]
    return Values(
        initial,
        end.delta,
        loss.total,
        loss.probability,
        jnp.exp(-nll_0).mean(-1),
        end.updates,
        traced[:, :, 0] if trace else None,
        traced[:, :, 1] if trace else None,
    )


def _run_once(
    params: Any,
    inputs: ValueRows,
    packed: Packed,
    *,
    config: ModelConfig,
    layer: int,
    start: int,
    sites: Sites,
) -> tuple[_Tail, jax.Array]:
    """One pass over the whole rows; returns the tail to optimise on and h_i, [n, S, D]."""
    n, rows, length = inputs.ids.shape
    ids, mask = (x.reshape(n * rows, length) for x in (inputs.ids, inputs.mask))
    lookup = inputs.lookup.reshape(n * rows, 1)
    below = forward(config, params, ids, mask, stop=layer)
    above = forward(
        config,
        params,
        None,
        mask,
        start=layer,
        hidden=below.hidden,
        logits_at=False,
        taps=[Tap(layer, BLOCK_OUT), *(Tap(layer, site, positions=lookup) for site in sites)],
    )
    positions = jnp.where(mask, jnp.cumsum(mask, axis=1, dtype=jnp.int32) - 1, -1)

    def gather(x: jax.Array, row: jax.Array, column: jax.Array) -> jax.Array:
        """[n * R, T, ...] -> [n, W, ...]; whatever where there is no token."""
        return x.reshape((n, rows, *x.shape[1:]))[jnp.arange(n)[:, None], row, column]

    past = (packed.past_row, packed.past_column)
    kept = {
        block: (gather(keys, *past), gather(values, *past))
        for block, (keys, values) in above.kv.items()
    }
    own = jnp.where(packed.row >= 0, gather(positions, packed.row, packed.column), -1)
    before = jnp.where(packed.past_row >= 0, gather(positions, *past), -1)
    sources = jnp.concatenate([packed.past_row, packed.row], axis=1)  # [n, S + W]
    places = jnp.concatenate([packed.predict.reshape(n, -1), packed.start[:, -1:]], axis=1)
    whole = below.hidden if start == layer else above.taps[0]
    tail = _Tail(
        gather(whole, packed.row, packed.column),
        own,
        Cache.of(kept, before, config.n_layers),
        packed.row[:, :, None] != sources[:, None],
        places,
    )
    passed = jnp.concatenate(above.taps[1:], axis=1)  # [n * R, S, D]
    return tail, passed.reshape(n, rows, *passed.shape[1:])[:, 0]


def _norm(x: jax.Array) -> jax.Array:
    """Euclidean norm over the last axis, with a gradient of 0 at 0."""
    square = (x * x).sum(-1)
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)
