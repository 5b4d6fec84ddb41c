"""A figure of a paper with our numbers: curves, dots or bars, drawn as inline SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes

from jaxedit.findings import curve, pick
from jaxedit.papers.readers import (
    Found,
    Reader,
    Value,
    Where,
    growth,
    mean_of,
    of_score,
    task_score,
)
from jaxedit.plots import COLOURS, DASHES, Picture, running_median, svg

Point = tuple[float, Value]
Points = Callable[[Found], Sequence[Point]]
Kind = Literal["curves", "dots", "scatter", "bars"]
PERCENT = (-3, 103)
FEW = 2  # names that fit into the axes
MARKED = 40  # points of a curve that are marked; more run into each other


@dataclass(frozen=True)
class Series:
    """One curve.

    Attributes:
        label: in the legend.
        points: (x, y), ascending in x; empty while its run is not done.
    """

    label: str
    points: Points


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        title, xlabel, ylabel: of the axes.
        series: drawn in it.
        kind: "curves" with bands for intervals, "dots" with a running median, "scatter", or "bars"
            (x is the place of a group).
        percent: whether y is a share, shown in % of a fixed range.
        groups: names under groups of bars.
    """

    title: str
    series: Sequence[Series]
    xlabel: str = "edits"
    ylabel: str = "%"
    kind: Kind = "curves"
    percent: bool = True
    groups: Sequence[str] = ()


@dataclass(frozen=True)
class Figure:
    """Panels side by side, in the paper's form.

    Attributes:
        title, caption: in a report.
        panels: left to right.
    """

    title: str
    caption: str
    panels: Sequence[Panel]


def along(metric: str, where: Where, **wanted: str) -> Points:
    """A score of all facts edited so far, by number of edits; several seeds: their mean."""

    def points(found: Found) -> list[Point]:
        known: dict[float, list[Value]] = {}
        for _, arm in found.arms(where):
            for edits, told in dict(curve(arm, metric, **wanted)).items():
                _add(known, edits, of_score(told))
        return _means(known)

    return points


def by_age(where: Where, metric: str = "efficacy", **wanted: str) -> Points:
    """A score after all edits by the facts' place in the order of editing (forgetting)."""

    def points(found: Found) -> list[Point]:
        known: dict[float, list[Value]] = {}
        for _, arm in found.arms(where):
            for record in arm["retention"]:
                place = (record["first"] + record["last"]) / 2 + 1
                _add(known, place, of_score(pick([record["score"]], metric, **wanted)))
        return _means(known)

    return points


def probability(where: Where) -> Points:
    """The target's probability right after its own edit, edit by edit."""

    def points(found: Found) -> list[Point]:
        for _, arm in found.arms(where)[:1]:
            log = arm["edit_log"]
            known = [(r["fact"] + 1, r.get("after")) for r in log]
            return [(edit, Value(after)) for edit, after in known if after is not None]
        return []

    return points


def norms(where: Where) -> Points:
    """Growth of the edited layers' mean absolute weight, by number of edits."""

    def points(found: Found) -> list[Point]:
        for _, arm in found.arms(where)[:1]:
            steps = [record["step"] for record in arm["norms"]]
            grown = [(step, growth(arm, step)) for step in steps]
            return [(step, Value(g, share=False)) for step, g in grown if g is not None]
        return []

    return points


def tasks(where: Where, name: str) -> Points:
    """A downstream test by number of edits."""

    def points(found: Found) -> list[Point]:
        known: dict[float, list[Value]] = {}
        for _, arm in found.arms(where):
            for record in arm.get("tasks", ()):
                _add(known, record["step"], task_score(record, name))
        return _means(known)

    return points


def alphas(where: Where, kind: str) -> Points:
    """The histogram of the gate's alpha on prompts of a kind: shares by the bins' middles."""

    def points(found: Found) -> list[Point]:
        known: dict[float, list[Value]] = {}
        for _, arm in found.arms(where):
            for one in arm.get("alpha", ()):
                total, bins = sum(one["counts"]), len(one["counts"])
                for place, count in enumerate(one["counts"] if one["kind"] == kind else ()):
                    _add(known, (place + 0.5) / bins, Value(count / total, n=total))
        return _means(known)

    return points


