"""The study of D4S's norm argument as tables and a picture."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxedit.ledger import write_json, write_whole
from jaxedit.studies.norm_argument import Ratios, Recorded
from jaxedit.studies.norm_instances import (
    AGREEMENTS,
    LARGER,
    LEVERAGES,
    OVERLAPS,
    Tried,
    summary,
)

RECORDED = (
    "layer",
    "lambda",
    "edits",
    "k^T (lambda C)^-1 k",
    "overlap",
    "L1: D4S / eq. 12",
    "Frobenius",
    "L1: D4S / as run",
    "Frobenius",
    "W + Delta: eq. 12",
    "as run",
    "D4S",
)


@dataclass(frozen=True)
class Study:
    """Random instances and recorded ones.

    Attributes:
      model, corpus: whose keys and residuals, and of which text C is.
      weight: the lambda that the model is edited with.
      tried: the random instances.
      recorded: by layer, lambda and number of edits.
    """

    model: str
    corpus: str
    weight: float
    tried: tuple[Tried, ...]
    recorded: tuple[Recorded, ...]

    def to_dict(self) -> dict[str, Any]:
        """In JSON's types; of the random instances a summary a family and ratio."""
        random = [
            {
                **asdict(one.family),
                "instances": len(one.ratios),
                **{name: summary(_of([one], name))._asdict() for name in Ratios._fields},
            }
            for one in self.tried
        ]
        recorded = [{**asdict(row), "ratios": row.ratios._asdict()} for row in self.recorded]
        told = {"model": self.model, "corpus": self.corpus, "weight": self.weight}
        return {**told, "random": random, "recorded": recorded}


def write(study: Study, workdir: Path) -> list[Path]:
    """Writes study.json, study.md and study.png; returns their paths."""
    workdir.mkdir(parents=True, exist_ok=True)
    paths = [workdir / f"study.{ending}" for ending in ("json", "md", "png")]
    write_json(paths[0], study.to_dict())
    write_whole(paths[1], text(study))
    picture(study).savefig(paths[2], dpi=150)
    return paths


def text(study: Study) -> str:
    """Markdown: both parts, each with a sentence on how often D4S's norm is the larger."""
    lines = ["# Is D4S's change smaller than sequential MEMIT's? (D4S, section 4.3.3)", ""]
    if study.tried:
        lines += ["## Random instances", "", said(study.tried), "", *_random(study.tried), ""]
    if study.recorded:
        lines += [
            "## Recorded keys and residuals",
            "",
            f"{study.model}, statistics of {study.corpus}, edited with lambda {study.weight:g}. "
            f"{told(study.recorded, study.weight)}",
            "",
            "Overlap: mean cosine of two keys in the product that (lambda C)^-1 gives. The last "
            "three columns: mean absolute weight over that of the unedited matrix.",
            "",
            *_recorded(study.recorded),
            "",
        ]
    return "\n".join(lines)


def said(tried: Sequence[Tried]) -> str:
    """What the random instances say, over all of them."""
    parts = [
        f"{name} in {100 * one.larger:.1f} % (worst {one.worst:.1f} times, median {one.median:.2f})"
        for name, one in (
            (title, summary(_of(tried, field)))
            for title, field in (("L1", "l1"), ("Frobenius", "l2"))
        )
    ]
    against = summary(_of(tried, "measured_l1"))
    count = sum(len(one.ratios) for one in tried)
    return (
        f"Of {count:,} instances D4S's norm is the larger one: {'; '.join(parts)}. Against MEMIT "
        f"with residuals measured on the edited matrix: L1 in {100 * against.larger:.1f} %."
    )


def told(recorded: Sequence[Recorded], weight: float) -> str:
    """What the recorded ones say: all edits, with the model's own lambda."""
    last: dict[int, Recorded] = {}
    for row in recorded:
        if row.weight == weight and row.edits >= getattr(last.get(row.layer), "edits", 0):
            last[row.layer] = row
    parts = [
        f"layer {layer}: D4S's L1 norm is {row.ratios.l1:.2f} times that of equation 12 and "
        f"{row.ratios.measured_l1:.2f} times that of MEMIT as it is run"
        for layer, row in last.items()
    ]
    larger = [row.ratios.l1 > LARGER for row in recorded]
    return f"{'; '.join(parts)}. The larger one in {sum(larger)} of {len(larger)} rows."


