"""What a measure is: one number from one raw answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from jaxedit.metrics.records import Answer, Role

Value = Callable[[Answer, Answer | None], float | None]
Over = Literal["mean", "any", "all"]


@dataclass(frozen=True)
class Measure:
    """One number from one raw answer, and what a score made of it is called.

    Attributes:
        metric, decoding, reading, against: as in :class:`jaxedit.metrics.score.Score`.
        role: of the questions it is taken on.
        value: (answer, the unedited model's answer to the same question) -> number, or None
            where it is not defined.
        over: what a fact's value is of its questions' values: their mean, the best ("any"), or
            the worst ("all").
    """

    metric: str
    decoding: str
    reading: str
    against: str
    role: Role
    value: Value
    over: Over = "mean"

    def of_fact(self, values: Sequence[float]) -> float:
        """A fact's value from those of its questions; at least one."""
        if self.over == "mean":
            return sum(values) / len(values)
        return max(values) if self.over == "any" else min(values)


def share_equal(ours: tuple[int, ...], theirs: tuple[int, ...], length: int) -> float:
    """Share of the first ``length`` positions with equal ids; two missing ids are equal."""
    if not length:
        return 0.0
    pad = (-1,) * length
    pairs = zip((ours + pad)[:length], (theirs + pad)[:length], strict=True)
    return sum(a == b for a, b in pairs) / length