def readings(where: Where, metrics: Mapping[str, Reader]) -> Points:
    """Several numbers of one place, a bar each."""

    def points(found: Found) -> list[Point]:
        values = [(float(i), reader(found, where)) for i, reader in enumerate(metrics.values())]
        return [(x, value) for x, value in values if value is not None]

    return points


def draw(figure: Figure, found: Found, name: str) -> Picture | None:
    """The figure as far as the runs have got; None if there is nothing to draw yet.

    Args:
        figure: what to draw.
        found: the runs' results.
        name: for its anchor, unique on the page.
    """
    panels = []
    for i, panel in enumerate(figure.panels):
        drawn = [(series, list(series.points(found))) for series in panel.series]
        if any(points for _, points in drawn):
            panels.append(svg(f"{name}-{i}", lambda axes, p=panel, d=drawn: _panel(axes, p, d)))
    return Picture(name, figure.title, figure.caption, tuple(panels)) if panels else None


def _panel(axes: Axes, panel: Panel, drawn: Sequence[tuple[Series, Sequence[Point]]]) -> None:
    times = 100 if panel.percent else 1
    for i, (series, points) in enumerate(drawn):
        if not points:
            continue
        colour, dash = COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]
        xs = np.array([x for x, _ in points])
        ys = times * np.array([value.value for _, value in points])
        low = times * np.array([y.value if y.low is None else y.low for _, y in points])
        high = times * np.array([y.value if y.high is None else y.high for _, y in points])
        if panel.kind == "bars":
            width = 0.8 / len(drawn)
            places = xs + (i - (len(drawn) - 1) / 2) * width
            errors = np.maximum(0, np.stack([ys - low, high - ys]))
            axes.bar(places, ys, width, color=colour, label=series.label)
            axes.errorbar(places, ys, errors, fmt="none", ecolor=colour, alpha=0.5, lw=1)
        elif panel.kind == "dots":
            axes.plot(xs, ys, "o", color=colour, ms=2.5, alpha=0.35, mew=0)
            axes.plot(xs, running_median(ys), color=colour, ls=dash, label=series.label)
        elif panel.kind == "scatter":
            axes.plot(xs, ys, "o", color=colour, ms=4, alpha=0.8, mew=0, label=series.label)
        else:
            axes.fill_between(xs, low, high, color=colour, alpha=0.13, linewidth=0)
            axes.plot(
                xs,
                ys,
                color=colour,
                ls=dash,
                marker="o" if len(xs) <= MARKED else None,
                ms=3,
                label=series.label,
            )
    axes.set(title=panel.title, xlabel=panel.xlabel, ylabel=panel.ylabel)
    if panel.percent:
        axes.set(ylim=PERCENT)
    if panel.kind == "bars":
        axes.set_xticks(range(len(panel.groups)), panel.groups)
    elif panel.kind != "scatter":
        axes.set(xlim=(0, None))
    _legend(axes)


def _legend(axes: Axes) -> None:
    """Among the curves where there are few, else under them: it would hide what it names."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) <= FEW:
        axes.legend(loc="best", fontsize="small")
        return
    small: Any = {"fontsize": 7, "handlelength": 1.6, "columnspacing": 1, "labelspacing": 0.3}
    axes.figure.legend(handles, labels, loc="outside lower center", ncols=3, **small)


def _add(known: dict[float, list[Value]], x: float, value: Value | None) -> None:
    if value is not None:
        known.setdefault(x, []).append(value)


def _means(known: Mapping[float, Sequence[Value]]) -> list[Point]:
    """Over seeds, ascending in x."""
    means = [(x, mean_of(values)) for x, values in sorted(known.items())]
    return [(x, mean) for x, mean in means if mean is not None]
