"""Two models on the same items: paired differences, not two intervals that overlap or do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from jaxedit.downstream.ability import Reading, by_task, readings
from jaxedit.downstream.items import Item
from jaxedit.errors import UserError

RESAMPLES = 1000


@dataclass(frozen=True)
class Paired:
    """One metric before and after.

    Attributes:
        task: its name.
        metric: as in :class:`jaxedit.downstream.ability.Ability`.
        before: the unedited model's score.
        after: the edited one's.
        difference: after - before.
        interval: 95 % bootstrap interval of the difference, over items, both models on the same
            draws.
        n: items.
        lost: items that only the unedited model has right; None where items are not right or wrong.
        gained: items that only the edited one has right; None likewise.
        p: McNemar's exact two-sided p, from lost and gained; None likewise.
    """

    task: str
    metric: str
    before: float
    after: float
    difference: float
    interval: tuple[float, float]
    n: int
    lost: int | None
    gained: int | None
    p: float | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self) | {"interval": list(self.interval)}


def compare(before: Sequence[Item], after: Sequence[Item]) -> list[Paired]:
    """Every metric of the tasks that both were asked.

    Args:
        before: raw items of the unedited model.
        after: of the edited one; in any order.

    Raises:
        UserError: a task's items are not the same questions in the same words, or no task is
            in both.
    """
    edited = {own[0].taken.task: own for own in by_task(after)}
    found = []
    for own in by_task(before):
        task = own[0].taken.task
        if task in edited:
            found += _task(task, own, _aligned(task, own, edited[task]))
    if not found:
        raise UserError("the two runs have no downstream task in common; run the same tasks twice")
    return found


def _aligned(task: str, before: Sequence[Item], after: Sequence[Item]) -> list[Item]:
    """``after`` in the order of ``before``."""
    there = {item.key: item for item in after}
    if there.keys() != {item.key for item in before}:
        raise UserError(
            f"{task}: the two runs asked different questions; give both the same data, seed, "
            "limit, shots and model family"
        )
    return [there[item.key] for item in before]


def _task(task: str, before: Sequence[Item], after: Sequence[Item]) -> list[Paired]:
    seed = before[0].taken.seed
    pairs = zip(readings(before), readings(after), strict=True)
    return [_paired(task, old, new, seed) for old, new in pairs]


def _paired(task: str, old: Reading, new: Reading, seed: int) -> Paired:
    scores = [float(r.link(np.average(r.values, weights=r.weights))) for r in (old, new)]
    lost = gained = p = None
    if old.binary and new.binary:
        lost = int(((old.values == 1) & (new.values == 0)).sum())
        gained = int(((old.values == 0) & (new.values == 1)).sum())
        p = mcnemar(lost, gained)
    return Paired(
        task=task,
        metric=old.metric,
        before=scores[0],
        after=scores[1],
        difference=scores[1] - scores[0],
        interval=_interval(old, new, seed),
        n=len(old.values),
        lost=lost,
        gained=gained,
        p=p,
    )


def _interval(old: Reading, new: Reading, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    n = len(old.values)
    found = []
    for _ in range(RESAMPLES):
        rows = rng.integers(0, n, n)
        weights = old.weights[rows]
        means = [np.average(r.values[rows], weights=weights) for r in (old, new)]
        found.append(new.link(means[1]) - old.link(means[0]))
    low, high = np.quantile(found, (0.025, 0.975))
    return float(low), float(high)


def mcnemar(lost: int, gained: int) -> float:
    """Exact two-sided p of a sign test on the pairs that differ (McNemar 1947).

    Twice the smaller tail of Binomial(lost + gained, 1/2), at most 1.
    """
    n, few = lost + gained, min(lost, gained)
    term, tail = 1, 0  # exact: binomial coefficients as integers
    for k in range(few + 1):
        tail += term
        term = term * (n - k) // (k + 1)
    # Through logarithms: 2**n has no float for large n.
    return 1.0 if not tail else min(1.0, math.exp(math.log(tail) + (1 - n) * math.log(2)))
