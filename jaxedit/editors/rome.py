"""ROME (Meng et al. 2022a, "Locating and Editing Factual Associations in GPT") and R-ROME.

One layer. The value v* is optimised at the output of its MLP; the update is the smallest, in
the metric of C, that maps the key of the fact to it (equation 2):

    Delta = (v* - W k) u^T / (k^T u),   u = C^-1 k' / |C^-1 k'|

As published, k' is the mean of the keys behind all prefix templates, and k the key of the bare
prompt: the equation holds at k, but the direction is another's, and where the two point apart
the quotient explodes. R-ROME (Gupta et al. 2024, "Rebuilding ROME") takes the mean for both,
and the mean of the values there.

Several facts in one update are solved together, with all their equations at once; one after
another they are ROME's own sequence.
"""

import dataclasses
from typing import Any, ClassVar

import jax
import numpy as np

from jaxedit.editors import keys as walk
from jaxedit.editors.editor import Factors
from jaxedit.editors.least_squares import Rank, solve_equalities
from jaxedit.editors.locate import LocateThenEdit
from jaxedit.editors.rows import KeyRows, context_weights
from jaxedit.editors.values import MLP_OUT, Sites, Values
from jaxedit.editors.weights import add_delta, check_layers, kernel
from jaxedit.errors import UserError
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import fetch


@dataclasses.dataclass(frozen=True)
class Rome(LocateThenEdit):
    """ROME, as published."""

    moment_weight: float = 1.0  # cancels

    sites: ClassVar[Sites] = (MLP_OUT,)

    def init(self, lm: Transformer) -> Any:
        """The model's own kernel.

        Raises:
          UserError: not exactly one layer.
        """
        check_layers(lm, self.layers)
        if len(self.layers) != 1:
            raise UserError(f"ROME edits one layer, not {list(self.layers)}; set layers to one")
        return super().init(lm)

    def update(
        self, now: Transformer, state: Any, rows: KeyRows, values: Values
    ) -> tuple[Transformer, Factors]:
        """Writes the values into the layer of `now`."""
        rank, factors = self.rank(now, rows, values)
        with jax.enable_x64(True):
            delta = rank.left @ rank.right.T
        return add_delta(now, self.layers[0], delta), factors

    def rank(self, now: Transformer, rows: KeyRows, values: Values) -> tuple[Rank, Factors]:
        """The update as the product of its left and right vectors."""
        layer = self.layers[0]
        weights = context_weights(self.contexts)
        each = walk.read_each(now, walk.begin(now, rows, layer), layer)  # [n, N, v]
        mean = np.asarray(walk.average(each, weights), np.float64)  # [n, v]
        plain = np.asarray(each, np.float64)[:, 0]  # [n, v]
        keys, residuals = self.equations(now, mean, plain, np.asarray(values.delta[:, 0]))
        rank = solve_equalities(self.priors[0], mean, keys, residuals, layer=layer)
        return rank, Factors((keys,), (residuals,))

    def equations(
        self, now: Transformer, mean: np.ndarray, plain: np.ndarray, delta: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Keys [n, v] and what each must add there [n, D]: v* - W k = delta at the bare prompt."""
        return plain, delta


@dataclasses.dataclass(frozen=True)
class RRome(Rome):
    """ROME with the mean key on both sides."""

    def equations(
        self, now: Transformer, mean: np.ndarray, plain: np.ndarray, delta: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """The mean key, and v* less the mean value there."""
        already = (mean - plain) @ fetch(kernel(now, self.layers[0])).astype(np.float64)
        return mean, delta - already
