"""Training what a method trains once, before any edit: MEND's and MALMEN's networks, SERAC's parts.

A method states a `Problem`: what is trained, and its gradient on some of the records. The loop here
is the same for all: batches in an order that follows from seed and step alone, clipping, the
method's optimiser, a look at records kept apart every so often, and an end when those have not
improved for long. What is returned did best on them. A training that is killed goes on from its
last checkpoint and ends with the same numbers (on a CPU, bit for bit).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, Self

import jax
import numpy as np
import optax
from absl import logging

from jaxedit.data.fact import Fact
from jaxedit.editors.meta_batches import MetaTraining, chosen, split
from jaxedit.editors.meta_checkpoints import Params, Point, State, packed, unpacked
from jaxedit.errors import NotFinite
from jaxedit.partway import Keep, keeping
from jaxedit.progress import progress
from jaxedit.sharding import replicate

Numbers = Mapping[str, Any]

__all__ = ["MetaTraining", "Problem", "Result", "TrainedOnce", "split", "train"]


class Problem(NamedTuple):
    """What is trained, on n records.

    Attributes:
      title: what messages call it.
      initial: the parameters before the first step, a pytree of floats.
      optimiser: of an update, after clipping.
      gradient: (parameters, places [batch] of records, generator for all that is drawn) -> the
        gradient, and scalars for the log, "loss" among them.
      losses: the same without the gradient, for validation; it must not need to be told apart
        from training, so nothing is dropped out there.
      records: n.
      operations: floating-point operations of one call of `gradient`, roughly.
    """

    title: str
    initial: Params
    optimiser: optax.GradientTransformation
    gradient: Callable[[Params, np.ndarray, np.random.Generator], tuple[Params, Numbers]]
    losses: Callable[[Params, np.ndarray, np.random.Generator], Numbers]
    records: int
    operations: float


class Result(NamedTuple):
    """What training gave.

    Attributes:
      params: those that did best on the records kept apart.
      steps: made.
      points: every look at them, in order.
      losses: of each step of this call.
    """

    params: Params
    steps: int
    points: tuple[Point, ...]
    losses: np.ndarray


class TrainedOnce:
    """An editor with a `training`, a `trained` (None before) and a `problem(lm, facts)`."""

    training: MetaTraining
    trained: Any

    def problem(self, lm: Any, facts: Sequence[Fact]) -> Problem:
        """What is trained on these records."""
        raise NotImplementedError

    def fit(self, lm: Any, facts: Sequence[Fact], directory: Path | None = None) -> Self:
        """The editor with what it trains on `facts`; checkpoints go to `directory`, if any.

        Raises:
          UserError: there are too few facts.
          NotFinite: a loss is not; the last checkpoint is good.
        """
        made = train(self.problem(lm, facts), self.training, directory=directory)
        return dataclasses.replace(self, trained=made.params)  # type: ignore[type-var]

    def trained_by(self) -> dict[str, Any]:
        """The settings that what is trained depends on: all, unless a method knows better."""
        own = dataclasses.fields(self)  # type: ignore[arg-type]
        return {field.name: getattr(self, field.name) for field in own if field.name != "trained"}

    def pack(self, trained: Any) -> Any:
        """As a nest of dicts, lists and tuples of arrays, to be kept."""
        return trained

    def unpack(self, lm: Any, tree: Any) -> Any:
        """From what `pack` made, on the model's devices."""
        return replicate(tree, lm.mesh)


def train(
    problem: Problem,
    training: MetaTraining,
    *,
    directory: Path | None = None,
    owner: str = "",
    until: int | None = None,
) -> Result:
    """Trains to the end, from the beginning or from the last checkpoint in `directory`.

    Args:
      problem: what is trained.
      training: how.
      directory: where checkpoints are kept; None keeps none.
      owner: what the checkpoints must be of: a hash of all that the numbers depend on.
      until: the step after which to return; None trains to the end.

    Raises:
      UserError: there are too few records, or the directory holds another training.
      NotFinite: a loss is not; the last checkpoint is good.
    """
    learn, held = split(problem.records, training)
    say_cost(problem, training, len(learn), len(held))
    if directory is None:
        return _trained(problem, training, learn, held, None, until)
    with keeping(directory, problem.title, owner, packed) as keep:
        return _trained(problem, training, learn, held, keep, until)


