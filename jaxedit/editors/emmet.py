"""EMMET (Gupta et al. 2024, "A Unified Framework for Model Editing"): ROME for batches.

Where MEMIT weighs new keys against old ones, EMMET takes the new ones as equations
Delta k_i = r_i and of all solutions the one that moves old keys least:

    Delta = R (K^T B^-1 K + mu I)^-1 K^T B^-1,   B = lambda C + nu I

mu = `slack` is 0 for a single fact. For a batch its published value is 0.1; the update is then
MEMIT's with 0.1 x B in place of B, so that the two objectives differ by lambda alone.
"""

import dataclasses
from functools import cached_property
from typing import Any

import jax
import numpy as np

from jaxedit.editors.least_squares import Prior, prior, solve_batch, solve_equalities
from jaxedit.editors.locate import LocateThenEdit, Solve


@dataclasses.dataclass(frozen=True)
class Emmet(LocateThenEdit):
    """EMMET, in batches of any size, one after another.

    Attributes:
      slack: mu, how much the equations of a batch may give way (emmet_lambda); 0 exact.
      norm_weight: nu, weight of the update's own norm (update_norm_lambda).
    """

    slack: float = 0.1
    norm_weight: float = 0.0

    @cached_property
    def priors(self) -> tuple[Prior, ...]:
        """lambda C + nu I of each layer, factored at the first use."""
        found = []
        for j in self.layers:
            moment = np.asarray(self.statistics[j], np.float64)
            whole = self.moment_weight * moment + self.norm_weight * np.eye(len(moment))
            found.append(prior(whole, 1.0, layer=j))
        return tuple(found)

    def solver(self, state: Any) -> Solve:
        """R (K^T B^-1 K + mu I)^-1 K^T B^-1."""
        return self._solve

    def _solve(self, j: int, keys: np.ndarray, residuals: np.ndarray) -> jax.Array:
        if len(keys) > 1 and self.slack:
            return _solve(self.priors[j], keys, residuals, self.slack)
        found = solve_equalities(self.priors[j], keys, keys, residuals, layer=self.layers[j])
        return found.left @ found.right.T


@jax.jit
def _solve(before: Prior, keys: Any, residuals: Any, slack: Any) -> jax.Array:
    return solve_batch(before, keys, residuals, slack=slack)
