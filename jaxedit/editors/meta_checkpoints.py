"""How far a training is: its state, kept so that a killed one goes on with the same numbers."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from jaxedit.checkpoints import Checkpoints, Meta, check_owner
from jaxedit.sharding import fetch

SECONDS_BETWEEN_SAVES = 60.0
SAVING_SHARE = 10  # a training computes at least so many times as long as it writes

Params = Any


class Point(NamedTuple):
    """What a look at the records kept apart found."""

    step: int
    numbers: dict[str, float]


class State(NamedTuple):
    """What a step of training leaves to the next.

    Attributes:
      params: what is trained.
      moments: the optimiser's state.
      best: the parameters that did best on the records kept apart.
      points: every look at them, in order.
      step: steps made.
    """

    params: Params
    moments: Any
    best: Params
    points: tuple[Point, ...]
    step: int


@dataclasses.dataclass
class Keep:
    """The checkpoints of one training.

    Attributes:
      checkpoints: open.
      directory: where they are.
      title: of what is trained.
      owner: a hash of all that the numbers depend on.
    """

    checkpoints: Checkpoints
    directory: Path
    title: str
    owner: str
    _last: float = dataclasses.field(default_factory=time.monotonic, init=False)
    _wait: float = dataclasses.field(default_factory=lambda: SECONDS_BETWEEN_SAVES, init=False)

    def now_and_then(self, state: State) -> None:
        """Writes a checkpoint if the last one is some time ago."""
        begun = time.monotonic()
        if begun - self._last < self._wait:
            return
        self.save(state)
        self._last = time.monotonic()
        self._wait = max(SECONDS_BETWEEN_SAVES, SAVING_SHARE * (self._last - begun))

    def save(self, state: State) -> None:
        """Writes a checkpoint, unless it is there."""
        if state.step in self.checkpoints.steps:
            return
        tree = {
            "params": jax.tree.leaves(state.params),
            "moments": jax.tree.leaves(state.moments),
            "best": jax.tree.leaves(state.best),
        }
        points = [[point.step, dict(point.numbers)] for point in state.points]
        whole = {**fetch(tree), "points": points}
        self.checkpoints.save(whole, self._meta(state.step))

    def restored(self, fresh: State) -> State:
        """The state of the last checkpoint; the fresh one if there is none.

        Raises:
          UserError: the directory holds another training.
        """
        kept = self.checkpoints.restore()
        if kept is None:
            return fresh
        step = kept.meta.step
        check_owner(kept.meta, self._meta(step), self.directory)
        logging.info("%s: going on after %d steps", self.title, step)
        points = tuple(Point(*point) for point in kept.state["points"])
        return State(
            _like(fresh.params, kept.state["params"]),
            _like(fresh.moments, kept.state["moments"]),
            _like(fresh.params, kept.state["best"]),
            points,
            step,
        )

    def _meta(self, step: int) -> Meta:
        return Meta(step, self.title, "", self.owner, (), "")


def _like(fresh: Any, kept: list[np.ndarray]) -> Any:
    """Kept leaves in a fresh tree's shape, dtypes, and on its devices."""
    leaves, shape = jax.tree.flatten(fresh)
    return jax.tree.unflatten(shape, [_placed(a, b) for a, b in zip(kept, leaves, strict=True)])


def _placed(kept: np.ndarray, like: Any) -> jax.Array:
    array = jnp.asarray(kept, like.dtype)
    return jax.device_put(array, like.sharding) if isinstance(like, jax.Array) else array
