"""From raw items to scores: pure, so that every score reappears from the raw file alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np

from jaxedit.downstream.items import Item, Taken
from jaxedit.errors import UserError
from jaxedit.metrics.score import bootstrap


@dataclass(frozen=True)
class Ability:
    """One score of one task, with how it was taken.

    Attributes:
        metric: "acc", "acc_norm", "exact_match (strict-match)", "word_perplexity", ...
        value: a share in 0..1, or a perplexity.
        stderr: standard error of the mean over items, with n - 1 in the variance.
        interval: 95 % bootstrap interval over items.
        n: items scored.
        chance: what guessing would give, or None.
        dropped: items whose prompts did not fit the model and lost their front.
        taken: how the items were taken.
        items: behind the value.
    """

    metric: str
    value: float
    stderr: float
    interval: tuple[float, float]
    n: int
    chance: float | None
    dropped: int
    taken: Taken
    items: tuple[Item, ...] = field(repr=False, compare=False)

    @property
    def task(self) -> str:
        """The task's name."""
        return self.taken.task

    @property
    def shots(self) -> int:
        """Demonstrations before each item."""
        return self.taken.shots

    @property
    def seed(self) -> int:
        """Of the choice of items, and of the bootstrap."""
        return self.taken.seed

    @property
    def limit(self) -> int | None:
        """Most items that were asked for; None is all."""
        return self.taken.limit

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, without the items."""
        own = {"metric": self.metric, "value": self.value, "stderr": self.stderr}
        own |= {"interval": list(self.interval), "n": self.n}
        own |= {"chance": self.chance, "dropped": self.dropped}
        return asdict(self.taken) | own


class Reading(NamedTuple):
    """What a metric takes from each item: its value is link(weighted mean of values)."""

    metric: str
    values: np.ndarray  # [n] float64
    weights: np.ndarray  # [n] float64, mean 1
    link: Callable[[Any], Any]
    binary: bool  # all values are 0 or 1, and the mean is the score


def reduce_items(items: Sequence[Item]) -> list[Ability]:
    """All scores of these items, task by task, in the order in which the tasks come.

    Raises:
        UserError: an item is there twice, or the items of a task were taken in different ways.
    """
    found = []
    for own in by_task(items):
        weighted = {r.metric: r for r in readings(own)}
        found += [_ability(own, reading) for reading in weighted.values()]
    return found


def by_task(items: Iterable[Item]) -> list[list[Item]]:
    """Items of each task, in the order of their first ones.

    Raises:
        UserError: as in :func:`reduce_items`.
    """
    tasks: dict[str, list[Item]] = {}
    for item in items:
        tasks.setdefault(item.taken.task, []).append(item)
    for name, own in tasks.items():
        if len({item.taken for item in own}) > 1:
            raise UserError(f"items of {name} were taken in different ways; score each file apart")
        twice = [
            key for key, count in Counter((i.subset, i.index) for i in own).items() if count > 1
        ]
        if twice:
            raise UserError(f"item {twice[0][1]} of {name} {twice[0][0]} is there twice")
    return list(tasks.values())


def readings(items: Sequence[Item]) -> list[Reading]:
    """What the metrics of one task take from its items.

    A subset counts by the items that it holds, however many of them were drawn. Where there are
    several, "(mean of k subsets)" follows, in which each counts alike (the Open LLM Leaderboard's
    MMLU).
    """
    if "loglikelihood" in items[0].values:
        return _of_texts(items)
    drawn = Counter(item.subset for item in items)
    by_size = np.array([item.population / drawn[item.subset] for item in items])
    alike = np.array([1 / drawn[item.subset] for item in items])
    found = []
    for metric in items[0].values:
        values = np.array([item.values[metric] for item in items], np.float64)
        binary = bool(np.isin(values, (0.0, 1.0)).all())
        found.append(Reading(metric, values, _scaled(by_size), _same, binary))
        if len(drawn) > 1:
            name = f"{metric} (mean of {len(drawn)} subsets)"
            found.append(Reading(name, values, _scaled(alike), _same, binary))
    return found


def _of_texts(items: Sequence[Item]) -> list[Reading]:
    """Perplexity a word and a byte, and bits a byte, pooled over all texts."""

    def reading(metric: str, unit: str, link: Callable[[Any], Any]) -> Reading:
        count = np.array([item.values[unit] for item in items], np.float64)
        total = np.array([item.values["loglikelihood"] for item in items], np.float64)
        return Reading(metric, -total / count, _scaled(count), link, False)

    return [
        reading("word_perplexity", "words", np.exp),
        reading("byte_perplexity", "bytes", np.exp),
        reading("bits_per_byte", "bytes", _bits),
    ]


def _same(mean: Any) -> Any:
    return mean


def _bits(nats: Any) -> Any:
    return nats / math.log(2)


def _scaled(weights: np.ndarray) -> np.ndarray:
    return weights / weights.mean()


def _ability(items: Sequence[Item], reading: Reading) -> Ability:
    taken = items[0].taken
    values, weights = reading.values, reading.weights
    mean = float(np.average(values, weights=weights))
    low, high = bootstrap(values, weights, seed=taken.seed)
    chances = [item.chance for item in items if item.chance is not None]
    chance = float(np.average(chances, weights=weights)) if len(chances) == len(items) else None
    return Ability(
        metric=reading.metric,
        value=float(reading.link(mean)),
        stderr=_stderr(reading, mean),
        interval=(float(reading.link(low)), float(reading.link(high))),
        n=len(items),
        chance=chance,
        dropped=sum(item.dropped > 0 for item in items),
        taken=taken,
        items=tuple(items),
    )


def _stderr(reading: Reading, mean: float) -> float:
    """Of the linked weighted mean, to first order; with equal weights s / sqrt(n)."""
    n = len(reading.values)
    if n < 2:
        return float("nan")
    spread = reading.weights * (reading.values - mean)
    of_mean = math.sqrt(float(spread @ spread) / (n - 1) / n)
    step = 1e-6 * max(1.0, abs(mean))
    slope = (reading.link(mean + step) - reading.link(mean - step)) / (2 * step)
    return of_mean * float(slope)
