"""The state of what is trained once, and how it is kept."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax

from jaxedit.partway import Kept, like
from jaxedit.sharding import fetch

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


def packed(state: State) -> dict[str, Any]:
    """The state for a checkpoint; its step is the checkpoint's."""
    tree = {
        "params": jax.tree.leaves(state.params),
        "moments": jax.tree.leaves(state.moments),
        "best": jax.tree.leaves(state.best),
    }
    points = [[point.step, dict(point.numbers)] for point in state.points]
    return {**fetch(tree), "points": points}


def unpacked(fresh: State, kept: Kept) -> State:
    """What was packed, on the devices of a fresh state."""
    return State(
        like(fresh.params, kept.tree["params"]),
        like(fresh.moments, kept.tree["moments"]),
        like(fresh.params, kept.tree["best"]),
        tuple(Point(*point) for point in kept.tree["points"]),
        kept.step,
    )
