"""Why a model declines while it is edited: what D4S's sections 3 and 4 look at, as numbers.

Forgetting (section 4.1), the bottleneck (4.2), and what goes with what: perplexity of targets with
damage (3.3), the norm of edited layers with efficacy (4.2). The paper judges the latter by eye;
here they are Spearman's rank correlations, which ask of no quantity that it be linear in another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import permutations
from typing import Literal, NamedTuple

import numpy as np

from jaxedit.papers.claims import FAILS, HOLDS, OPEN, PARTLY, Verdict
from jaxedit.papers.figures import Point, Points, probability
from jaxedit.papers.readers import Found, Reader, Value, Where, norm_growth
from jaxedit.plots import running_median

GONE = 0.5  # of its level over the first tenth
EXACT = 8  # points of which all orderings are looked at: 40,320
CHANCE = 0.05
SIGNS = {"rises": 1, "falls": -1}
Pair = tuple[Value | None, Value | None]
Pairs = Callable[[Found], Sequence[Pair]]


class Bottleneck(NamedTuple):
    """Where new edits begin to fail for good.

    Attributes:
        edits: length of the sequence.
        start: the first edit, counted from 1, from which on the running median of the targets'
            probabilities stays under half of its first level; None where there is no such edit.
        first, last: the running median over the first tenth (its median), and at the end.
    """

    edits: int
    start: int | None
    first: float
    last: float


def bottleneck(points: Sequence[Point]) -> Bottleneck | None:
    """Of each target's probability right after its own edit; None without points.

    Args:
        points: (edit, probability) in the order of editing (`figures.probability`).
    """
    if not points:
        return None
    smooth = running_median(np.array([value.value for _, value in points]))
    level = float(np.median(smooth[: max(1, len(smooth) // 10)]))
    high = np.flatnonzero(smooth >= GONE * level)
    start = int(high[-1]) + 1 if len(high) else 0
    return Bottleneck(
        len(smooth), start + 1 if start < len(smooth) else None, level, float(smooth[-1])
    )


def halves(points: Sequence[Point]) -> tuple[Value, Value] | None:
    """Means over the older and the newer half of the edits; the middle of an odd number is in none.

    Args:
        points: (place in the order of editing, score) from the oldest on (`figures.by_age`).
    """
    half = len(points) // 2
    if not half:
        return None
    values = [value.value for _, value in points]
    return Value(sum(values[:half]) / half), Value(sum(values[-half:]) / half)


def best(points: Sequence[Point]) -> Value | None:
    """The greatest value of a curve."""
    return max((value for _, value in points), key=lambda value: value.value, default=None)


def lost(reader: Reader) -> Reader:
    """How much less a number is than before the first edit, in points (hundredths)."""

    def read(found: Found, where: Where) -> Value | None:
        before, after = reader(found, where.after(0)), reader(found, where)
        if before is None or after is None:
            return None
        points = 100 * (before.value - after.value)
        return Value(points, n=after.n, seeds=after.seeds, share=False)

    return read


def scattered(pairs: Pairs, *, log: bool = False) -> Points:
    """Pairs as points of a figure, in ascending order, with log10 of x if asked for."""

    def points(found: Found) -> list[Point]:
        known = [(x.value, y) for x, y in pairs(found) if x and y and (x.value > 0 or not log)]
        drawn = [(float(np.log10(x)) if log else x, y) for x, y in known]
        return sorted(drawn, key=lambda point: point[0])

    return points


def across(
    places: Mapping[tuple[str, str], Where], methods: Sequence[str], x: Reader, y: Reader
) -> Pairs:
    """Two numbers of every run of some methods, after all its edits.

    Args:
        places: (what is edited, method) -> place.
    """
    chosen = [where for (_, method), where in places.items() if method in methods]
    return lambda found: [(x(found, where), y(found, where)) for where in chosen]


def along_sequence(where: Where, steps: range, efficacy: Reader) -> dict[str, Pairs]:
    """Growth of the norm with efficacy, with success of new edits, and edits with efficacy.

    Args:
        where: the sequence.
        steps: numbers of edits at which it was evaluated.
        efficacy: of all facts edited so far.

    Returns:
        "all": norm and efficacy; "new": norm and the median probability of targets, each right
        after its own edit, since the step before; "edits": number of edits and efficacy.
    """

    def norms(found: Found) -> list[Value | None]:
        return [norm_growth(found, where.after(step)) for step in steps]

    def scores(found: Found) -> list[Value | None]:
        return [efficacy(found, where.after(step)) for step in steps]

    def fresh(found: Found) -> list[Value | None]:
        known = probability(where)(found)
        parts = [[v.value for edit, v in known if s - steps.step < edit <= s] for s in steps]
        return [Value(float(np.median(part))) if part else None for part in parts]

    return {
        "all": lambda found: [*zip(norms(found), scores(found), strict=True)],
        "new": lambda found: [*zip(norms(found), fresh(found), strict=True)],
        "edits": lambda found: [*zip(map(Value, steps), scores(found), strict=True)],
    }


class Correlation(NamedTuple):
    """Spearman's rank correlation.

    Attributes:
        rho: -1 to 1; ties share the mean of their ranks. None where one quantity never changes.
        n: points.
        chance: the share of all orderings of y with a correlation of this sign at least as
            strong, exact; None for more than eight points. Meaningful only if points are
            independent, which those along one sequence are not.
    """

    rho: float | None
    n: int
    chance: float | None


def spearman(x: Sequence[float], y: Sequence[float]) -> Correlation:
    """Rank correlation of two quantities, with its exact one-sided chance where points are few.

    Args:
        x, y: [n] each.
    """
    left, right = (_standard(_ranks(np.asarray(z, np.float64))) for z in (x, y))
    n = len(left)
    if n < 2 or not left.any() or not right.any():
        return Correlation(None, n, None)
    rho = float(left @ right)
    if n > EXACT:
        return Correlation(rho, n, None)
    orders = np.array(list(permutations(range(n))))  # n! n
    others = right[orders] @ left
    as_strong = others >= rho - 1e-9 if rho >= 0 else others <= rho + 1e-9
    return Correlation(rho, n, float(as_strong.mean()))


def _ranks(x: np.ndarray) -> np.ndarray:
    """0 for the least; [n] -> [n]."""
    below = (x[None] < x[:, None]).sum(axis=1)
    same = (x[None] == x[:, None]).sum(axis=1)
    return below + (same - 1) / 2


def _standard(ranks: np.ndarray) -> np.ndarray:
    """Of mean 0 and length 1, or all 0."""
    centred = ranks - ranks.mean() if len(ranks) else ranks
    length = np.linalg.norm(centred)
    return centred / length if length > 1e-9 else np.zeros_like(centred)


def correlation(pairs: Sequence[Pair]) -> Correlation | None:
    """Of pairs of which all are known; None while one is not, or without any."""
    known = [(x.value, y.value) for x, y in pairs if x is not None and y is not None]
    if not known or len(known) < len(pairs):
        return None
    return spearman(*zip(*known, strict=True))


def rho(pairs: Sequence[Pair]) -> Value | None:
    """The correlation as a table's number."""
    found = correlation(pairs)
    return None if found is None or found.rho is None else Value(found.rho, n=found.n, share=False)


def goes(
    way: Literal["rises", "falls"], name: str, pairs: Pairs, *, independent: bool = True
) -> Callable[[Found], Verdict]:
    """The second quantity rises, or falls, with the first.

    It holds if the correlation has that sign and chance gives one so strong in at most 5 % of
    orderings; with the sign alone it holds in part.

    Args:
        way: which sign is claimed.
        name: of the points, for the sentence.
        pairs: takes them.
        independent: whether each point is a run of its own. Points along one sequence are not:
            for them the sign alone is asked for, and no chance is told.
    """

    def test(found: Found) -> Verdict:
        told = correlation(pairs(found))
        if told is None:
            return Verdict(OPEN, name)
        if told.rho is None:
            return Verdict(FAILS, f"{name}: one of the two never changes (n {told.n})")
        said = f"{name}: rho {told.rho:+.2f} (n {told.n}"
        if SIGNS[way] * told.rho <= 0:
            return Verdict(FAILS, f"{said})")
        if not independent or told.chance is None:
            return Verdict(HOLDS, f"{said})")
        word = HOLDS if told.chance <= CHANCE else PARTLY
        return Verdict(word, f"{said}, by chance {100 * told.chance:.2g} %)")

    return test
