"""The pictures of a run as inline SVG: text and axes take the page's colour, light or dark.

Every panel states how many edits were made and which share of the edited matrices' width (d_ff)
that is: what is editable depends on it.
"""

from __future__ import annotations

import io
import re
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
DASHES = ("-", "--", ":")
METRICS = (("efficacy", "target"), ("paraphrase", "target"), ("specificity", "unedited"))
WIDE = 5  # a range that is told apart on a logarithmic axis alone
WINDOW = 11  # edits that a running median looks at
Arm = Mapping[str, Any]
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
    """One figure of the report: panels that stand side by side where there is room.

    Attributes:
        name: for its anchor.
        title: what it shows.
        caption: how it was taken.
        panels: inline SVG.
    """

    name: str
    title: str
    caption: str
    panels: tuple[str, ...]


def pictures(result: Mapping[str, Any]) -> list[Picture]:
    """All figures for which the result has the numbers."""
    arms = result["arms"]
    if not arms:
        return []
    scale = _scale(result)
    found = [
        draw(arms, scale) for draw in (_against_edits, _damage, _norms, _probability, _retention)
    ]
    return [picture for picture in found if picture is not None]


def _scale(result: Mapping[str, Any]) -> str:
    edits = max(arm["edits"] for arm in result["arms"])
    width = result["model"]["d_ff"]
    return f"{edits} edits = {100 * edits / width:.1f} % of d_ff {width:,}"


def _against_edits(arms: Sequence[Arm], scale: str) -> Picture | None:
    """Scores over all facts edited so far (D4S figures 4 and 8)."""
    if not any(arm["along"] for arm in arms):
        return None

    def panel(metric: str, against: str) -> str:
        def draw(axes: Axes) -> None:
            for style, arm in zip(_styles(arms), arms, strict=True):
                points = curve(arm, metric, against=against)
                edits = [x for x, _ in points]
                values = [100 * score["value"] for _, score in points]
                low, high = np.array([s["interval"] for _, s in points]).reshape(-1, 2).T * 100
                axes.fill_between(edits, low, high, color=style["color"], alpha=0.15, linewidth=0)
                axes.plot(edits, values, **style, marker="o", ms=3.5, label=arm["title"])
            axes.set(title=metric, xlabel="edits", ylabel="%", ylim=(-3, 103), xlim=(0, None))
            axes.legend(loc="lower left")

        return svg(f"along-{metric}", draw)

    caption = (
        "All facts edited so far, scored on the model as it is after that many edits: every "
        "target token is the likeliest one, gold prefix fed (specificity: as on the unedited "
        f"model). Bands: 95 % bootstrap over facts. {scale}."
    )
    panels = tuple(panel(metric, against) for metric, against in METRICS)
    return Picture("along", "Scores against the number of edits", caption, panels)


def _damage(arms: Sequence[Arm], scale: str) -> Picture | None:
    """What the edits cost the model: held-out perplexity, condition of the edited matrices."""
    drawn = [arm for arm in arms if len(arm.get("damage", ())) > 1]
    if not drawn:
        return None

    def panel(title: str, read: Callable[[Mapping[str, Any]], float | None]) -> str:
        def draw(axes: Axes) -> None:
            for style, arm in zip(_styles(drawn), drawn, strict=True):
                points = [(record["step"], read(record)) for record in arm["damage"]]
                known = [(x, y) for x, y in points if y is not None and np.isfinite(y)]
                if known:
                    axes.plot(
                        *zip(*known, strict=True), **style, marker="o", ms=3, label=arm["title"]
                    )
            low, high = axes.dataLim.intervaly
            scale = "log" if high > WIDE * low > 0 else "linear"
            axes.set(title=title, xlabel="edits", yscale=scale, xlim=(0, None))
            axes.legend(loc="best")

        return svg(f"damage-{title}", draw)

    def perplexity(record: Mapping[str, Any]) -> float | None:
        return record["perplexity"] and record["perplexity"]["value"]

    def condition(record: Mapping[str, Any]) -> float | None:
        return max(record["condition"].values(), default=None)

    read = {"held-out perplexity": perplexity, "largest condition number": condition}
    panels = [
        panel(title, of)
        for title, of in read.items()
        if any(of(record) is not None for arm in drawn for record in arm["damage"])
    ]
    if not panels:
        return None
    caption = (
        "Perplexity of text that has nothing to do with the edits, pooled over its tokens, and "
        f"the largest over the smallest singular value of the worst edited matrix. {scale}."
    )
    return Picture("damage", "Damage to the model", caption, tuple(panels))


