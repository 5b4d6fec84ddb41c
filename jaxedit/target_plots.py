"""Pictures of what an edited plug-in does for other models: its gate, and edits that last.

A run's own pictures are in `jaxedit.plots`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from jaxedit.ensemble.histograms import picture as alpha_picture
from jaxedit.plots import COLOURS, Picture, svg
from jaxedit.target_tables import CURVES, curve, label

Arm = Mapping[str, Any]


def pictures(result: Mapping[str, Any]) -> list[Picture]:
    """All figures for which the result has the numbers."""
    arms = result["arms"]
    found = []
    gates = {arm["title"]: arm["alpha"] for arm in arms if arm.get("alpha")}
    if gates:
        found.append(alpha_picture(gates))
    drawn = [arm for arm in arms if arm.get("targets_along")]
    return found + ([_retention(drawn)] if drawn else [])


def _retention(arms: Sequence[Arm]) -> Picture:
    """A panel a model and curve, a line an arm."""
    labels = list(dict.fromkeys(label(one) for arm in arms for one in arm["targets_along"]))

    def panel(place: int, name: str, title: str) -> str:
        def draw(axes: Axes) -> None:
            for i, arm in enumerate(arms):
                [record] = [one for one in arm["targets_along"] if label(one) == name] or [None]
                points = curve(record, *CURVES[title]) if record else []
                if points:
                    edits, scores = zip(*points, strict=True)
                    values = [100 * score["value"] for score in scores]
                    style = {"color": COLOURS[i % len(COLOURS)], "label": arm["title"]}
                    axes.plot(edits, values, marker="o", ms=3, **style)
            axes.set(xlabel="edits", ylabel="%", ylim=(-3, 103), xlim=(0, None))
            axes.set_title(f"{name}: {title}", fontsize=9)
            if place == 0:
                axes.legend(loc="lower left", fontsize=7)

        return svg(f"targets-along-{place}", draw)

    wanted = [(name, title) for title in CURVES for name in labels]
    panels = tuple(panel(place, *one) for place, one in enumerate(wanted))
    caption = (
        "The plug-in alone and in the models that it corrects, asked after every so many edits "
        "about all facts edited by then, or about the first of them again; generated answers, "
        "exact, where all were, else teacher-forced. Neighbours are against the true answer."
    )
    return Picture("targets-along", "What lasts while edits come in", caption, panels)
