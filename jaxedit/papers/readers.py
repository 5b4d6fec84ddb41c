"""Reading numbers out of a batch's runs: what a cell of a table or a point of a figure is made of.

A `Where` names a place in a batch (a run, an arm of it, perhaps a number of edits, perhaps another
model that the arm's plug-in corrects); a `Reader` takes one number from there. Where the batch was
run with several seeds a place stands for one arm a seed, and a number for their mean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jaxedit.downstream import headline
from jaxedit.findings import pick
from jaxedit.metrics.score import PER_CENT

SHARES = (*PER_CENT, "probability")  # readings that lie in 0..1
Result = Mapping[str, Any]
Arm = Mapping[str, Any]


@dataclass(frozen=True)
class Where:
    """A place in a batch.

    Attributes:
        run: the run's name there.
        arm: of that run.
        at: after so many edits (the first evaluation at or past them); None is after all.
        target, mode: of the model that the arm's plug-in is joined to; None is the edited model.
    """

    run: str
    arm: str
    at: int | None = None
    target: str | None = None
    mode: str = "dw_ee"

    def after(self, edits: int | None) -> Where:
        """The same arm after another number of edits."""
        return replace(self, at=edits)

    def fused(self, mode: str) -> Where:
        """The same plug-in and target in another mode."""
        return replace(self, mode=mode)


@dataclass(frozen=True)
class Value:
    """A number with what it stands on.

    Attributes:
        value: the mean over seeds; shares are 0 to 1.
        low, high: its 95 % bootstrap interval; with several seeds the least and the greatest.
        n: facts, or items; None where nothing is counted.
        seeds: how many runs it is the mean of.
        share: whether it lies in 0..1 and is shown in %; else it is a perplexity, seconds, a ratio.
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    seeds: int = 1
    share: bool = True


@dataclass(frozen=True)
class Found:
    """The results of a batch's runs, as far as they have got.

    Attributes:
        runs: by the run's name, one result a seed (`results.run_result`, arms that are done).
    """

    runs: Mapping[str, Sequence[Result]] = field(default_factory=dict)

    def arms(self, where: Where) -> list[tuple[Result, Arm]]:
        """The results of a place, one a seed, each with its arm."""
        return [
            (result, arm)
            for result in self.runs.get(where.run, ())
            for arm in result["arms"]
            if arm["name"] == where.arm
        ]


Reader = Callable[[Found, Where], Value | None]


def score(metric: str, **wanted: str) -> Reader:
    """A score by its metric, decoding, reading, against and protocol; see `findings.pick`."""
    before = _before(metric, **wanted)

    def read(result: Result, arm: Arm, where: Where) -> Value | None:
        if where.at == 0:
            return before(result, arm, where)
        return of_score(pick(scores_at(arm, where), metric, **wanted))

    return over_seeds(read)


def unedited(metric: str, **wanted: str) -> Reader:
    """The same before any edit: of the run's model, or of the place's target."""
    return over_seeds(_before(metric, **wanted))


def _before(metric: str, **wanted: str) -> Callable[[Result, Arm, Where], Value | None]:
    def read(result: Result, arm: Arm, where: Where) -> Value | None:
        told = arm.get("targets", {}).get(where.target, {}) if where.target else result
        return of_score(pick(told.get("before", ()), metric, **wanted))

    return read


def immediate(metric: str, **wanted: str) -> Reader:
    """The same of every fact right after its own edit, whatever came later."""
    return over_seeds(lambda result, arm, where: of_score(pick(arm["immediate"], metric, **wanted)))


def task(name: str) -> Reader:
    """A downstream test's usual score (`eval.tasks`), after so many edits or after all."""

    def read(result: Result, arm: Arm, where: Where) -> Value | None:
        records = list(tasks_until(arm, where.at))
        return task_score(records[-1], name) if records else None

    return over_seeds(read)


def seconds_an_edit(found: Found, where: Where) -> Value | None:
    """The median update with its share of preparation, compilation left out."""
    return over_seeds(lambda result, arm, _: _plain(arm["timing"].get("steady_seconds_an_edit")))(
        found, where
    )


def seconds_of_editing(found: Found, where: Where) -> Value | None:
    """All edits of the arm, by the clock, scoring left out."""
    return over_seeds(lambda result, arm, _: _plain(arm["timing"].get("edit_seconds")))(
        found, where
    )


