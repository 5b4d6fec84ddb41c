"""Which remembered vector a new one means: the nearest by cosine, if it is near enough."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from jaxedit.models.features import cosines

ROWS = 1024  # compared at a time: their cosines with all that is remembered are in memory together


def nearest(
    queries: np.ndarray, memory: np.ndarray, most: int, threshold: float
) -> list[list[int]]:
    """For each of [N, D], at most ``most`` rows of [M, D] at the threshold or above, nearest last.

    Of rows that are equally near the later one is nearer.
    """
    found: list[list[int]] = []
    for start in range(0, len(queries), ROWS):
        near = cosines(queries[start : start + ROWS], memory)
        order = np.argsort(near, axis=1, kind="stable")[:, -most:]
        found += [[int(i) for i in row if near[n, i] >= threshold] for n, row in enumerate(order)]
    return found


def latest(keys: Sequence[Hashable]) -> list[int]:
    """The last place of each distinct key, in order: what was said of it before does not count."""
    return sorted({key: place for place, key in enumerate(keys)}.values())


def best_threshold(inside: np.ndarray, outside: np.ndarray) -> float:
    """The number that best tells what should be at or above it from what should be below.

    The mean of both shares that are right is largest there; of several such places the one in the
    middle of the widest gap.
    """
    values = np.unique(np.concatenate([inside, outside]).astype(np.float64))
    cuts = np.concatenate([[values[0] - 1], (values[1:] + values[:-1]) / 2, [values[-1] + 1]])
    width = np.concatenate([[0.0], np.diff(values), [0.0]])
    above = np.searchsorted(np.sort(inside), cuts, side="left") / len(inside)
    below = np.searchsorted(np.sort(outside), cuts, side="left") / len(outside)
    right = (1 - above) + below
    best = np.flatnonzero(right >= right.max() - 1e-12)
    return float(cuts[best[np.argmax(width[best])]])
