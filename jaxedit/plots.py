"""The pictures of a run as inline SVG: text and axes take the page's colour, light or dark.

Every panel states how many edits were made and which share of the edited matrices' width (d_ff)
that is: what is editable depends on it.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxedit.findings import curve, layer_name, pick

INK = "#12ab34"  # stands for the page's text colour until the SVG is written
COLOURS = ("#3b7dd8", "#e07b39", "#2a9d76", "#b65fcf", "#c9a227", "#d1495b")
METRICS = (
    ("efficacy", "target", "efficacy"),
    ("paraphrase", "target", "paraphrase"),
    ("specificity", "unedited", "specificity"),
)
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}


@dataclass(frozen=True)
class Picture:
    """One figure of the report.

    Attributes:
        name: for its anchor.
        title: what it shows.
        caption: how it was taken.
        svg: inline.
    """

    name: str
    title: str
    caption: str
    svg: str


def pictures(result: Mapping[str, Any]) -> list[Picture]:
    """All figures for which the result has the numbers."""
    arms = result["arms"]
    if not arms:
        return []
    scale = _scale(result)
    found = [_against_edits(arms, scale), _norms(arms, scale)]
    found += [_probability(arms, scale), _retention(arms, scale)]
    return [picture for picture in found if picture is not None]


def _scale(result: Mapping[str, Any]) -> str:
    edits = max(arm["edits"] for arm in result["arms"])
    width = result["model"]["d_ff"]
    return f"{edits} edits = {100 * edits / width:.1f} % of d_ff {width:,}"


def _against_edits(arms: Sequence[Mapping[str, Any]], scale: str) -> Picture | None:
    """Scores over all facts edited so far (D4S figures 4 and 8)."""
    if not any(arm["along"] for arm in arms):
        return None

    def draw(panels: Sequence[Axes]) -> None:
        for axes, (metric, against, label) in zip(panels, METRICS, strict=True):
            for colour, arm in zip(COLOURS, arms, strict=False):
                points = curve(arm, metric, against=against)
                edits = [x for x, _ in points]
                values = [100 * score["value"] for _, score in points]
                low, high = np.array([s["interval"] for _, s in points]).reshape(-1, 2).T * 100
                axes.fill_between(edits, low, high, color=colour, alpha=0.15, linewidth=0)
                axes.plot(edits, values, color=colour, marker="o", ms=3.5, label=arm["title"])
            axes.set(title=label, xlabel="edits", ylim=(-3, 103), xlim=(0, None))
        panels[0].set_ylabel("%")
        panels[0].legend(loc="lower left")

    caption = (
        "All facts edited so far, scored on the model as it is after that many edits: every "
        "target token is the likeliest one, gold prefix fed (specificity: as on the unedited "
        f"model). Bands: 95 % bootstrap over facts. {scale}."
    )
    return Picture("along", "Scores against the number of edits", caption, _svg("along", 3, draw))


def _norms(arms: Sequence[Mapping[str, Any]], scale: str) -> Picture | None:
    """Mean absolute weight of the edited layers (D4S figures 5b, 5c and 6)."""
    drawn = [arm for arm in arms if len(arm["norms"]) > 1]
    if not drawn:
        return None

    def draw(panels: Sequence[Axes]) -> None:
        for axes, arm in zip(panels, drawn, strict=True):
            edits = [record["step"] for record in arm["norms"]]
            names = list(arm["norms"][0]["layers"])
            shades = matplotlib.colormaps["viridis"](np.linspace(0.2, 0.85, len(names)))
            for name, shade in zip(names, shades, strict=True):
                values = [record["layers"][name]["l1"] for record in arm["norms"]]
                axes.plot(edits, values, color=shade, label=layer_name(name))
            axes.set(title=arm["title"], xlabel="edits", xlim=(0, None))
        top = max(axes.get_ylim()[1] for axes in panels)
        for axes in panels:
            axes.set_ylim(0, top)
        panels[0].set_ylabel("mean |w|")
        panels[0].legend(loc="lower right")

    caption = f"L1 norm per weight of each edited matrix after every update. {scale}."
    svg = _svg("norms", len(drawn), draw)
    return Picture("norms", "L1 norm of the edited layers", caption, svg)


def _probability(arms: Sequence[Mapping[str, Any]], scale: str) -> Picture | None:
    """The target's probability right after its own edit (D4S figure 5a)."""
    if not any(record.get("after") is not None for arm in arms for record in arm["edit_log"]):
        return None

    def draw(panels: Sequence[Axes]) -> None:
        for axes, arm in zip(panels, arms, strict=True):
            records = [r for r in arm["edit_log"] if r.get("after") is not None]
            places = [record["fact"] + 1 for record in records]
            after = np.array([record["after"] for record in records])
            colour = COLOURS[arms.index(arm) % len(COLOURS)]
            axes.plot(places, after, "o", color=colour, ms=3, alpha=0.35, mew=0)
            axes.plot(places, _running_median(after), color=colour, label="running median")
            axes.set(title=arm["title"], xlabel="edit", ylim=(-0.03, 1.03), xlim=(0, None))
        panels[0].set_ylabel("probability of the target")
        panels[0].legend(loc="lower left")

    caption = (
        "Probability of the whole target at the fact's own prompt, right after its edit; the "
        f"line is the median of the {_WINDOW} edits around. {scale}."
    )
    svg = _svg("probability", len(arms), draw)
    return Picture("probability", "Target probability along the run", caption, svg)


def _retention(arms: Sequence[Mapping[str, Any]], scale: str) -> Picture | None:
    """After all edits, by the order of editing (D4S figure 4, degree of forgetting)."""
    drawn = [arm for arm in arms if len(_retained(arm)) > 1]
    if not drawn:
        return None

    def draw(panels: Sequence[Axes]) -> None:
        for colour, arm in zip(COLOURS, drawn, strict=False):
            points = _retained(arm)
            places = [(point["first"] + point["last"]) / 2 + 1 for point in points]
            values = [100 * point["score"]["value"] for point in points]
            panels[0].plot(places, values, color=colour, marker="o", ms=3.5, label=arm["title"])
        panels[0].set(xlabel="place in the order of editing (old to new)", ylabel="efficacy, %")
        panels[0].set(ylim=(-3, 103), xlim=(0, None))
        panels[0].legend(loc="lower right")

    size = _retained(drawn[0])[0]["last"] - _retained(drawn[0])[0]["first"] + 1
    caption = (
        f"Efficacy after all edits in blocks of {size} facts, oldest on the left: a curve that "
        f"rises to the right is forgetting. {scale}."
    )
    svg = _svg("retention", 1, draw)
    return Picture("retention", "What is left of earlier edits", caption, svg)


def _retained(arm: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [point for point in arm["retention"] if pick([point["score"]], "efficacy")]


_WINDOW = 11


def _running_median(values: np.ndarray) -> np.ndarray:
    half = _WINDOW // 2
    return np.array(
        [np.median(values[max(0, i - half) : i + half + 1]) for i in range(len(values))]
    )


def _svg(name: str, panels: int, draw: Callable[[Sequence[Axes]], None]) -> str:
    """A row of panels as SVG; the same numbers give the same bytes."""
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(3.1 * panels + 0.5, 2.7), layout="constrained")
        axes = figure.subplots(1, panels, squeeze=False)[0]
        draw(axes)
        for panel in axes:
            panel.grid(color=INK, alpha=0.12, linewidth=0.6)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")
