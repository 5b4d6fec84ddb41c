"""Post-processors of an update: RECT keeps its largest entries, PRUNE bends its largest directions.

Both are pure functions of a reference weight and a change of it, and editors around an editor.

RECT (Gu et al. 2024, "Model Editing Harms General Abilities"): of each update, the entries that
change their weight most in proportion are kept, the others dropped.

PRUNE (Ma et al. 2025, "Perturbation-Restrained Sequential Model Editing"): of the whole change
since the unedited model, singular values above the largest one of the unedited weight are bent
by a logarithm. Its slope there is 1 / (s_max ln base): for s_max < 1 / ln base the bent values
rise *faster* than before, close above s_max.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from jaxedit.data.fact import Fact
from jaxedit.editors import weights
from jaxedit.editors.editor import Editor, Log
from jaxedit.errors import UserError
from jaxedit.models.transformer import Transformer

TINY = 1e-8  # beside |W|, so that a weight of 0 has a finite change in proportion


def rect(reference: jax.Array, delta: jax.Array, keep: float) -> jax.Array:
    """The ceil(keep x size) entries of `delta` that are largest relative to |reference|."""
    return _rect(reference, delta, count=math.ceil(keep * delta.size))


@jax.jit(static_argnames="count")
def _rect(reference: jax.Array, delta: jax.Array, *, count: int) -> jax.Array:
    ratio = (jnp.abs(delta) / (jnp.abs(reference) + TINY)).reshape(-1)
    chosen = jnp.argsort(-ratio)[:count]
    kept = jnp.zeros(ratio.shape, bool).at[chosen].set(True).reshape(delta.shape)
    return jnp.where(kept, delta, 0)


def prune(reference: jax.Array, delta: jax.Array, base: float) -> jax.Array:
    """`delta` with each singular value s >= s_max as log_base(s / s_max) + s_max.

    Args:
      reference: the unedited weight, whose largest singular value is s_max.
      delta: the change, of the same shape, at least as many rows as columns or not.
      base: of the logarithm; the published ones are e, 2, 1.5 and 1.2.
    """
    with jax.enable_x64(True):
        wide = [jnp.asarray(x, jnp.float64) for x in (reference, delta)]
        return _prune(*wide, jnp.asarray(base, jnp.float64)).astype(delta.dtype)


@jax.jit
def _prune(reference: jax.Array, delta: jax.Array, base: jax.Array) -> jax.Array:
    if delta.shape[0] < delta.shape[1]:
        return _prune(reference.T, delta.T, base).T
    # Right singular vectors from the smaller Gram matrix: Delta V diag(f(s) / s) V^T.
    largest = jnp.sqrt(jnp.linalg.eigvalsh(reference.T @ reference)[-1])
    squares, vectors = jnp.linalg.eigh(delta.T @ delta)
    values = jnp.sqrt(jnp.maximum(squares, 0))
    bent = jnp.log(jnp.maximum(values / largest, 1)) / jnp.log(base) + largest
    factor = jnp.where(values >= largest, bent / jnp.maximum(values, largest), 1)
    return (delta @ vectors) * factor @ vectors.T


@dataclasses.dataclass(frozen=True)
class Around:
    """An editor with something done to what another one gives."""

    editor: Editor

    @property
    def layers(self) -> tuple[int, ...]:
        """The inner editor's."""
        return self.editor.layers

    @property
    def values_ahead(self) -> bool:
        """The inner editor's."""
        return self.editor.values_ahead

    def places(self, lm: Transformer) -> tuple[str, ...]:
        """The inner editor's."""
        return self.editor.places(lm)

    def init(self, lm: Transformer) -> Any:
        """The inner editor's."""
        return self.editor.init(lm)

    def prepare(self, lm: Transformer, facts: Sequence[Fact]) -> Any:
        """The inner editor's."""
        return self.editor.prepare(lm, facts)

    def edit(self, lm: Transformer, state: Any, prepared: Any) -> tuple[Any, Log]:
        """The inner editor's."""
        return self.editor.edit(lm, state, prepared)

    def bind(self, lm: Transformer, state: Any) -> Transformer:
        """The inner editor's."""
        return self.editor.bind(lm, state)

    def snapshot(self, state: Any) -> Any:
        """The inner editor's."""
        return self.editor.snapshot(state)

    def restore(self, lm: Transformer, tree: Any) -> Any:
        """The inner editor's."""
        return self.editor.restore(lm, tree)


@dataclasses.dataclass(frozen=True)
class Rect(Around):
    """RECT around a method that writes into its leaves update by update.

    Attributes:
      editor: the method.
      keep: share of the entries of each update that is kept; published as 0.4 and 0.2.
    """

    keep: float

    def init(self, lm: Transformer) -> Any:
        """The inner editor's.

        Raises:
          UserError: the method solves its whole history anew, so that it has no update to cut.
        """
        state = super().init(lm)
        if not hasattr(state, "leaves"):
            name = type(self.editor).__name__
            raise UserError(f"RECT cuts single updates, which {name} has not; leave rect out")
        return state

    def edit(self, lm: Transformer, state: Any, prepared: Any) -> tuple[Any, Log]:
        """The inner edit, cut."""
        after, log = super().edit(lm, state, prepared)
        kept = {
            name: old + rect(old, after.leaves[name] - old, self.keep)
            for name, old in state.leaves.items()
        }
        return after._replace(leaves=kept), log


@dataclasses.dataclass(frozen=True)
class Pruned(Around):
    """PRUNE around a method: the model that is used has the bent change, the edits go on without.

    Attributes:
      editor: the method.
      base: of the logarithm.
    """

    base: float

    def bind(self, lm: Transformer, state: Any) -> Transformer:
        """The unedited model plus the bent change; vectors (biases) as they are."""
        edited = super().bind(lm, state)
        names = self.places(lm)
        old, new = weights.leaves(lm, names), weights.leaves(edited, names)
        bent = {
            name: old[name] + prune(old[name], new[name] - old[name], self.base)
            for name in names
            if old[name].ndim == 2
        }
        return weights.with_leaves(edited, bent)
