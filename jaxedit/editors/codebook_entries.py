"""The entries of a codebook as a value that grows: arrays with a capacity that doubles, a count."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.editors.codebook import nearest
from jaxedit.sharding import Mesh, replicate


class Entries(NamedTuple):
    """C entries of which the first `count` are there.

    Attributes:
      keys: [C, F], on the mesh.
      values: [C, D], on the mesh.
      radii: [C], on the mesh.
      labels: tokens of each target, [C, P] int32, -1 behind its end.
      prompts: tokens of each key's prompt, [C, T] int32, likewise.
      count: entries that are there.
    """

    keys: Any
    values: Any
    radii: Any
    labels: np.ndarray
    prompts: np.ndarray
    count: int

    @classmethod
    def none(cls, inputs: int, outputs: int, dtype: Any) -> "Entries":
        """No entry, and no room for one."""
        nothing = np.zeros((0, 0), np.int32)
        keys, values = np.zeros((0, inputs), dtype), np.zeros((0, outputs), dtype)
        return cls(keys, values, np.zeros(0, dtype), nothing, nothing, 0)

    def label(self, entry: int) -> np.ndarray:
        """Tokens of an entry's target."""
        return _without_fill(self.labels[entry])

    def prompt(self, entry: int) -> np.ndarray:
        """Tokens of the prompt of an entry's key."""
        return _without_fill(self.prompts[entry])

    def with_room(self, capacity: int, mesh: Mesh) -> "Entries":
        """Room for at least one more: `capacity`, doubled as often as need be."""
        while capacity <= self.count:
            capacity *= 2
        floats = [_roomy(np.asarray(x), capacity, 0) for x in (self.keys, self.values, self.radii)]
        keys, values, radii = replicate(floats, mesh)
        labels, prompts = (_roomy(table, capacity, -1) for table in (self.labels, self.prompts))
        return Entries(keys, values, radii, labels, prompts, self.count)

    def trimmed(self) -> dict[str, Any]:
        """The entries that are there, for a checkpoint; ``Entries(**trimmed)`` has no room."""
        whole = {name: np.asarray(x) for name, x in self._asdict().items()}
        return {name: x[: self.count] if x.ndim else x for name, x in whole.items()}

    def find(self, query: np.ndarray) -> "Found":
        """The entry nearest to a query [F]; infinitely far if there is none."""
        count = np.asarray(self.count, np.int32)
        return jax.device_get(_find(self.keys, self.values, self.radii, count, query))

    def written(
        self,
        at: int,
        value: np.ndarray,
        radius: float,
        *,
        key: np.ndarray | None = None,
        narrowed: tuple[int, float] | None = None,
    ) -> "Entries":
        """With the value and the radius of an entry, which is new if it comes with a key.

        Args:
          at: which; a new one comes behind the others, where there must be room.
          value: [D].
          radius: how far it reaches.
          key: of a new entry, [F].
          narrowed: another entry, and the radius that it has from now on.
        """
        other, its_radius = (at, radius) if narrowed is None else narrowed
        keys, values, radii = _written(
            (self.keys, self.values, self.radii),
            np.asarray([at, other], np.int32),
            np.asarray([radius, its_radius], np.float32),
            np.zeros(self.keys.shape[1], np.float32) if key is None else key,
            value,
            np.asarray(key is not None),
        )
        count = max(self.count, at + 1)
        return Entries(keys, values, radii, self.labels, self.prompts, count)

    def named(self, at: int, prompt: np.ndarray, label: np.ndarray) -> "Entries":
        """With the tokens of an entry."""
        labels, prompts = _row_set(self.labels, at, label), _row_set(self.prompts, at, prompt)
        return self._replace(labels=labels, prompts=prompts)


class Found(NamedTuple):
    """The entry nearest to a query."""

    entry: Any  # []
    distance: Any  # []
    radius: Any  # []
    value: Any  # [D]


def _without_fill(tokens: np.ndarray) -> np.ndarray:
    return tokens[tokens >= 0]


def _row_set(table: np.ndarray, at: int, tokens: np.ndarray) -> np.ndarray:
    """A copy with another row, and with columns for all of it."""
    width = max(table.shape[1], len(tokens))
    wider = np.pad(table, ((0, 0), (0, width - table.shape[1])), constant_values=-1)
    wider[at] = np.pad(tokens, (0, width - len(tokens)), constant_values=-1)
    return wider


def _roomy(x: np.ndarray, rows: int, fill: int) -> np.ndarray:
    """So many rows."""
    there = x[:rows]
    free = ((0, rows - len(there)), *((0, 0) for _ in x.shape[1:]))
    return np.pad(there, free, constant_values=fill)


@jax.jit
def _find(
    keys: jax.Array, values: jax.Array, radii: jax.Array, count: jax.Array, query: jax.Array
) -> Found:
    (entry,), (distance,) = nearest(keys, count, query[None])
    return Found(entry, distance, radii[entry], values[entry])


@jax.jit
def _written(
    floats: tuple[jax.Array, jax.Array, jax.Array],
    entries: jax.Array,
    new_radii: jax.Array,
    key: jax.Array,
    value: jax.Array,
    is_new: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    keys, values, radii = floats
    at = entries[0]
    key = jnp.where(is_new, key.astype(keys.dtype), keys[at])
    radii = radii.at[entries[1]].set(new_radii[1]).at[at].set(new_radii[0])
    return keys.at[at].set(key), values.at[at].set(value.astype(values.dtype)), radii
