"""AlphaEdit (Fang et al. 2025): updates inside the null space of what is to be preserved.

With U the eigenvectors of C whose eigenvalue is under a threshold, an update that has the form
Delta = X U^T leaves every preserved key nearly alone. On keys projected there, K' = U^T K,

    X = R K'^T (K' K'^T + M + L2 I)^-1,   M = sum of earlier K' K'^T

so that earlier edits are kept as D4S keeps them, but for keys only. The published code solves
the same equations on the whole width, unsymmetric and in float32. After an update its keys are
taken anew on the edited model, and these go into M.
"""

import dataclasses
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.editors import keys as walk
from jaxedit.editors import weights
from jaxedit.editors.least_squares import (
    Prior,
    Recursion,
    Sums,
    follow,
    no_sums,
    prior,
    refactor,
    solve_inverse,
)
from jaxedit.editors.locate import LocatedRows, LocateThenEdit, Solve
from jaxedit.editors.rows import KeyRows, context_weights
from jaxedit.errors import UserError
from jaxedit.models.transformer import Transformer


class AlphaState(NamedTuple):
    """Edited kernels, and what is remembered of the keys written so far.

    Attributes:
      leaves: the kernels by name.
      past: a layer each: M, and the inverse of M + L2 I, both of the null space's width.
      edits: facts edited so far.
    """

    leaves: dict[str, Any]
    past: tuple[Recursion, ...]
    edits: int


@dataclasses.dataclass(frozen=True)
class AlphaEdit(LocateThenEdit):
    """AlphaEdit, in batches of any size, one after another.

    Attributes:
      threshold: eigenvalues of C under this span the null space; one for all layers, or one each.
      ridge: L2, weight of the update's own norm.
    """

    moment_weight: float = 1.0  # not used: C enters by its null space alone
    threshold: float | tuple[float, ...] = 0.02
    ridge: float = 10.0

    @cached_property
    def bases(self) -> tuple[jax.Array, ...]:
        """U of each layer, [v, m] float64.

        Raises:
          UserError: C of a layer has no eigenvalue under the threshold.
        """
        bounds = np.broadcast_to(self.threshold, len(self.layers))
        return tuple(
            _null_space(self.statistics[layer], float(bound), layer)
            for layer, bound in zip(self.layers, bounds, strict=True)
        )

    @cached_property
    def ridges(self) -> tuple[Prior, ...]:
        """L2 I on each null space."""
        widths = [basis.shape[1] for basis in self.bases]
        return tuple(
            prior(np.eye(width), self.ridge, layer=layer)
            for layer, width in zip(self.layers, widths, strict=True)
        )

    def init(self, lm: Transformer) -> AlphaState:
        """The model's own kernels, and no keys."""
        plain = super().init(lm)
        past = [no_sums(0, basis.shape[1]) for basis in self.bases]
        return AlphaState(plain.leaves, self._refactored(past), 0)

    def solver(self, state: AlphaState) -> Solve:
        """Inside the null space, with the keys of earlier updates."""

        def solve(j: int, keys: np.ndarray, residuals: np.ndarray) -> jax.Array:
            return _solve(state.past[j].inverse, self.bases[j], keys, residuals)

        return solve

    def after(self, edited: Transformer, state: AlphaState, prepared: LocatedRows) -> AlphaState:
        """Takes the keys anew, on the edited model, and remembers them."""
        fresh = self.keys(edited, prepared.keys)
        past = []
        for j, keys in enumerate(fresh):
            with jax.enable_x64(True):
                inside = _project(self.bases[j], keys)  # [n, m]
            nothing = np.zeros((len(keys), 0))
            at = self.layers[j]
            past.append(follow(state.past[j], self.ridges[j], inside, nothing, layer=at))
        leaves = weights.leaves(edited, self.places(edited))
        return AlphaState(leaves, tuple(past), state.edits + len(prepared.keys.ids))

    def keys(self, now: Transformer, rows: KeyRows) -> list[np.ndarray]:
        """Keys of n facts at each layer, [n, v]."""
        averaging = context_weights(self.contexts)
        place = walk.begin(now, rows, self.layers[0])
        found = []
        for j, layer in enumerate(self.layers):
            if j:
                place = walk.advance(now, place, self.layers[j - 1], layer)
            found.append(np.asarray(walk.read(now, place, layer, averaging)))
        return found

    def snapshot(self, state: AlphaState) -> Any:
        """The edited kernels and the sums of keys."""
        past = {str(j): kept.sums.kk for j, kept in zip(self.layers, state.past, strict=True)}
        return {**super().snapshot(state), "past": past}

    def restore(self, lm: Transformer, tree: Any) -> AlphaState:
        """Kernels as they were kept; the sums are factored afresh."""
        kept = super().restore(lm, tree)
        with jax.enable_x64(True):
            keys = [jnp.asarray(tree["past"][str(j)]) for j in self.layers]
            past = [Sums(jnp.zeros((0, len(kk)), kk.dtype), kk) for kk in keys]
        return AlphaState(kept.leaves, self._refactored(past), kept.edits)

    def _refactored(self, past: list[Sums]) -> tuple[Recursion, ...]:
        each = zip(self.layers, past, self.ridges, strict=True)
        return tuple(refactor(sums, ridge, layer=layer) for layer, sums, ridge in each)


def _null_space(moment: np.ndarray, threshold: float, layer: int) -> jax.Array:
    """Eigenvectors of the symmetric C, [v, v], whose eigenvalue is under the threshold."""
    with jax.enable_x64(True):
        values, vectors = jnp.linalg.eigh(jnp.asarray(moment, jnp.float64))
        inside = int((values < threshold).sum())  # eigenvalues ascend
        if not inside:
            raise UserError(
                f"layer {layer}: no eigenvalue of the statistics is under the threshold "
                f"{threshold:g} (the smallest is {float(values[0]):.3g}); raise threshold"
            )
        return vectors[:, :inside]


@jax.jit
def _project(basis: jax.Array, keys: Any) -> jax.Array:
    return keys.astype(basis.dtype) @ basis


@jax.jit
def _solve(inverse: jax.Array, basis: jax.Array, keys: Any, residuals: Any) -> jax.Array:
    return solve_inverse(inverse, _project(basis, keys), residuals) @ basis.T
