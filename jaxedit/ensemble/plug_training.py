"""The editing stage: a plug-in is fine-tuned whole on the edits, and learns to tell them apart.

`fit` is Optax's Adam or Muon on all parameters, over batches of edits and unrelated questions. The
state is a pytree; the order of the batches follows from seed and step alone, so that a run that
goes on from a saved state ends with the same bits as one that was never broken off.

Edits that come in chunks are fitted one chunk after another, each on the plug-in that the last
one left, with `replay=` a sample of the earlier edits: without them a chunk overwrites the ones
before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax.contrib import muon

from jaxedit.data.fact import Fact
from jaxedit.ensemble.plug_batches import Batches, Training
from jaxedit.ensemble.plug_losses import Losses, losses
from jaxedit.ensemble.plug_rows import Rows
from jaxedit.ensemble.plugin import Plugin, Reading
from jaxedit.ensemble.prompts import Unrelated
from jaxedit.errors import UserError
from jaxedit.models.config import ModelConfig
from jaxedit.partway import like
from jaxedit.progress import progress
from jaxedit.sharding import DATA, Mesh, fetch, put, replicate

Log = dict[str, np.ndarray]


class State(NamedTuple):
    """What a step leaves to the next.

    Attributes:
        params: of the plug-in, float32 or wider.
        moments: the optimiser's state.
        step: [] int32, steps done.
        sums: [2] float32, L_gen and L_weight summed over the epoch so far.
        last: [2] float32, both of the last step.
        done: [] bool, whether training stopped before its last epoch.
    """

    params: Any
    moments: Any
    step: Any
    sums: Any
    last: Any
    done: Any


class Progress(NamedTuple):
    """What `advance` is told after a step."""

    step: int  # done
    steps: int  # in all
    generation: float
    weight: float
    state: State


def begin(plugin: Plugin, training: Training) -> State:
    """The state before the first step; parameters narrower than float32 are widened."""
    mesh = plugin.lm.mesh
    params = jax.tree.map(
        lambda x: x.astype(jnp.promote_types(x.dtype, "float32")), plugin.lm.params
    )
    none = np.zeros(2, np.float32)
    rest = (optimiser(training, 1).init(params), np.int32(0), none, none, np.False_)
    return State(params, *replicate(rest, mesh))


def bind(plugin: Plugin, state: State) -> Plugin:
    """The edited plug-in."""
    return plugin.with_params(state.params)


def snapshot(state: State) -> list[np.ndarray]:
    """The state's arrays, for a checkpoint."""
    return fetch(jax.tree.leaves(state))


def restore(plugin: Plugin, training: Training, leaves: Sequence[np.ndarray]) -> State:
    """The state from a snapshot.

    Raises:
        UserError: it is one of another model.
    """
    fresh = begin(plugin, training)
    shapes = [(leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(fresh)]
    if shapes != [(leaf.shape, leaf.dtype) for leaf in leaves]:
        raise UserError(f"the checkpoint is not of {plugin.lm.name}; start the plug-in's edit anew")
    return like(fresh, leaves)


def optimiser(training: Training, steps: int) -> optax.GradientTransformation:
    """Adam or Muon, with warm-up, a cosine and clipping where they are asked for."""
    peak = training.learning_rate
    rate = optax.warmup_cosine_decay_schedule(
        init_value=0.0 if training.warmup else peak,
        peak_value=peak,
        warmup_steps=training.warmup,
        decay_steps=max(steps, training.warmup + 1),
        end_value=peak * training.final_share,
    )
    clip = optax.identity() if training.clip is None else optax.clip_by_global_norm(training.clip)
    kinds = {"adam": optax.adam, "muon": partial(muon, adam_b1=0.9, adam_b2=0.95)}
    return optax.chain(clip, kinds[training.optimiser](rate))


def fit(
    plugin: Plugin,
    edits: Sequence[Fact],
    unrelated: Sequence[Unrelated],
    training: Training,
    state: State | None = None,
    *,
    replay: Sequence[Fact] = (),
    until: int | None = None,
    advance: Callable[[Progress], object] | None = None,
) -> tuple[State, Log]:
    """Trains on the edits, from the beginning or from where a state left off.

    Args:
        plugin: as it was before the first step.
        edits: to be made.
        unrelated: questions that no edit touches.
        training: settings; those that the state was made with.
        state: of an earlier call with the same arguments.
        replay: earlier edits to be kept; one whose question is asked anew is left out.
        until: the step after which to return; None trains to the end.
        advance: called after each step.

    Returns:
        The state, and by step of this call "generation" and "weight", the two losses [steps].

    Raises:
        UserError: there is nothing to train on, or a text is too long.
        FloatingPointError: a loss is not finite; the given state is still good.
    """
    known = {fact.question for fact in edits}
    batches = Batches.of(
        plugin, [*edits, *(f for f in replay if f.question not in known)], unrelated, training
    )
    steps = training.epochs * batches.epoch
    at = begin(plugin, training) if state is None else state
    found: list[tuple[float, float]] = []
    stop = steps if until is None else min(until, steps)
    with progress(f"training {plugin.lm.name}", steps, int(at.step), unit="steps") as told:
        for step in range(int(at.step), stop):
            if bool(at.done):
                break
            at, made = _step(
                at,
                _placed(batches.at(step), plugin.lm.mesh),
                config=plugin.lm.config,
                gate=plugin.gate,
                reading=plugin.reading,
                training=training,
                epoch=batches.epoch,
            )
            found.append((float(made.generation), float(made.weight)))
            if not np.isfinite(found[-1]).all():
                raise FloatingPointError(f"step {step + 1} of {steps}: the loss is not finite")
            told(1, f"L_gen {found[-1][0]:.3f}, L_weight {found[-1][1]:.3f}")
            if advance is not None:
                advance(Progress(step + 1, steps, *found[-1], at))
    log = np.asarray(found, np.float32).reshape(-1, 2)
    return at, {"generation": log[:, 0], "weight": log[:, 1]}


def _placed(rows: Rows, mesh: Mesh) -> Rows:
    """The rows split over the mesh's devices."""
    return put(rows, mesh, DATA)


@partial(jax.jit, static_argnames=("config", "gate", "reading", "training", "epoch"))
def _step(
    state: State,
    rows: Rows,
    *,
    config: ModelConfig,
    gate: int,
    reading: Reading,
    training: Training,
    epoch: int,
) -> tuple[State, Losses]:
    """One update of all parameters."""
    objective = partial(
        losses,
        config,
        rows=rows,
        gate=gate,
        reading=reading,
        weight=training.weight,
        mean=training.mean,
    )
    gradient, made = jax.grad(objective, has_aux=True)(state.params)
    change, moments = optimiser(training, training.epochs * epoch).update(
        gradient, state.moments, state.params
    )
    params = optax.apply_updates(state.params, change)
    step = state.step + 1
    last = jnp.stack([made.generation, made.weight]).astype(jnp.float32)
    sums = state.sums + last
    ended = step % epoch == 0
    done = jnp.asarray(False)
    if training.stop_below is not None:
        done = ended & (sums / epoch < training.stop_below).all()
    return State(params, moments, step, jnp.where(ended, 0, sums), last, done), made