def say_cost(problem: Problem, training: MetaTraining, learn: int, held: int) -> None:
    """Says what training will take before it starts."""
    size = sum(np.size(leaf) for leaf in jax.tree.leaves(problem.initial))
    calls = training.steps * training.accumulate
    logging.info(
        "%s: %s parameters, trained once on %d records (%d more are kept apart): at most %d steps "
        "of %d, about %.1e floating-point operations",
        problem.title,
        f"{size:,}",
        learn,
        held,
        training.steps,
        training.accumulate * training.batch,
        calls * problem.operations,
    )


def _trained(
    problem: Problem,
    training: MetaTraining,
    learn: np.ndarray,
    held: np.ndarray,
    keep: Keep | None,
    until: int | None,
) -> Result:
    clip = optax.identity() if training.clip is None else optax.clip_by_global_norm(training.clip)
    optimiser = optax.chain(clip, problem.optimiser)
    update = jax.jit(partial(_moved, optimiser))
    first = problem.initial
    state = State(first, optimiser.init(first), first, (), 0)
    kept = None if keep is None else keep.restored()
    state = state if kept is None else unpacked(state, kept)
    end = training.steps if until is None else min(until, training.steps)
    found: list[float] = []
    title = f"training {problem.title}"
    with progress(title, training.steps, state.step, unit="steps") as advance:
        while state.step < end and not _ended(state, training):
            gradient, numbers = _gradient(problem, training, learn, state)
            found.append(_finite(numbers, problem, training, state))
            params, moments = update(gradient, state.moments, state.params)
            state = state._replace(params=params, moments=moments, step=state.step + 1)
            state = _validated(problem, training, held, state)
            advance(1, f"loss {found[-1]:.3f}")
            if keep is not None:
                keep.now_and_then(state)
    if keep is not None:
        keep.save()
    best = state.best if state.points else state.params
    return Result(best, state.step, state.points, np.asarray(found, np.float32))


def _finite(numbers: Numbers, problem: Problem, training: MetaTraining, state: State) -> float:
    """The loss."""
    loss = float(numbers["loss"])
    if not np.isfinite(loss):
        raise NotFinite(
            f"{problem.title}: the loss is not finite at step {state.step + 1} of "
            f"{training.steps}; try a smaller training.learning_rate"
        )
    return loss


def _moved(optimiser: Any, gradient: Any, moments: Any, params: Any) -> tuple[Any, Any]:
    change, moments = optimiser.update(gradient, moments, params)
    return optax.apply_updates(params, change), moments


def _gradient(
    problem: Problem, training: MetaTraining, learn: np.ndarray, state: State
) -> tuple[Params, dict[str, Any]]:
    """The mean gradient of a step's batches, and the means of what they say."""
    parts = []
    for part in range(training.accumulate):
        call = state.step * training.accumulate + part
        rng = np.random.default_rng((training.seed, 1, call))
        parts.append(problem.gradient(state.params, chosen(learn, training, call), rng))
    if len(parts) == 1:
        return parts[0][0], dict(parts[0][1])
    return _mean(*(gradient for gradient, _ in parts)), _mean(*(dict(said) for _, said in parts))


@jax.jit
def _mean(*trees: Any) -> Any:
    return jax.tree.map(lambda *leaves: sum(leaves[1:], leaves[0]) / len(leaves), *trees)


def _validated(problem: Problem, training: MetaTraining, held: np.ndarray, state: State) -> State:
    """The state with what the records kept apart say, if it is time to ask them."""
    due = state.step % training.validate_every == 0 or state.step == training.steps
    if not due or not len(held):
        return state
    rng = np.random.default_rng((training.seed, 2))  # the same questions every time
    parts = []
    for start in range(0, len(held), training.batch):
        places = held[start : start + training.batch]
        filled = np.resize(places, training.batch)  # repeated, so that no shape is compiled anew
        parts.append(problem.losses(state.params, filled, rng))
    numbers = {name: float(np.mean([float(p[name]) for p in parts])) for name in parts[0]}
    listed = ", ".join(f"{name} {value:.4f}" for name, value in numbers.items())
    logging.info("%s: step %d, validation: %s", problem.title, state.step, listed)
    better = numbers["loss"] < min((p.numbers["loss"] for p in state.points), default=np.inf)
    points = (*state.points, Point(state.step, numbers))
    return state._replace(points=points, best=state.params if better else state.best)


def _ended(state: State, training: MetaTraining) -> bool:
    """Whether nothing has improved for too long."""
    if not state.points:
        return False
    best = min(state.points, key=lambda point: point.numbers["loss"])
    return state.points[-1].step - best.step >= training.patience
