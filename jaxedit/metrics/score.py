"""A number with its protocol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from typing import Any

import numpy as np

from jaxedit.errors import UserError
from jaxedit.metrics.records import OURS, Setting

RESAMPLES = 1000
DRAWS = 2**20
PER_CENT = ("exact", "token_accuracy", "contains", "new_over_old", "choice", "ids", "judge")


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
        protocol: by whose rules the answers were taken.
        group: of the questions behind it, as their source sorts them; empty for all of them.
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
    protocol: str = OURS
    group: str = ""

    def __post_init__(self) -> None:
        """Refuse a number whose protocol has gaps."""
        needed = [f.name for f in fields(self) if f.name != "group"]
        missing = [name for name in needed if getattr(self, name) in ("", None)]
        if missing:
            raise UserError(f"a score without {', '.join(missing)} cannot be compared or printed")

    @property
    def label(self) -> str:
        """A column heading; two scores with one label and one protocol measure the same thing."""
        group = f", {self.group}" if self.group else ""
        return f"{self.metric} ({self.decoding}, {self.reading}, {self.against}{group})"

    @property
    def described(self) -> str:
        """All but the value, in one line."""
        low, high = self.edits
        edits = f"{low}" if low == high else f"{low}-{high}"
        rules = "" if self.protocol == OURS else f"protocol {self.protocol}, "
        group = f"questions of {self.group}, " if self.group else ""
        return (
            f"{rules}{group}{self.decoding}, {self.reading} against {self.against}, {self.when} "
            f"at {edits} edits, prompt {self.prompt_format!r}, n={self.n}, seed {self.seed}, "
            f"{self.dtype}, jaxedit {self.version}"
        )

    def __str__(self) -> str:
        """The number with its protocol; there is no way to print it without."""
        low, high = (self._number(x) for x in self.interval)
        return f"{self.metric} {self._number(self.value)} [{low}, {high}] ({self.described})"

    def _number(self, value: float) -> str:
        share = self.reading.partition(":")[0] in PER_CENT
        return f"{100 * value:.2f} %" if share else f"{value:.4g}"

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
        needed = {f.name for f in fields(cls) if f.default is MISSING}
        if wrong := (needed - value.keys()) | (value.keys() - names):
            raise UserError(f"not a score: {', '.join(sorted(wrong))}")
        pairs = {name: tuple(value[name]) for name in ("edits", "interval")}
        return cls(**{**value, **pairs})


def score_lines(scores: Sequence[Score]) -> Iterator[str]:
    """Scores as a table of plain text: what all of them share is said once, at its head."""
    named = ("prompt_format", "when", "edits", "seed", "dtype", "version", "protocol")
    first: dict[str, Any] = scores[0].to_dict() if scores else {}
    shared = [n for n in named if all(s.to_dict()[n] == first[n] for s in scores)]
    yield ", ".join(f"{name.replace('_', ' ')} {_plainly(first[name])}" for name in shared)
    rows = [["", "read as", "against", "", "95 %", "n", *(n for n in named if n not in shared)]]
    for score in scores:
        told = score.to_dict()
        rows.append(
            [
                score.metric + (f": {score.group}" if score.group else ""),
                f"{score.decoding}, {score.reading}",
                score.against,
                score._number(score.value),
                " to ".join(score._number(x).removesuffix(" %") for x in score.interval),
                str(score.n),
                *(_plainly(told[name]) for name in named if name not in shared),
            ]
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = zip(row, widths, strict=True)
        yield "  ".join(
            text.rjust(w) if 2 < i < 6 else text.ljust(w) for i, (text, w) in enumerate(cells)
        ).rstrip()


def _plainly(value: Any) -> str:
    if isinstance(value, list):  # (fewest, most) edits
        return "-".join(map(str, dict.fromkeys(value)))
    return repr(value) if "{}" in str(value) else str(value)


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
    group: str = "",
    prompt_format: str | None = None,
    seed: int = 0,
) -> Score:
    """The (weighted) mean of per-fact values, or its exponential, with its interval.

    Args:
        values: [n]; weights: [n] or None.
        setting, edits: how and when the answers behind the values were taken.
        metric, decoding, reading, against: as in :class:`Score`.
        exponential: of the mean: a perplexity from losses per token.
        group: of the questions behind the values.
        prompt_format: theirs, if it is not the setting's.
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
        prompt_format=prompt_format or setting.prompt_format,
        when=setting.when,
        edits=edits,
        n=len(values),
        interval=(low, high),
        seed=seed,
        dtype=setting.dtype,
        version=setting.version,
        protocol=setting.protocol,
        group=group,
    )
