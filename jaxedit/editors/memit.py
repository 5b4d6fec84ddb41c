"""MEMIT (Meng et al. 2022b, "Mass-Editing Memory in a Transformer").

One update edits a batch of n facts over several layers L_1 .. L_m. The values z_i are optimised
at block L_m; then, from the lowest layer to the highest, on the model as edited so far,

    Delta_j = R_j K_j^T (lambda C_j + K_j K_j^T)^-1,   R_j = (Z - H) / (m - j + 1)

with H the current hidden state at L_m. Applied again and again it is the sequential MEMIT that
D4S is compared with: values and keys are then taken on the model that earlier updates left.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxedit.data.fact import Fact
from jaxedit.editors import keys as walk
from jaxedit.editors.editor import Factors, Log, check_finite, value_log
from jaxedit.editors.least_squares import Prior, prior, solve_batch
from jaxedit.editors.rows import (
    Contexts,
    KeyRows,
    ValueRows,
    context_weights,
    key_rows,
    value_rows,
)
from jaxedit.editors.values import ValueSettings, optimise_values
from jaxedit.editors.weights import add_delta, check_layers, kernel, with_kernels
from jaxedit.models.transformer import Transformer


class MemitState(NamedTuple):
    """The edited kernels, one a layer, [v, u], and the number of facts in them."""

    kernels: tuple[Any, ...]
    edits: int


class MemitRows(NamedTuple):
    """Tokens of n facts: nothing else is independent of the edits before."""

    values: ValueRows
    keys: KeyRows


@dataclasses.dataclass(frozen=True)
class Memit:
    """MEMIT, in batches of any size, one after another.

    Attributes:
      layers: edited layers, ascending; values are optimised at the last.
      statistics: uncentred second moment C of the keys for each layer, [v, v].
      contexts: prefix templates, the plain one first.
      moment_weight: lambda, the number of preserved keys that C stands for.
      values: hyper-parameters of the values.
      legacy_targets: encode targets as the published code does.
    """

    layers: tuple[int, ...]
    statistics: Mapping[int, np.ndarray]
    contexts: Contexts
    moment_weight: float = 15_000.0
    values: ValueSettings = dataclasses.field(default_factory=ValueSettings)
    legacy_targets: bool = False
    values_ahead: bool = dataclasses.field(default=False, init=False)

    @cached_property
    def priors(self) -> tuple[Prior, ...]:
        """lambda C of each layer, factored at the first use."""
        return tuple(prior(self.statistics[j], self.moment_weight, layer=j) for j in self.layers)

    def init(self, lm: Transformer) -> MemitState:
        """The model's own kernels."""
        check_layers(lm, self.layers)
        return MemitState(tuple(kernel(lm, layer) for layer in self.layers), 0)

    def prepare(self, lm: Transformer, facts: Sequence[Fact]) -> MemitRows:
        """Tokenises the facts."""
        return MemitRows(
            value_rows(lm.tokenizer, facts, self.contexts, legacy_targets=self.legacy_targets),
            key_rows(lm.tokenizer, facts, self.contexts),
        )

    def edit(
        self, lm: Transformer, state: MemitState, prepared: MemitRows
    ) -> tuple[MemitState, Log]:
        """One MEMIT update with all the facts of `prepared`, on top of `state`."""
        now = self.bind(lm, state)
        values = optimise_values(now, prepared.values, self.layers[-1], self.values)
        log = value_log(values)
        check_finite(log)
        target = np.asarray(values.initial + values.delta)  # z, [n, D]
        edited, _ = self.update(now, prepared.keys, target)
        kernels = tuple(kernel(edited, layer) for layer in self.layers)
        return MemitState(kernels, state.edits + len(target)), log

    def update(
        self, now: Transformer, rows: KeyRows, target: np.ndarray
    ) -> tuple[Transformer, Factors]:
        """Writes the values `target`, [n, D], into the layers of `now`, one after another."""
        weights = context_weights(self.contexts)
        place = walk.begin(now, rows, self.layers[0])
        keys, residuals = [], []
        for j, (layer, before) in enumerate(zip(self.layers, self.priors, strict=True)):
            if j:
                place = walk.advance(now, place, self.layers[j - 1], layer)
            keys.append(np.asarray(walk.read(now, place, layer, weights)))
            plain = walk.first_rows(place, len(weights))
            hidden = walk.hidden_after(now, plain, layer, self.layers[-1])
            missing = np.asarray(target, np.float64) - np.asarray(hidden, np.float64)
            residuals.append(missing / (len(self.layers) - j))
            with jax.enable_x64(True):
                delta = _solve(before, keys[-1], residuals[-1])
            now = add_delta(now, layer, delta)
        return now, Factors(tuple(keys), tuple(residuals))

    def bind(self, lm: Transformer, state: MemitState) -> Transformer:
        """The model with the edited kernels."""
        return with_kernels(lm, dict(zip(self.layers, state.kernels, strict=True)))

    def snapshot(self, state: MemitState) -> Any:
        """The edited kernels."""
        kernels = zip(self.layers, state.kernels, strict=True)
        return {"kernels": {str(j): k for j, k in kernels}, "edits": np.int64(state.edits)}

    def restore(self, lm: Transformer, tree: Any) -> MemitState:
        """The kernels as they were kept."""
        return MemitState(tuple(tree["kernels"][str(j)] for j in self.layers), int(tree["edits"]))


_solve = jax.jit(solve_batch)
