"""How many tokens are enough for the statistics of keys?

C is a mean over N tokens, so its own error falls as 1 / sqrt(N). What matters is the update that
is solved with it (MEMIT, Meng et al. 2022b, equation 14),

    Delta(C) = R K^T (lambda C + K K^T)^-1,

and of that update the objective which it minimises,

    J(Delta) = |Delta K - R|^2 + lambda tr(Delta C Delta^T),

taken with the best C. Keys K and residuals R stay the same throughout: those of one MEMIT update
with the best C. The token counts are nested: each C holds the text of those before it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from jaxedit.data.fact import Fact
from jaxedit.editors.least_squares import prior, solve_batch
from jaxedit.editors.memit import Memit
from jaxedit.editors.rows import Contexts
from jaxedit.editors.statistics import Moments, second_moments
from jaxedit.editors.values import ValueSettings
from jaxedit.models.transformer import Transformer

WIDTHS = (0.25, 0.5, 1, 2, 5, 10, 20, 50, 100)
"""Token counts, in units of d_ff; the last is the reference."""


@dataclass(frozen=True)
class Row:
    """What the statistics of one layer from so many tokens are worth.

    Attributes:
      layer: which.
      tokens: N.
      widths: N / d_ff.
      moment_error: |C - C*| / |C*| (Frobenius), C* being the reference.
      update_error: |Delta - Delta*| / |Delta*|.
      excess: J(Delta) / J(Delta*) - 1, both with C*.
    """

    layer: int
    tokens: int
    widths: float
    moment_error: float
    update_error: float
    excess: float


@dataclass(frozen=True)
class Study:
    """The rows, and what they were measured on.

    Attributes:
      model: its name.
      corpus: the text's.
      d_ff: width of the keys.
      facts: how many are edited in the one update.
      moment_weight: lambda.
      rows: by layer and number of tokens, the reference last.
    """

    model: str
    corpus: str
    d_ff: int
    facts: int
    moment_weight: float
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """In JSON's types."""
        return {**asdict(self), "rows": [asdict(row) for row in self.rows]}


def nested_moments(
    lm: Transformer, layers: Sequence[int], texts: Iterable[str], counts: Sequence[int]
) -> Iterator[Moments]:
    """Second moments at each of the ascending token counts, from one pass over the texts.

    Raises:
      UserError: the texts end before the last count.
    """
    texts, total, seen = iter(texts), dict[int, np.ndarray](), 0
    for count in counts:
        if count > seen:
            part = second_moments(lm, layers, texts, tokens=count - seen)
            sums = {layer: part.tokens * matrix for layer, matrix in part.matrices.items()}
            total = {layer: total.get(layer, 0) + sums[layer] for layer in layers}
            seen += part.tokens
        yield Moments({layer: total[layer] / seen for layer in layers}, seen)
        logging.info("statistics: %d of %d tokens", seen, counts[-1])


def study(
    lm: Transformer,
    layers: Sequence[int],
    facts: Sequence[Fact],
    texts: Iterable[str],
    contexts: Contexts,
    *,
    moment_weight: float,
    values: ValueSettings,
    widths: Sequence[float] = WIDTHS,
    corpus: str = "",
) -> Study:
    """Measures the error of C and of the update at each number of tokens.

    Args:
      lm: the unedited model.
      layers: edited layers.
      facts: edited together in the one update.
      texts: ordinary text.
      contexts: prefix templates.
      moment_weight: lambda.
      values: how the facts' values are optimised.
      widths: numbers of tokens, ascending, in units of d_ff.
      corpus: the texts' name.

    Raises:
      UserError: the texts end before the last count.
    """
    counts = [max(1, round(width * lm.config.d_ff)) for width in widths]
    taken = list(nested_moments(lm, layers, texts, counts))
    best = taken[-1].matrices
    editor = Memit(
        layers=tuple(layers),
        statistics=best,
        contexts=contexts,
        moment_weight=moment_weight,
        values=values,
    )
    prepared = editor.prepare(lm, facts)
    found = editor.found(lm, prepared.values)
    _, (keys, residuals) = editor.update(lm, editor.init(lm), prepared.keys, found)
    rows = []
    for j, layer in enumerate(layers):
        solved = _Solved(layer, keys[j], residuals[j], best[layer], moment_weight)
        rows += [solved.row(moments.matrices[layer], moments.tokens) for moments in taken]
    return Study(lm.name, corpus, lm.config.d_ff, len(facts), moment_weight, tuple(rows))


class _Solved:
    """The equations of one layer, with their solution from the reference."""

    def __init__(
        self, layer: int, keys: np.ndarray, residuals: np.ndarray, best: np.ndarray, weight: float
    ):
        self._layer, self._best, self._weight = layer, best, weight
        self._keys, self._residuals = np.asarray(keys, np.float64), residuals
        self._update = self._delta(best)
        self._objective = self._cost(self._update)

    def row(self, moment: np.ndarray, tokens: int) -> Row:
        """How far a second moment, and the update solved with it, are from the reference."""
        update = self._delta(moment)
        return Row(
            self._layer,
            tokens,
            tokens / len(moment),
            _distance(moment, self._best),
            _distance(update, self._update),
            self._cost(update) / self._objective - 1,
        )

    def _delta(self, moment: np.ndarray) -> np.ndarray:
        before = prior(moment, self._weight, layer=self._layer)
        with jax.enable_x64(True):
            keys, residuals = jnp.asarray(self._keys), jnp.asarray(self._residuals)
            return np.asarray(_solve(before, keys, residuals))

    def _cost(self, update: np.ndarray) -> float:
        fit = update @ self._keys.T - self._residuals.T
        kept = np.einsum("uv,uv->", update @ self._best, update)
        return float(np.square(fit).sum() + self._weight * kept)


_solve = jax.jit(solve_batch)


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))