def _of(tried: Iterable[Tried], name: str) -> list[float]:
    return [getattr(ratio, name) for one in tried for ratio in one.ratios]


def _random(tried: Sequence[Tried]) -> list[str]:
    """A row for each kind of keys, residuals and lambda, over all sizes."""
    heads = (
        "residuals agree",
        "k^T (lambda C)^-1 k",
        "keys overlap",
        "L1 larger, %",
        "median",
        "worst",
        "Frobenius larger, %",
        "L1 larger than as run, %",
    )
    lines = [f"| {' | '.join(heads)} |", "|" + "---:|" * len(heads)]
    for agreement in AGREEMENTS:
        for leverage in LEVERAGES:
            for overlap in OVERLAPS:
                some = _chosen(tried, agreement, leverage, overlap)
                one, two, run = (summary(_of(some, name)) for name in ("l1", "l2", "measured_l1"))
                cells = (
                    f"{agreement:g}",
                    f"{leverage:g}",
                    f"{overlap:g}",
                    f"{100 * one.larger:.1f}",
                    f"{one.median:.2f}",
                    f"{one.worst:.2f}",
                    f"{100 * two.larger:.1f}",
                    f"{100 * run.larger:.1f}",
                )
                lines.append(f"| {' | '.join(cells)} |")
    return lines


def _chosen(
    tried: Sequence[Tried], agreement: float, leverage: float, overlap: float
) -> list[Tried]:
    wanted = (agreement, leverage, overlap)
    return [
        one
        for one in tried
        if (one.family.agreement, one.family.leverage, one.family.overlap) == wanted
    ]


def _recorded(rows: Sequence[Recorded]) -> list[str]:
    lines = [f"| {' | '.join(RECORDED)} |", "|" + "---:|" * len(RECORDED)]
    for row in rows:
        r = row.ratios
        numbers = (row.leverage, row.overlap, r.l1, r.l2, r.measured_l1, r.measured_l2, *row.growth)
        cells = (str(row.layer), f"{row.weight:g}", str(row.edits), *(f"{x:.3g}" for x in numbers))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def picture(study: Study) -> Figure:
    """Left: how often D4S's is larger. Right: recorded ratios by edits, and by lambda."""
    figure = Figure(figsize=(13, 4.2), layout="constrained")
    chance, course, weights = figure.subplots(1, 3)
    for overlap in OVERLAPS if study.tried else ():
        for agreement, dash in zip(AGREEMENTS, ("o-", "o--"), strict=True):
            shares = [
                100 * summary(_of(_chosen(study.tried, agreement, x, overlap), "l1")).larger
                for x in LEVERAGES
            ]
            label = f"keys overlap {overlap:g}, residuals agree {agreement:g}"
            chance.plot(LEVERAGES, shares, dash, label=label)
    chance.set(title="random: D4S's L1 norm larger, %", xscale="log", ylim=(-3, 103))
    chance.set(xlabel="k^T (lambda C)^-1 k of a key")
    for layer in dict.fromkeys(row.layer for row in study.recorded):
        own = [row for row in study.recorded if row.layer == layer]
        _ratios(course, [(r.edits, r.ratios) for r in own if r.weight == study.weight], layer)
        most = max(row.edits for row in own)
        _ratios(weights, [(r.weight, r.ratios) for r in own if r.edits == most], layer)
    course.set(title=f"recorded, lambda {study.weight:g}", xlabel="edits")
    course.set(ylabel="L1 norm, D4S over MEMIT")
    weights.set(title="recorded, after all edits", xlabel="lambda", xscale="log")
    for axes in (chance, course, weights):
        axes.grid(alpha=0.3)
        if axes.has_data():
            axes.legend(frameon=False, fontsize=7)
    return figure


def _ratios(axes: Axes, points: Sequence[tuple[float, Ratios]], layer: int) -> None:
    points = sorted(points, key=lambda point: point[0])
    xs = [x for x, _ in points]
    [line] = axes.plot(xs, [r.l1 for _, r in points], "o-", label=f"layer {layer}, equation 12")
    measured, colour = [r.measured_l1 for _, r in points], line.get_color()
    axes.plot(xs, measured, "o--", color=colour, label=f"layer {layer}, MEMIT as run")
    axes.axhline(1, color="grey", lw=0.8)
