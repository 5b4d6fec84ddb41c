"""What ROME, MEMIT, EMMET, PMET and AlphaEdit share: values on the edited model, then a walk.

One update of n facts, on the model as earlier updates left it: optimise a value z_i for each
fact at the last edited layer, then go through the layers from the lowest to the highest; at
layer j of m take the keys K, the distance R of the current values from their targets, and solve
for a change of the down-projection. The methods differ in where values are taken, in how R is
shared among the layers, and in what is solved.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import jax
import numpy as np

from jaxedit.data.fact import Fact
from jaxedit.editors import keys as walk
from jaxedit.editors import weights
from jaxedit.editors.editor import Factors, Log, check_finite, value_log
from jaxedit.editors.least_squares import Prior, prior
from jaxedit.editors.rows import (
    Contexts,
    KeyRows,
    LegacyTargets,
    ValueRows,
    context_weights,
    key_rows,
    value_rows,
)
from jaxedit.editors.values import BLOCK_OUT, Sites, Values, ValueSettings, optimise_values
from jaxedit.editors.weights import (
    EditedLeaves,
    WritesLeaves,
    add_delta,
    check_layers,
    leaf_names,
)
from jaxedit.models.transformer import Transformer

Solve = Callable[[int, np.ndarray, np.ndarray], jax.Array]
"""(place among the layers, keys [n, v], residuals [n, u]) -> Delta [u, v] float64."""


class LocatedRows(NamedTuple):
    """Tokens of n facts: nothing else is independent of the edits before."""

    values: ValueRows
    keys: KeyRows


@dataclasses.dataclass(frozen=True)
class LocateThenEdit(WritesLeaves):
    """Hyper-parameters and resources of the family.

    Attributes:
      layers: edited layers, ascending; values are optimised at the last.
      statistics: uncentred second moment C of the keys for each layer, [v, v].
      contexts: prefix templates, the plain one first.
      moment_weight: lambda, the number of preserved keys that C stands for.
      values: hyper-parameters of the values.
      legacy_targets: encode targets as published code does; see `rows.LegacyTargets`.
    """

    layers: tuple[int, ...]
    statistics: Mapping[int, np.ndarray]
    contexts: Contexts
    moment_weight: float = 15_000.0
    values: ValueSettings = dataclasses.field(default_factory=ValueSettings)
    legacy_targets: LegacyTargets = False
    values_ahead: bool = dataclasses.field(default=False, init=False)

    sites: ClassVar[Sites] = (BLOCK_OUT,)
    """Where values are optimised; what is written is measured at the first."""

    @cached_property
    def priors(self) -> tuple[Prior, ...]:
        """lambda C of each layer, factored at the first use."""
        return tuple(prior(self.statistics[j], self.moment_weight, layer=j) for j in self.layers)

    def places(self, lm: Transformer) -> tuple[str, ...]:
        """The down-projections of the layers."""
        return leaf_names(lm, self.layers)

    def init(self, lm: Transformer) -> Any:
        """The model's own kernels."""
        check_layers(lm, self.layers)
        return EditedLeaves(weights.leaves(lm, self.places(lm)), 0)

    def prepare(self, lm: Transformer, facts: Sequence[Fact]) -> LocatedRows:
        """Tokenises the facts."""
        return LocatedRows(self.value_rows(lm, facts), key_rows(lm.tokenizer, facts, self.contexts))

    def value_rows(self, lm: Transformer, facts: Sequence[Fact]) -> ValueRows:
        """What the values of the facts are optimised on."""
        return value_rows(lm.tokenizer, facts, self.contexts, legacy_targets=self.legacy_targets)

    def found(self, now: Transformer, rows: ValueRows, *, trace: bool = False) -> Values:
        """The values of n facts on the model as it is."""
        last = self.layers[-1]
        return optimise_values(now, rows, last, self.values, sites=self.sites, trace=trace)

    def edit(self, lm: Transformer, state: Any, prepared: LocatedRows) -> tuple[Any, Log]:
        """One update with all the facts of `prepared`, on top of `state`."""
        now = self.bind(lm, state)
        values = self.found(now, prepared.values)
        log = value_log(values)
        check_finite(log, self.layers[-1])
        edited, _ = self.update(now, state, prepared.keys, values)
        return self.after(edited, state, prepared), log

    def update(
        self, now: Transformer, state: Any, rows: KeyRows, values: Values
    ) -> tuple[Transformer, Factors]:
        """Writes the values into the layers of `now`, which is `state` bound, one by one."""
        return write_layers(
            now,
            self.layers,
            rows,
            self.contexts,
            np.asarray(values.target),
            site=self.sites[0],
            share=self.share,
            solve=self.solver(state),
        )

    def share(self, left: int) -> float:
        """What divides the distance at a layer: the number of layers left, this one included."""
        return left

    def solver(self, state: Any) -> Solve:
        """What gives a layer its Delta; a method that writes in its own way has none."""
        raise NotImplementedError

    def after(self, edited: Transformer, state: Any, prepared: LocatedRows) -> Any:
        """The state once `edited` has been written."""
        leaves = weights.leaves(edited, self.places(edited))
        return EditedLeaves(leaves, state.edits + len(prepared.keys.ids))


def write_layers(
    now: Transformer,
    layers: Sequence[int],
    rows: KeyRows,
    contexts: Contexts,
    target: np.ndarray,
    *,
    site: str,
    share: Callable[[int], float],
    solve: Solve,
) -> tuple[Transformer, Factors]:
    """Spreads what is missing to `target` over the layers, from the lowest to the highest.

    Args:
      now: the model.
      layers: which, ascending.
      rows: n prompts behind N templates.
      contexts: the templates.
      target: values at the last layer, [n, D].
      site: where the current values are read, at the last layer.
      share: of the number of layers still to come, this one included: divides the distance.
      solve: Delta of one layer.

    Returns:
      The edited model, and what each layer was solved with.
    """
    averaging = context_weights(contexts)
    place = walk.begin(now, rows, layers[0])
    keys, residuals = [], []
    for j, layer in enumerate(layers):
        if j:
            place = walk.advance(now, place, layers[j - 1], layer)
        keys.append(np.asarray(walk.read(now, place, layer, averaging)))
        current = walk.passing(now, walk.plain(place), layer, layers[-1], site)[:, 0]
        missing = np.asarray(target, np.float64) - np.asarray(current, np.float64)
        residuals.append(missing / share(len(layers) - j))
        with jax.enable_x64(True):
            delta = solve(j, keys[-1], residuals[-1])
        now = add_delta(now, layer, delta)
    return now, Factors(tuple(keys), tuple(residuals))
