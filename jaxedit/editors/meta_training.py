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

from jaxedit.checkpoints import Checkpoints
from jaxedit.data.fact import Fact
from jaxedit.editors.meta_checkpoints import Keep, Params, Point, State
from jaxedit.errors import UserError
from jaxedit.progress import progress

Numbers = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class MetaTraining:
    """How a method's network is trained.

    Attributes:
      steps: updates, at most.
      batch: records that one gradient is taken on.
      accumulate: gradients an update, averaged.
      learning_rate: of the optimiser, after the warm-up.
      warmup: steps of linear growth of the learning rate from zero.
      final_share: of the learning rate, left when a cosine has brought it down; 1 leaves it.
      clip: largest norm of a gradient; None takes any.
      validation: share of the records, the last ones, that are never trained on.
      validate_every: steps between two looks at them.
      patience: steps without improvement there after which training ends.
      seed: of the order, and of whatever is drawn.
    """

    steps: int = 1000
    batch: int = 1
    accumulate: int = 1
    learning_rate: float = 1e-4
    warmup: int = 0
    final_share: float = 1.0
    clip: float | None = 100.0
    validation: float = 0.1
    validate_every: int = 100
    patience: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what makes no sense.

        Raises:
          UserError: naming the setting.
        """
        for name in ("steps", "batch", "accumulate", "validate_every", "patience"):
            if getattr(self, name) < 1:
                raise UserError(f"training.{name} is {getattr(self, name)}; at least 1 is needed")
        if self.learning_rate <= 0:
            raise UserError(f"training.learning_rate is {self.learning_rate}; give one above 0")
        if not 0 <= self.validation < 1:
            raise UserError(f"training.validation is {self.validation}; give a share below 1")

    @property
    def rate(self) -> optax.Schedule:
        """The learning rate by step."""
        if not self.warmup and self.final_share == 1:
            return optax.constant_schedule(self.learning_rate)
        return optax.warmup_cosine_decay_schedule(
            init_value=0.0 if self.warmup else self.learning_rate,
            peak_value=self.learning_rate,
            warmup_steps=self.warmup,
            decay_steps=max(self.steps, self.warmup + 1),
            end_value=self.learning_rate * self.final_share,
        )


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
          FloatingPointError: a loss is not finite.
        """
        made = train(self.problem(lm, facts), self.training, directory=directory)
        return dataclasses.replace(self, trained=made.params)  # type: ignore[type-var]


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
      FloatingPointError: a loss is not finite; the last checkpoint is good.
    """
    learn, held = split(problem.records, training)
    say_cost(problem, training, len(learn), len(held))
    if directory is None:
        return _trained(problem, training, learn, held, None, until)
    with Checkpoints(directory, keep=1) as checkpoints:
        kept = Keep(checkpoints, directory, problem.title, owner)
        return _trained(problem, training, learn, held, kept, until)


def split(records: int, training: MetaTraining) -> tuple[np.ndarray, np.ndarray]:
    """Places of the records that are trained on, and of those kept apart: the last ones.

    Raises:
      UserError: there are too few records.
    """
    kept = round(records * training.validation)
    if training.validation and not kept:
        kept = 1
    if records - kept < training.batch:
        raise UserError(
            f"{records} training records are too few for batches of {training.batch}; "
            "give more, or a smaller training.batch"
        )
    return np.arange(records - kept), np.arange(records - kept, records)


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


def chosen(learn: np.ndarray, training: MetaTraining, call: int) -> np.ndarray:
    """Places of the records of the gradient number `call`: a new order every round, [batch]."""
    first = call * training.batch
    rounds, places = np.divmod(np.arange(first, first + training.batch), len(learn))
    orders = {
        turn: np.random.default_rng((training.seed, 0, turn)).permutation(len(learn))
        for turn in np.unique(rounds)
    }
    return np.asarray([learn[orders[turn][at]] for turn, at in zip(rounds, places, strict=True)])


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
    state = state if keep is None else keep.restored(state)
    end = training.steps if until is None else min(until, training.steps)
    found: list[float] = []
    with progress(f"training {problem.title}", training.steps, state.step, unit="steps") as advance:
        while state.step < end and not _ended(state, training):
            gradient, numbers = _gradient(problem, training, learn, state)
            found.append(float(numbers["loss"]))
            if not np.isfinite(found[-1]):
                raise FloatingPointError(
                    f"{problem.title}: the loss is not finite at step {state.step + 1} of "
                    f"{training.steps}; try a smaller training.learning_rate"
                )
            params, moments = update(gradient, state.moments, state.params)
            state = state._replace(params=params, moments=moments, step=state.step + 1)
            state = _validated(problem, training, held, state)
            advance(1, f"loss {found[-1]:.3f}")
            if keep is not None:
                keep.now_and_then(state)
    if keep is not None:
        keep.save(state)
    best = state.best if state.points else state.params
    return Result(best, state.step, state.points, np.asarray(found, np.float32))


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
