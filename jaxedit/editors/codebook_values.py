"""Values of a codebook: what a linear should give at an edit's prompt for the target to follow.

A value v stands in place of the linear's output (`Replace` says where) and minimises

    mean over the target's tokens of -log p(token | all before it)

with Adam. Facts are independent of each other, so many are trained in one call, each until its own
loss is small. What lies below the edited block never changes and runs once.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxedit.editors.captures import target_loss
from jaxedit.editors.codebook import Replace, at_prompt_end, reached
from jaxedit.editors.rows import TargetRows
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import forward
from jaxedit.models.sites import Set, Tap
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import data_parallel

Array = Any


class Training(NamedTuple):
    """Numbers of the training; other ones need no other program.

    Attributes:
      learning_rate: Adam's.
      steps: updates, at most.
      stop_below: a fact stops when its loss is below this.
    """

    learning_rate: Array
    steps: Array
    stop_below: Array


class Trained(NamedTuple):
    """Of n facts.

    Attributes:
      query: the linear's input at the last token of the prompt, [n, F].
      value: [n, D].
      loss: with that value, [n].
      initial_loss: with the value that the training began from, [n].
      updates: [n] int32.
    """

    query: Array
    value: Array
    loss: Array
    initial_loss: Array
    updates: Array


class _Step(NamedTuple):
    """What one step leaves to the next; n facts."""

    step: jax.Array  # []
    value: jax.Array  # [n, D]
    moments: Any  # Adam's
    active: jax.Array  # [n] bool
    updates: jax.Array  # [n]
    initial_loss: jax.Array  # [n]


def row_given(rows: TargetRows) -> Array:
    """[n, T] True at the tokens of the prompts: up to the one that predicts a target's first."""
    return rows.mask & (np.arange(rows.mask.shape[1]) <= rows.predict[:, :1])


def train_values(
    lm: Transformer,
    rows: TargetRows,
    start: np.ndarray,
    warm: np.ndarray,
    place: tuple[int, str],
    replace: Replace,
    training: Training,
) -> Trained:
    """Queries and values of n facts.

    Args:
      lm: the unedited model.
      rows: the facts' tokens.
      start: where values begin, [n, D].
      warm: facts whose value begins as what the linear gives, [n] bool.
      place: layer and linear.
      replace: where values stand.
      training: hyper-parameters.
    """
    layer, module = place
    # On a CPU a few rows fill it, and a small call stops as soon as its own facts do.
    chunk = 8 if lm.mesh.devices[0].platform == "cpu" else 32
    call = data_parallel(
        _train,
        lm.mesh,
        chunk=chunk,
        config=lm.config,
        layer=layer,
        module=module,
        replace=replace,
    )
    numbers = Training(
        np.float32(training.learning_rate),
        np.int32(training.steps),
        np.float32(training.stop_below),
    )
    return jax.tree.map(np.asarray, call((lm.params, numbers), (rows, start, warm)))


def _train(
    given_to_all: tuple[Any, Training],
    batch: tuple[TargetRows, jax.Array, jax.Array],
    *,
    config: ModelConfig,
    layer: int,
    module: str,
    replace: Replace,
) -> Trained:
    params, training = given_to_all
    rows, start, warm = batch
    given = row_given(rows)
    where = reached(given, rows.mask, replace)
    below = forward(config, params, rows.ids, rows.mask, stop=layer).hidden
    sites = [Tap(layer, f"{module}.{end}") for end in ("in", "out")]
    here: Any = {"start": layer, "hidden": below}
    through = forward(config, params, None, rows.mask, stop=layer + 1, taps=sites, **here)
    query, usual = (at_prompt_end(x, given) for x in through.taps)
    first = jnp.where(warm[:, None], usual, start.astype(usual.dtype))
    lengths = rows.target_mask.sum(-1)

    def losses(value: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Sum over facts, which are independent, so its gradient is each fact's own; and each."""
        site = Set(layer, f"{module}.out", where, value[:, None])
        out = forward(config, params, None, rows.mask, sets=[site], logits_at=rows.predict, **here)
        assert out.logits is not None
        each = target_loss(out.logits, rows.target, rows.target_mask) / lengths
        return each.sum(), each

    adam = optax.adam(training.learning_rate)

    def update(at: _Step) -> _Step:
        (_, each), gradient = jax.value_and_grad(losses, has_aux=True)(at.value)
        # A loss that is not finite is kept, and nothing is stepped with it.
        active = at.active & (each >= training.stop_below) & jnp.isfinite(each)
        change, moments = adam.update(gradient, at.moments)
        value = jnp.where(active[:, None], at.value + jnp.asarray(change), at.value)
        initial = jnp.where(at.step == 0, each, at.initial_loss)
        updates = at.updates + active.astype(jnp.int32)
        return _Step(at.step + 1, value, moments, active, updates, initial)

    n = len(first)
    begin = _Step(
        jnp.zeros((), jnp.int32),
        first,
        adam.init(first),
        jnp.ones(n, bool),
        jnp.zeros(n, jnp.int32),
        jnp.zeros(n, first.dtype),
    )
    more = lambda at: (at.step < training.steps) & at.active.any()  # noqa: E731
    end = jax.lax.while_loop(more, update, begin)
    _, each = losses(end.value)
    initial = jnp.where(end.step > 0, end.initial_loss, each)
    return Trained(query, end.value, each, initial, end.updates)
