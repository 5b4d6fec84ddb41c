"""D4S, "Dump for Sequence" (Huang et al. 2024): sequential edits with O(1) history.

Each layer carries S = sum r k^T and T = sum k k^T over all edits so far (equations 8-11). After
every edit the matrix is the original plus Delta = S (lambda C + T)^-1 (equation 5), so all edits
are solved together although they came one by one. Values never see the edited model: they are
optimised on the original for many facts at once.

Residuals:
  "shared"      as published: t = z - h on the original model, the same for every layer;
                layer j of m takes Delta / (m - j + 1). A fresh edit so moves the hidden state
                by the harmonic number of m times what was asked (1.83 for three layers).
  "recomputed"  layer j sees the layers below with their new deltas and itself and those above
                as they were: r_j = (z - h_j) / (m - j + 1). No overshoot.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from jaxedit.data.fact import Fact
from jaxedit.editors import keys as walk
from jaxedit.editors.editor import Factors, Log, check_finite, value_log
from jaxedit.editors.least_squares import Recursion, Sums, follow, no_sums, refactor
from jaxedit.editors.locate import LocateThenEdit
from jaxedit.editors.rows import context_weights, key_rows
from jaxedit.editors.weights import add_delta, check_layers
from jaxedit.models.transformer import Transformer


class D4SState(NamedTuple):
    """The recursion of each edited layer, and the number of facts in it."""

    layers: tuple[Recursion, ...]
    edits: int


class D4SRows(NamedTuple):
    """What n facts need, all of it taken on the unedited model.

    Attributes:
      target: z = h + delta at the last edited block, [n, D].
      residual: t = z - h, [n, D].
      hidden: input of the first edited block behind each template, [n, N, T, D].
      mask: [n, N, T] bool.
      lookup: [n, N] int32.
      log: how the values went, [n] each.
    """

    target: np.ndarray
    residual: np.ndarray
    hidden: np.ndarray
    mask: np.ndarray
    lookup: np.ndarray
    log: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class D4S(LocateThenEdit):
    """D4S, one fact or one batch an update.

    Attributes:
      residual: "shared" (published) or "recomputed"; see the module.
    """

    residual: Literal["shared", "recomputed"] = "shared"
    values_ahead: bool = dataclasses.field(default=True, init=False)

    def init(self, lm: Transformer) -> D4SState:
        """No edits: zero sums."""
        check_layers(lm, self.layers)
        sums = [no_sums(lm.config.d_model, lm.config.d_ff) for _ in self.layers]
        return self._refactored(sums, 0)

    def prepare(self, lm: Transformer, facts: Sequence[Fact]) -> D4SRows:
        """Values and the walk up to the first edited layer, for all `facts` at once."""
        values = self.found(lm, self.value_rows(lm, facts))
        keys = key_rows(lm.tokenizer, facts, self.contexts)
        place = walk.begin(lm, keys, self.layers[0])
        return D4SRows(
            np.asarray(values.target),
            np.asarray(values.delta[:, 0]),
            np.asarray(place.hidden),
            keys.mask,
            keys.lookup,
            value_log(values),
        )

    def edit(self, lm: Transformer, state: D4SState, prepared: D4SRows) -> tuple[D4SState, Log]:
        """Adds the facts of `prepared` to the history and solves it anew, layer by layer."""
        check_finite(prepared.log, self.layers[-1])
        state, _ = self.update(lm, state, prepared)
        return state, prepared.log

    def update(
        self, lm: Transformer, state: D4SState, prepared: D4SRows
    ) -> tuple[D4SState, Factors]:
        """The update itself, and what it added to the sums of each layer."""
        weights = context_weights(self.contexts)
        place = walk.Place(prepared.hidden, prepared.mask, prepared.lookup)
        layers, keys, residuals = [], [], []
        for j, layer in enumerate(self.layers):
            if j:  # the layer below has its new matrix by now
                place = walk.advance(lm, place, self.layers[j - 1], layer)
            keys.append(np.asarray(walk.read(lm, place, layer, weights)))
            residuals.append(self._residuals(lm, place, prepared, j))
            after = follow(state.layers[j], self.priors[j], keys[-1], residuals[-1], layer=layer)
            layers.append(after)
            lm = add_delta(lm, layer, after.delta, self._scale(j))
        done = D4SState(tuple(layers), state.edits + len(prepared.target))
        return done, Factors(tuple(keys), tuple(residuals))

    def bind(self, lm: Transformer, state: D4SState) -> Transformer:
        """The original matrices plus the whole history's Delta."""
        for j, (layer, recursion) in enumerate(zip(self.layers, state.layers, strict=True)):
            lm = add_delta(lm, layer, recursion.delta, self._scale(j))
        return lm

    def snapshot(self, state: D4SState) -> Any:
        """The carried sums of each layer: R K^T and K K^T."""
        layers = zip(self.layers, state.layers, strict=True)
        sums = {str(j): {"rk": s.sums.rk, "kk": s.sums.kk} for j, s in layers}
        return {"sums": sums, "edits": np.int64(state.edits)}

    def restore(self, lm: Transformer, tree: Any) -> D4SState:
        """Refactors the sums: the recursion starts afresh from them."""
        with jax.enable_x64(True):
            sums = [
                Sums(*(jax.numpy.asarray(tree["sums"][str(j)][name]) for name in ("rk", "kk")))
                for j in self.layers
            ]
        return self._refactored(sums, int(tree["edits"]))

    def _refactored(self, sums: Sequence[Sums], edits: int) -> D4SState:
        layers = zip(self.layers, sums, self.priors, strict=True)
        return D4SState(tuple(refactor(s, p, layer=j) for j, s, p in layers), edits)

    def _residuals(
        self, now: Transformer, place: walk.Place, prepared: D4SRows, j: int
    ) -> np.ndarray:
        """r of each fact for the sums of layer j, [n, D] float64."""
        if self.residual == "shared":
            return np.asarray(prepared.residual, np.float64)
        plain = walk.plain(place)
        hidden = walk.passing(now, plain, self.layers[j], self.layers[-1])[:, 0]
        missing = np.asarray(prepared.target, np.float64) - np.asarray(hidden, np.float64)
        return missing / (len(self.layers) - j)

    def _scale(self, j: int) -> float:
        """Published sums hold undivided residuals; layer j divides when it uses them."""
        return 1 / (len(self.layers) - j) if self.residual == "shared" else 1.0
