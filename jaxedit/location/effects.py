"""Average effects of causal tracing: what many facts say together.

Facts are aligned by classes of tokens, as published (Meng et al. 2022a, figure 2):

    ATE = mean high - mean low,
    AIE(class, layer) = mean of p(o) over the class's tokens of all facts  -  mean low.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxedit.location.tracing import Recall, Trace

CLASSES = (
    "first subject token",
    "middle subject tokens",
    "last subject token",
    "first subsequent token",
    "further tokens",
    "last token",
)
LAST_SUBJECT = CLASSES[2]
NORMAL_95 = 1.96


class Effects(NamedTuple):
    """Averages over facts.

    Attributes:
      facts: their number.
      high: mean of the clean runs.
      low: mean of the noisy runs.
      mean: by kind, AIE [classes, L]; NaN for a class without tokens.
      margin: by kind, half of its 95 % interval, 1.96 sd / sqrt(tokens of the class).
      tokens: of each class, over all facts.
    """

    facts: int
    high: float
    low: float
    mean: dict[str, np.ndarray]
    margin: dict[str, np.ndarray]
    tokens: tuple[int, ...]

    @property
    def total(self) -> float:
        """ATE: what the noise takes away."""
        return self.high - self.low

    def peak(self, kind: str, name: str | None = None) -> tuple[str, int, float]:
        """(class, layer, AIE) of the largest effect, or of the largest in the class `name`."""
        grid = self.mean[kind]
        if name is not None:
            grid = np.where(np.array(CLASSES)[:, None] == name, grid, np.nan)
        place, layer = np.unravel_index(np.nanargmax(grid), grid.shape)
        return CLASSES[place], int(layer), float(grid[place, layer])


def token_classes(fact: Recall) -> tuple[tuple[int, ...], ...]:
    """The tokens of each of `CLASSES`.

    A subject of one token is its first and its last; the token right after the subject may be
    the prompt's last as well; the prompt's last is the subject's last if nothing comes after.
    """
    last = len(fact.ids) - 1
    return (
        (fact.first,),
        tuple(range(fact.first + 1, fact.end - 1)),
        (fact.end - 1,),
        (fact.end,) if fact.end <= last else (),
        tuple(range(fact.end + 1, last)),
        (last,),
    )


def average_effects(facts: Sequence[Recall], traces: Sequence[Trace]) -> Effects:
    """AIE and ATE of traced facts; within a class each token counts once.

    Args:
      facts: at least one.
      traces: theirs, in the same order.
    """
    low = float(np.mean([trace.low for trace in traces]))
    classes = [token_classes(fact) for fact in facts]
    pairs = list(zip(classes, traces, strict=True))
    mean: dict[str, np.ndarray] = {}
    margin: dict[str, np.ndarray] = {}
    for kind in traces[0].cells:
        rows = [
            [trace.cells[kind][t] for own, trace in pairs for t in own[c]]
            for c in range(len(CLASSES))
        ]
        shape = (len(CLASSES), traces[0].whole.shape[0])
        mean[kind], margin[kind] = np.full(shape, np.nan), np.full(shape, np.nan)
        for c, values in enumerate(rows):
            if values:
                mean[kind][c] = np.mean(values, axis=0) - low
                margin[kind][c] = NORMAL_95 * np.std(values, axis=0) / np.sqrt(len(values))
    return Effects(
        len(facts),
        float(np.mean([trace.high for trace in traces])),
        low,
        mean,
        margin,
        tuple(sum(len(own[c]) for own in classes) for c in range(len(CLASSES))),
    )


def suggested_layers(effects: Effects, length: int, n_layers: int) -> tuple[int, ...]:
    """`length` layers around the one whose MLPs matter most at the subject's last token.

    That is where ROME and MEMIT edit. Without "mlp" the block outputs ("none") are taken.
    """
    kind = "mlp" if "mlp" in effects.mean else "none"
    _, peak, _ = effects.peak(kind, LAST_SUBJECT)
    length = min(length, n_layers)
    low = min(max(0, peak - length // 2), n_layers - length)
    return tuple(range(low, low + length))


def to_record(effects: Effects) -> dict[str, Any]:
    """In JSON's types."""
    return {
        "facts": effects.facts,
        "high": effects.high,
        "low": effects.low,
        "average_total_effect": effects.total,
        "tokens": dict(zip(CLASSES, effects.tokens, strict=True)),
        "average_indirect_effect": {
            kind: {
                name: {"mean": grid[c].tolist(), "margin": effects.margin[kind][c].tolist()}
                for c, name in enumerate(CLASSES)
                if effects.tokens[c]
            }
            for kind, grid in effects.mean.items()
        },
    }
