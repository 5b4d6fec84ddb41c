"""A number with its protocol."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from jaxedit.errors import UserError
from jaxedit.metrics.records import Setting

RESAMPLES = 1000
DRAWS = 2**20
PER_CENT = ("exact", "token_accuracy", "contains", "new_over_old")


@dataclass(frozen=True)
class Score:
    """One number and all that is needed to compare it with another.

    Attributes:
        value: a share in 0..1, a probability or a perplexity, by its reading.
        metric: "efficacy", "paraphrase", "specificity", "reliability", "generality", ...
        decoding: "teacher_forced" or "generation".
        reading: "exact", "token_accuracy", "contains", "new_over_old", "probability", ...
        against: what counts as right: the new "target", the "truth", the "unedited" model, or
            the "previous" answer.
        prompt_format: what every prompt was wrapped in.
        when: "before", "immediate", "checkpoint" or "after_all".
        edits: (fewest, most) edits that the model had received when it was asked.
        n: the number of facts (or texts) behind the value.
        interval: 95 % bootstrap interval over these.
        seed: of the bootstrap.
        dtype: of the model's parameters.
        version: of the code.
    """

    value: float
    metric: str
    decoding: str
    reading: str
    against: str
    prompt_format: str
    when: str
    edits: tuple[int, int]
    n: int
    interval: tuple[float, float]
    seed: int
    dtype: str
    version: str

    def __post_init__(self) -> None:
        """Refuse a number whose protocol has gaps."""
        missing = [f.name for f in fields(self) if getattr(self, f.name) in ("", None)]
        if missing:
            raise UserError(f"a score without {', '.join(missing)} cannot be compared or printed")

    @property
    def label(self) -> str:
        """A column heading; two scores with one label and one protocol measure the same thing."""
        return f"{self.metric} ({self.decoding}, {self.reading}, {self.against})"

    @property
    def protocol(self) -> str:
        """All but the value, in one line."""
        low, high = self.edits
        edits = f"{low}" if low == high else f"{low}-{high}"
        return (
            f"{self.decoding}, {self.reading} against {self.against}, {self.when} at {edits} "
            f"edits, prompt {self.prompt_format!r}, n={self.n}, seed {self.seed}, {self.dtype}, "
            f"jaxedit {self.version}"
        )

    def __str__(self) -> str:
        """The number with its protocol; there is no way to print it without."""
        low, high = (self._number(x) for x in self.interval)
        return f"{self.metric} {self._number(self.value)} [{low}, {high}] ({self.protocol})"

    def _number(self, value: float) -> str:
        return f"{100 * value:.2f} %" if self.reading in PER_CENT else f"{value:.4g}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self) | {"edits": list(self.edits), "interval": list(self.interval)}

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Score:
        """The score that :meth:`to_dict` wrote.

        Raises:
            UserError: if a part of the protocol is missing or unknown.
        """
        names = {f.name for f in fields(cls)}
        if value.keys() != names:
            raise UserError(f"not a score: {', '.join(sorted(names ^ value.keys()))}")
        pairs = {name: tuple(value[name]) for name in ("edits", "interval")}
        return cls(**{**value, **pairs})


def bootstrap(
    values: np.ndarray, weights: np.ndarray | None = None, *, seed: int = 0
) -> tuple[float, float]:
    """95 % percentile interval of the (weighted) mean, over resampled rows.

    Args:
        values: [n]; weights: [n], for a ratio of sums such as a mean over tokens.
        seed: of the resampling.
    """
    weights = np.ones_like(values) if weights is None else weights
    rng = np.random.default_rng(seed)
    n = len(values)
    share = max(1, DRAWS // n)  # resamples held at a time
    means = []
    for start in range(0, RESAMPLES, share):
        rows = rng.integers(0, n, (min(share, RESAMPLES - start), n))  # [resamples, n]
        means.append(np.average(values[rows], weights=weights[rows], axis=1))
    low, high = np.quantile(np.concatenate(means), (0.025, 0.975))
    return float(low), float(high)


def mean_score(
    values: np.ndarray,
    setting: Setting,
    edits: tuple[int, int],
    *,
    metric: str,
    decoding: str,
    reading: str,
    against: str,
    weights: np.ndarray | None = None,
    exponential: bool = False,
    seed: int = 0,
) -> Score:
    """The (weighted) mean of per-fact values, or its exponential, with its interval.

    Args:
        values: [n]; weights: [n] or None.
        setting, edits: how and when the answers behind the values were taken.
        metric, decoding, reading, against: as in :class:`Score`.
        exponential: of the mean: a perplexity from losses per token.
        seed: of the bootstrap.
    """
    low, high = bootstrap(values, weights, seed=seed)
    value = float(np.average(values, weights=weights))
    if exponential:
        value, low, high = (float(np.exp(x)) for x in (value, low, high))
    return Score(
        value=value,
        metric=metric,
        decoding=decoding,
        reading=reading,
        against=against,
        prompt_format=setting.prompt_format,
        when=setting.when,
        edits=edits,
        n=len(values),
        interval=(low, high),
        seed=seed,
        dtype=setting.dtype,
        version=setting.version,
    )
