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

from jaxedit.findings import pick

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
    """

    value: float
    low: float | None = None
    high: float | None = None
    n: int | None = None
    seeds: int = 1


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

    def read(result: Result, arm: Arm, where: Where) -> Value | None:
        return of_score(pick(scores_at(arm, where), metric, **wanted))

    return over_seeds(read)


def unedited(metric: str, **wanted: str) -> Reader:
    """The same before any edit: of the run's model, or of the place's target."""

    def read(result: Result, arm: Arm, where: Where) -> Value | None:
        told = arm["targets"].get(where.target, {}) if where.target else result
        return of_score(pick(told.get("before", ()), metric, **wanted))

    return over_seeds(read)


def immediate(metric: str, **wanted: str) -> Reader:
    """The same of every fact right after its own edit, whatever came later."""
    return over_seeds(lambda result, arm, where: of_score(pick(arm["immediate"], metric, **wanted)))


def task(name: str) -> Reader:
    """A downstream test's score (`eval.tasks`), after so many edits or after all."""

    def read(result: Result, arm: Arm, where: Where) -> Value | None:
        for record in reversed(list(tasks_until(arm, where.at))):
            for one in record["scores"]:
                if one["task"] == name:
                    return of_score(one)
        return None

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
        )

    return read


def mean_over(reader: Reader, places: Sequence[Where]) -> Callable[[Found], Value | None]:
    """The mean of one number over several places, such as an average over models."""

    def read(found: Found) -> Value | None:
        values = [reader(found, place) for place in places]
        known = [value.value for value in values if value is not None]
        return Value(float(np.mean(known))) if len(known) == len(values) else None

    return read


def over_seeds(read: Callable[[Result, Arm, Where], Value | None]) -> Reader:
    """A reader that takes the mean over the seeds of a place."""

    def reader(found: Found, where: Where) -> Value | None:
        values = [read(result, arm, where) for result, arm in found.arms(where)]
        known = [value for value in values if value is not None]
        if len(known) < 2:
            return known[0] if known else None
        numbers = [value.value for value in known]
        mean = float(np.mean(numbers))
        return Value(mean, min(numbers), max(numbers), known[0].n, len(known))

    return reader


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


def growth(arm: Arm, edits: int | None = None) -> float | None:
    """How much the edited layers' mean absolute weight has grown, mean over layers."""
    records = [r for r in arm["norms"] if edits is None or r["step"] <= edits]
    if len(records) < 2:
        return None
    first, last = records[0]["layers"], records[-1]["layers"]
    ratios = [last[name]["l1"] / first[name]["l1"] for name in first if first[name]["l1"]]
    return float(np.mean(ratios)) if ratios else None


def of_score(found: Mapping[str, Any] | None) -> Value | None:
    """A score as it stands in a result."""
    if found is None:
        return None
    low, high = found.get("interval") or (None, None)
    return Value(found["value"], low, high, found.get("n"))


def _plain(value: float | None) -> Value | None:
    return None if value is None else Value(float(value))
