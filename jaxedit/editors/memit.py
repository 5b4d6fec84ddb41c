"""MEMIT (Meng et al. 2022b, "Mass-Editing Memory in a Transformer").

One update edits a batch of n facts over several layers L_1 .. L_m. The values z_i are optimised
at block L_m; then, from the lowest layer to the highest, on the model as edited so far,

    Delta_j = R_j K_j^T (lambda C_j + K_j K_j^T)^-1,   R_j = (Z - H) / (m - j + 1)

with H the current hidden state at L_m. Applied again and again it is the sequential MEMIT that
D4S is compared with: values and keys are then taken on the model that earlier updates left.
"""

import dataclasses
from typing import Any

import jax

from jaxedit.editors.least_squares import solve_batch
from jaxedit.editors.locate import LocateThenEdit, Solve


@dataclasses.dataclass(frozen=True)
class Memit(LocateThenEdit):
    """MEMIT, in batches of any size, one after another."""

    def solver(self, state: Any) -> Solve:
        """R K^T (lambda C + K K^T)^-1."""
        return lambda j, keys, residuals: _solve(self.priors[j], keys, residuals)


_solve = jax.jit(solve_batch)