def norm_growth(found: Found, where: Where) -> Value | None:
    """Mean absolute weight of the edited layers over that before the first edit, mean over them."""
    return over_seeds(lambda result, arm, at: _plain(growth(arm, at.at)))(found, where)


def average(*readers: Reader) -> Reader:
    """The mean of several numbers of one place; none if one of them is missing."""

    def read(found: Found, where: Where) -> Value | None:
        values = [reader(found, where) for reader in readers]
        known = [value for value in values if value is not None]
        if len(known) < len(values):
            return None
        return Value(
            float(np.mean([value.value for value in known])),
            seeds=min(value.seeds for value in known),
            share=all(value.share for value in known),
        )

    return read


def mean_over(reader: Reader, places: Sequence[Where]) -> Callable[[Found], Value | None]:
    """The mean of one number over several places, such as an average over models."""

    def read(found: Found) -> Value | None:
        values = [reader(found, place) for place in places]
        known = [value for value in values if value is not None]
        if not known or len(known) < len(values):
            return None
        mean = float(np.mean([value.value for value in known]))
        seeds, share = min(value.seeds for value in known), all(value.share for value in known)
        return Value(mean, seeds=seeds, share=share)

    return read


def over_seeds(read: Callable[[Result, Arm, Where], Value | None]) -> Reader:
    """A reader that takes the mean over the seeds of a place."""

    def reader(found: Found, where: Where) -> Value | None:
        values = [read(result, arm, where) for result, arm in found.arms(where)]
        return mean_of([value for value in values if value is not None])

    return reader


def mean_of(values: Sequence[Value]) -> Value | None:
    """The mean over seeds, with the least and the greatest; one seed keeps its own interval."""
    if len(values) < 2:
        return values[0] if values else None
    numbers, first = [value.value for value in values], values[0]
    low, high = min(numbers), max(numbers)
    return Value(float(np.mean(numbers)), low, high, first.n, len(values), first.share)


def scores_at(arm: Arm, where: Where) -> Sequence[Mapping[str, Any]]:
    """All scores of a place: after all edits, or at the first evaluation at or past some."""
    if where.target is not None:
        return arm.get("targets", {}).get(where.target, {}).get(where.mode, ())
    if where.at is None or where.at >= arm["edits"]:
        return arm["after_all"]
    for point in arm["along"]:
        if point["step"] >= where.at:
            return point["scores"]
    return ()


def tasks_until(arm: Arm, edits: int | None) -> Iterator[Mapping[str, Any]]:
    """The records of downstream tests up to the first at or past some edits, or all."""
    for record in arm.get("tasks", ()):
        yield record
        if edits is not None and record["step"] >= edits:
            return


def task_score(record: Mapping[str, Any], name: str) -> Value | None:
    """Of a record of downstream tests, the score of one that published tables show."""
    scores = [score for score in headline(record["scores"]) if score["task"] == name]
    return of_score(scores[0]) if scores else None


def growth(arm: Arm, edits: int | None = None) -> float | None:
    """How much the edited layers' mean absolute weight has grown, mean over layers.

    None where there are no such layers, or where a weight is no longer a number.
    """
    records = [r for r in arm["norms"] if edits is None or r["step"] <= edits]
    if len(records) < (1 if edits == 0 else 2):
        return None
    first, last = records[0]["layers"], records[-1]["layers"]
    pairs = [(first[name]["l1"], last[name]["l1"]) for name in first if first[name]["l1"]]
    if not pairs or any(now is None for _, now in pairs):
        return None
    return float(np.mean([now / then for then, now in pairs]))


def of_score(found: Mapping[str, Any] | None) -> Value | None:
    """A score as it stands in a result; None where it is none, or no number."""
    if found is None or found["value"] is None:
        return None
    low, high = found.get("interval") or (None, None)
    if "reading" in found:
        share = found["reading"].partition(":")[0] in SHARES
    else:
        share = not found["metric"].endswith(("perplexity", "per_byte"))  # of a downstream test
    return Value(found["value"], low, high, found.get("n"), share=share)


def _plain(value: float | None) -> Value | None:
    return None if value is None else Value(float(value), share=False)
