"""Random instances of the argument of D4S's section 4.3.3; see `norm_argument`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np

from jaxedit.studies.norm_argument import Equations, Ratios, changes, equations, ratios

SIZES = ((8, 2), (8, 8), (32, 8), (32, 32), (128, 16))
"""Width of the keys and number of edits."""
OVERLAPS, AGREEMENTS = (0.0, 0.5, 0.9), (0.0, 0.9)
LEVERAGES = (0.1, 1.0, 10.0, 100.0)
ROWS = 4  # keys are so many times wider than residuals
SAMPLES = 4  # vectors behind C, a unit of width
LARGER = 1 + 1e-9


@dataclass(frozen=True)
class Family:
    """Random instances of one kind; C is the second moment of normal vectors.

    Attributes:
      width: v; residuals have a quarter of it.
      edits: n.
      overlap: correlation of the keys with each other, 0 to 1.
      agreement: likewise of the residuals.
      leverage: k^T (lambda C)^-1 k of a typical key, which lambda is chosen for: how much the
        prior gives way to one edit.
    """

    width: int
    edits: int
    overlap: float
    agreement: float
    leverage: float


def families() -> Iterator[Family]:
    """The whole grid."""
    for (width, edits), overlap, agreement, leverage in product(
        SIZES, OVERLAPS, AGREEMENTS, LEVERAGES
    ):
        yield Family(width, edits, overlap, agreement, leverage)


def draw(family: Family, rng: np.random.Generator) -> tuple[Equations, np.ndarray]:
    """The equations and residuals [n, u] of one random instance."""
    text = rng.standard_normal((SAMPLES * family.width, family.width))
    keys = _alike(rng, family.edits, family.width, family.overlap)
    rows = max(1, family.width // ROWS)
    residuals = _alike(rng, family.edits, rows, family.agreement)
    return equations(keys, text.T @ text / len(text), family.width / family.leverage), residuals


def _alike(rng: np.random.Generator, count: int, width: int, alike: float) -> np.ndarray:
    shared, own = rng.standard_normal((1, width)), rng.standard_normal((count, width))
    return np.sqrt(alike) * shared + np.sqrt(1 - alike) * own


@dataclass(frozen=True)
class Tried:
    """A family, and the ratios of its instances.

    Attributes:
      family: which.
      ratios: one an instance.
    """

    family: Family
    ratios: tuple[Ratios, ...]


def try_all(draws: int, seed: int = 0) -> tuple[Tried, ...]:
    """So many random instances of every family."""
    rng = np.random.default_rng(seed)
    return tuple(
        Tried(family, tuple(ratios(changes(*draw(family, rng))) for _ in range(draws)))
        for family in families()
    )


class Summary(NamedTuple):
    """Of many ratios: the share above 1, the middle one and the greatest."""

    larger: float
    median: float
    worst: float


def summary(values: Sequence[float]) -> Summary:
    """Of one norm's ratios."""
    array = np.asarray(values)
    return Summary(float((array > LARGER).mean()), float(np.median(array)), float(array.max()))
