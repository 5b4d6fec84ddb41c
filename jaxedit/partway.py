"""How far a training is, kept now and then, so that a killed one goes on with the same numbers.

The state is whatever the training hands from step to step, with a `step` of its own; how it becomes
arrays and what else goes with them is the training's business.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from jaxedit import hosts
from jaxedit.checkpoints import Checkpoints, Meta, check_owner

SECONDS_BETWEEN_SAVES = 60.0
SAVING_SHARE = 10  # a training computes at least so many times as long as it writes
DIGITS = 16  # of an owner, in a directory's name


class Kept(NamedTuple):
    """A state as it was packed, and the steps made by then."""

    tree: Any
    step: int


@dataclasses.dataclass
class Keep:
    """The checkpoints of one training.

    Attributes:
      checkpoints: open.
      directory: where they are.
      title: of what is trained.
      owner: a hash of all that the numbers depend on.
      pack: a state -> a nest of dicts, lists and tuples of host arrays.
    """

    checkpoints: Checkpoints
    directory: Path
    title: str
    owner: str
    pack: Callable[[Any], Any]
    _seen: Any = dataclasses.field(default=None, init=False)
    _saved: int | None = dataclasses.field(default=None, init=False)
    _last: float = dataclasses.field(default_factory=time.monotonic, init=False)
    _wait: float = dataclasses.field(default_factory=lambda: SECONDS_BETWEEN_SAVES, init=False)

    def now_and_then(self, state: Any) -> None:
        """To be called after each step: writes a checkpoint if the last one is some time ago."""
        self._seen, begun = state, time.monotonic()
        if not hosts.agreed(begun - self._last >= self._wait):
            return
        self.save()
        self._last = time.monotonic()
        self._wait = max(SECONDS_BETWEEN_SAVES, SAVING_SHARE * (self._last - begun))

    def save(self) -> None:
        """Writes a checkpoint of the last step, unless it is there."""
        if self._seen is None or int(self._seen.step) == self._saved:
            return
        self._saved = int(self._seen.step)
        self.checkpoints.save(self.pack(self._seen), self._meta(self._saved))

    def restored(self) -> Kept | None:
        """The last checkpoint; None if there is none.

        Raises:
          UserError: the directory holds another training.
        """
        found = self.checkpoints.restore()
        if found is None:
            return None
        self._saved = found.meta.step
        check_owner(found.meta, self._meta(self._saved), self.directory)
        logging.info("%s: going on after %d steps", self.title, self._saved)
        return Kept(found.state, self._saved)

    def _meta(self, step: int) -> Meta:
        return Meta(step, self.title, "", self.owner, (), "")


@contextmanager
def keeping(directory: Path, title: str, owner: str, pack: Callable[[Any], Any]) -> Iterator[Keep]:
    """The checkpoints in a directory, of which the last one stays; an interrupt makes one more."""
    with Checkpoints(directory, keep=1) as checkpoints:
        keep = Keep(checkpoints, directory, title, owner, pack)
        try:
            yield keep
        except KeyboardInterrupt:
            keep.save()
            raise


def own_directory(directory: Path, owner: str) -> Path:
    """Where a training keeps its state among others; theirs is removed, as they are over."""
    own = directory / owner[:DIGITS]
    if hosts.first():
        for other in directory.glob("*"):
            if other != own:
                shutil.rmtree(other, ignore_errors=True)
    return own


def like(fresh: Any, kept: Sequence[np.ndarray]) -> Any:
    """Kept leaves in a fresh tree's shape, dtypes, and on its devices."""
    leaves, shape = jax.tree.flatten(fresh)
    return jax.tree.unflatten(shape, [_placed(a, b) for a, b in zip(kept, leaves, strict=True)])


def _placed(kept: np.ndarray, like: Any) -> jax.Array:
    array = jnp.asarray(kept, like.dtype)
    return jax.device_put(array, like.sharding) if isinstance(like, jax.Array) else array