def _styles(arms: Sequence[Arm]) -> list[dict[str, Any]]:
    """A colour an arm, and another dash once the colours are used up."""
    return [
        {"color": COLOURS[i % len(COLOURS)], "linestyle": DASHES[i // len(COLOURS) % len(DASHES)]}
        for i in range(len(arms))
    ]


def _norms(arms: Sequence[Arm], scale: str) -> Picture | None:
    """Mean absolute weight of the edited layers (D4S figures 5b, 5c and 6)."""
    drawn = [arm for arm in arms if len(arm["norms"]) > 1 and arm["norms"][0]["layers"]]
    if not drawn:
        return None
    lines = [
        values["l1"] for arm in drawn for at in arm["norms"] for values in at["layers"].values()
    ]

    def panel(arm: Arm) -> str:
        def draw(axes: Axes) -> None:
            edits = [record["step"] for record in arm["norms"]]
            names = list(arm["norms"][0]["layers"])
            shades = matplotlib.colormaps["viridis"](np.linspace(0.25, 0.8, len(names)))
            for name, shade in zip(names, shades, strict=True):
                values = [record["layers"][name]["l1"] for record in arm["norms"]]
                axes.plot(edits, values, color=shade, label=layer_name(name))
            axes.set(title=arm["title"], xlabel="edits", ylabel="mean |w|")
            axes.set(xlim=(0, None), ylim=(0, 1.05 * max(lines)))
            axes.legend(loc="lower right")

        return svg(f"norms-{arm['name']}", draw)

    caption = f"L1 norm per weight of each edited matrix after every update. {scale}."
    panels = tuple(panel(arm) for arm in drawn)
    return Picture("norms", "L1 norm of the edited layers", caption, panels)


def _probability(arms: Sequence[Arm], scale: str) -> Picture | None:
    """The target's probability right after its own edit (D4S figure 5a)."""
    known = {
        arm["name"]: [
            (r["fact"] + 1, r["after"]) for r in arm["edit_log"] if r["after"] is not None
        ]
        for arm in arms
    }
    drawn = [arm for arm in arms if known[arm["name"]]]
    if not drawn:
        return None

    def panel(arm: Arm, colour: str) -> str:
        def draw(axes: Axes) -> None:
            places, after = np.array(known[arm["name"]]).T
            axes.plot(places, after, "o", color=colour, ms=3, alpha=0.4, mew=0)
            axes.plot(places, running_median(after), color=colour, label="running median")
            axes.set(title=arm["title"], xlabel="edit", ylabel="probability of the target")
            axes.set(ylim=(-0.03, 1.03), xlim=(0, None))
            axes.legend(loc="lower left")

        return svg(f"probability-{arm['name']}", draw)

    caption = (
        "Probability of the whole target at the fact's own prompt, right after its edit; the "
        f"line is the median of the {WINDOW} edits around. {scale}."
    )
    styles = _styles(drawn)
    panels = tuple(panel(arm, s["color"]) for arm, s in zip(drawn, styles, strict=True))
    return Picture("probability", "Target probability along the run", caption, panels)


def _retention(arms: Sequence[Arm], scale: str) -> Picture | None:
    """After all edits, by the order of editing (D4S figure 4, degree of forgetting)."""
    drawn = [arm for arm in arms if len(_retained(arm)) > 1]
    if not drawn:
        return None

    def draw(axes: Axes) -> None:
        for style, arm in zip(_styles(drawn), drawn, strict=True):
            points = _retained(arm)
            places = [(point["first"] + point["last"]) / 2 + 1 for point in points]
            values = [100 * point["score"]["value"] for point in points]
            axes.plot(places, values, **style, marker="o", ms=3.5, label=arm["title"])
        axes.set(xlabel="place in the order of editing", ylabel="efficacy, %")
        axes.set(ylim=(-3, 103), xlim=(0, None))
        axes.legend(loc="lower left")

    first = _retained(drawn[0])[0]
    caption = (
        f"Efficacy after all edits in blocks of {first['last'] - first['first'] + 1} facts, the "
        f"oldest on the left: a curve that rises to the right is forgetting. {scale}."
    )
    panels = (svg("retention", draw),)
    return Picture("retention", "What is left of earlier edits", caption, panels)


def _retained(arm: Arm) -> list[Mapping[str, Any]]:
    return [point for point in arm["retention"] if pick([point["score"]], "efficacy")]


def running_median(values: np.ndarray) -> np.ndarray:
    """The median of the eleven values around each; values [n] -> [n]."""
    half = WINDOW // 2
    windows = (values[max(0, i - half) : i + half + 1] for i in range(len(values)))
    return np.array([np.median(window) for window in windows])


def svg(name: str, draw: Callable[[Axes], None]) -> str:
    """One panel as SVG; the same numbers give the same bytes."""
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure = Figure(figsize=(3.5, 2.8), layout="constrained")
        axes = figure.subplots()
        draw(axes)
        axes.grid(color=INK, alpha=0.12, linewidth=0.6)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text[text.index("<svg") :], flags=re.DOTALL)
    needed = set(re.findall(r"#([\w-]+)", text))
    names = re.sub(r' id="([^"]*)"', lambda m: m[0] if m[1] in needed else "", text)
    return names.replace(INK, "currentColor")
