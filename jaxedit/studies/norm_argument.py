"""Is D4S's change smaller than sequential MEMIT's? The argument of its section 4.3.3, tested.

After n edits with keys k_i and residuals r_i, and with B = lambda C, the paper compares

    MEMIT (equation 12)  sum_i r_i k_i^T (B + k_i k_i^T)^-1
    D4S   (equation 13)  sum_i r_i k_i^T (B + sum_j k_j k_j^T)^-1

and expects the second to be smaller because its inverse is. With U = B^-1 K and G = K^T B^-1 K
(Woodbury) both are R M U^T, where

    MEMIT  M = (I + diag G)^-1        D4S  M = (I + G)^-1.

So they differ in how far keys overlap, and in nothing else:

* Keys apart (G is diagonal; or a single edit): they are the same.
* One key k edited n times, q = k^T B^-1 k: D4S over MEMIT is (1 + q) / (1 + n q), below 1 whatever
  the residuals are. This is the case that the argument has in mind.
* Two keys of one length q that overlap by c, 0 < c < q: what the residuals share, r_1 + r_2, is
  divided by 1 + q + c in the place of 1 + q, and becomes smaller; what tells them apart,
  r_1 - r_2, is divided by 1 + q - c, and becomes *larger*, up to 1 + q times. That is no defect:
  near keys with different values need a large change, and MEMIT's sum does not make it.
* In general, keys of one length: along an eigenvector of G with value g D4S divides by 1 + g,
  MEMIT by 1 + the mean of all g. Residuals along the small values make D4S's change the larger.
  A smaller inverse (B + T is the larger matrix) says nothing of that: S (B + T)^-1 is a product.
* In the norm tr(Delta B Delta^T), expected over independent residuals, MEMIT's is the sum of f over
  the diagonal of G and D4S's over its eigenvalues, f(g) = g / (1 + g)^2, which is concave below
  g = 2 and convex above. Eigenvalues majorise the diagonal (Schur), so D4S's is never the larger
  one where all of them are under 2 (lambda large), and never the smaller one where all are above.

MEMIT as it is run measures each residual on the matrix as edited so far, r_i - Delta k_i, which
gives M = (I + the upper triangle of G)^-1: half of D4S's equations. It is the third that is
compared here, for targets that stay the same (a real run finds new ones on the edited model).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jaxedit.data.fact import Fact
from jaxedit.editors import keys as walk
from jaxedit.editors.d4s import D4S
from jaxedit.editors.rows import context_weights
from jaxedit.editors.weights import DOWN, leaf, leaf_names
from jaxedit.models.transformer import Transformer

TIMES = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Lambdas, in units of the one that the model is edited with."""
COUNTS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100, 150, 200, 300, 500, 1000)


class Changes(NamedTuple):
    """What is added to a matrix W (u x v) by all edits together, [u, v] float64 each.

    Attributes:
      memit: equation 12: every residual as on the unedited matrix.
      measured: MEMIT with every residual as on the matrix edited so far.
      d4s: equation 13.
    """

    memit: np.ndarray
    measured: np.ndarray
    d4s: np.ndarray


class Equations(NamedTuple):
    """Of one layer and lambda: U = B^-1 K, [v, n], and G = K^T B^-1 K, [n, n], float64."""

    solved: np.ndarray
    gram: np.ndarray


def equations(keys: np.ndarray, moment: np.ndarray, weight: float) -> Equations:
    """Solves for U once; every prefix of the edits needs a part of it alone.

    Args:
      keys: [n, v].
      moment: C, [v, v].
      weight: lambda.
    """
    keys = np.asarray(keys, np.float64)
    solved = np.linalg.solve(weight * np.asarray(moment, np.float64), keys.T)
    return Equations(solved, keys @ solved)


def changes(found: Equations, residuals: np.ndarray, count: int | None = None) -> Changes:
    """The three changes after the first `count` edits.

    Args:
      found: of all keys.
      residuals: [n, u].
      count: all by default.
    """
    right, gram = found.solved[:, :count], found.gram[:count, :count]
    left = np.asarray(residuals, np.float64)[:count].T  # [u, n]
    one = np.eye(len(gram))
    matrices = (one + np.diag(np.diag(gram)), one + np.triu(gram), one + gram)
    return Changes(*(np.linalg.solve(m.T, left.T).T @ right.T for m in matrices))


class Norms(NamedTuple):
    """Sum of absolute entries, as the paper's figures have it but for a factor; Frobenius."""

    l1: float
    l2: float


def norms(change: np.ndarray) -> Norms:
    """Of one change."""
    return Norms(float(np.abs(change).sum()), float(np.linalg.norm(change)))


class Ratios(NamedTuple):
    """Norms of D4S's change over those of MEMIT's by equation 12, and of MEMIT's as it is run."""

    l1: float
    l2: float
    measured_l1: float
    measured_l2: float


def ratios(found: Changes) -> Ratios:
    """Of one set of edits."""
    memit, measured, d4s = map(norms, found)
    return Ratios(d4s.l1 / memit.l1, d4s.l2 / memit.l2, d4s.l1 / measured.l1, d4s.l2 / measured.l2)


@dataclass(frozen=True)
class Recorded:
    """Recorded keys and residuals of one layer, after so many edits.

    Attributes:
      layer: which.
      weight: lambda.
      times: in units of the lambda that the model is edited with.
      edits: n.
      leverage: mean of k^T (lambda C)^-1 k.
      overlap: mean cosine of two keys in the product that (lambda C)^-1 gives.
      ratios: D4S's norms over MEMIT's.
      growth: mean absolute weight of W + Delta over that of W: MEMIT by equation 12, MEMIT as it
        is run, D4S.
    """

    layer: int
    weight: float
    times: float
    edits: int
    leverage: float
    overlap: float
    ratios: Ratios
    growth: tuple[float, float, float]


class Record(NamedTuple):
    """What was recorded of one layer: keys [n, v], residuals [n, u], C [v, v], W [u, v]."""

    keys: np.ndarray
    residuals: np.ndarray
    moment: np.ndarray
    weights: np.ndarray


def record(lm: Transformer, editor: D4S, facts: Sequence[Fact]) -> dict[int, Record]:
    """Keys and residuals of D4S as published, all taken on the unedited model, by layer.

    The residual of layer j of m is (z - h) / (m - j + 1) (equation 4).
    """
    prepared = editor.prepare(lm, facts)
    weights = context_weights(editor.contexts)
    place = walk.Place(prepared.hidden, prepared.mask, prepared.lookup)
    found = {}
    for j, layer in enumerate(editor.layers):
        if j:
            place = walk.advance(lm, place, editor.layers[j - 1], layer)
        keys = np.asarray(walk.read(lm, place, layer, weights), np.float64)
        residuals = np.asarray(prepared.residual, np.float64) / (len(editor.layers) - j)
        [name] = leaf_names(lm, (layer,), (DOWN,))
        kernel = np.asarray(leaf(lm, name), np.float64)
        found[layer] = Record(keys, residuals, editor.statistics[layer], kernel.T)
    return found


def measure(
    records: Mapping[int, Record],
    weight: float,
    *,
    times: Sequence[float] = TIMES,
    counts: Sequence[int] = COUNTS,
) -> Iterator[Recorded]:
    """Ratios of norms in each layer: by number of edits, and after all of them by lambda.

    Args:
      records: by layer.
      weight: the lambda that the model is edited with.
      times: lambdas in its units.
      counts: numbers of edits; all of them are always among these.
    """
    for layer, one in records.items():
        whole = len(one.keys)
        steps = [count for count in counts if count < whole] + [whole]
        for factor in times:
            found = equations(one.keys, one.moment, factor * weight)
            for count in steps if factor == 1 else [whole]:
                some = changes(found, one.residuals, count)
                grown = [np.abs(one.weights + change).mean() for change in some]
                first = np.abs(one.weights).mean()
                yield Recorded(
                    layer,
                    factor * weight,
                    factor,
                    count,
                    *_keys(found.gram[:count, :count]),
                    ratios(some),
                    (grown[0] / first, grown[1] / first, grown[2] / first),
                )


def _keys(gram: np.ndarray) -> tuple[float, float]:
    """Mean leverage, and mean cosine of two different keys (0 of a single one)."""
    lengths = np.sqrt(np.diag(gram))
    cosines = gram / np.outer(lengths, lengths)
    pairs = cosines[np.triu_indices(len(gram), 1)]
    return float(np.square(lengths).mean()), float(pairs.mean()) if len(pairs) else 0.0
