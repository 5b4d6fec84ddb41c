"""How alpha lies on prompts of different kinds: what of the plug-in each of them gets to hear.

Paraphrases are what the gate has to let through without having seen them, neighbours and text of
another kind than it was trained on what it has to keep out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from jaxedit.data.fact import SLOT
from jaxedit.ensemble.plugin import Plugin, alpha
from jaxedit.ensemble.prompts import format_of
from jaxedit.plots import COLOURS, INK, Picture, svg

BINS = 20
OPEN = 0.5  # alpha from which the plug-in outweighs the target


@dataclass(frozen=True)
class Histogram:
    """Alpha on prompts of one kind.

    Attributes:
        kind: what they are.
        values: alpha of each, in their order.
        counts: by bin; bins of equal width from 0 to 1.
        mean: of the values.
        open: share of them that are at least 1/2.
    """

    kind: str
    values: tuple[float, ...]
    counts: tuple[int, ...]
    mean: float
    open: float


def alpha_histograms(
    plugin: Plugin, prompts: Mapping[str, Sequence[str]], form: str = SLOT, bins: int = BINS
) -> list[Histogram]:
    """Alpha on each kind of prompts, wrapped; a kind without prompts is left out.

    Args:
        plugin: edited.
        prompts: by kind, bare.
        form: what they are wrapped in, as in training.
        bins: of each histogram.
    """
    wrap = format_of(form)
    found = []
    for kind, texts in prompts.items():
        if not texts:
            continue
        values = alpha(plugin, [wrap.replace(SLOT, text) for text in texts])
        counts, _ = np.histogram(values, bins, (0.0, 1.0))
        mean, is_open = float(values.mean()), float((values >= OPEN).mean())
        ours = tuple(map(float, values))
        found.append(Histogram(kind, ours, tuple(map(int, counts)), mean, is_open))
    return found


def picture(by_arm: Mapping[str, Sequence[Mapping[str, Any]]], name: str = "alpha") -> Picture:
    """A panel a kind, all on the same axes: bars of one arm, outlines of several.

    Args:
        by_arm: title -> histograms as plain values, "values" may be missing; the same kinds of all.
        name: of the picture.
    """
    kinds = list(dict.fromkeys(one["kind"] for own in by_arm.values() for one in own))
    found = {(title, h["kind"]): h for title, own in by_arm.items() for h in own}

    def panel(place: int, kind: str) -> str:
        drawn = {title: found[title, kind] for title in by_arm if (title, kind) in found}

        def draw(axes: Axes) -> None:
            for i, (title, histogram) in enumerate(drawn.items()):
                counts = np.asarray(histogram["counts"])
                share, edges = 100 * counts / counts.sum(), np.linspace(0, 1, len(counts) + 1)
                colour = COLOURS[(place if len(drawn) == 1 else i) % len(COLOURS)]
                style: dict[str, Any] = {"color": colour, "label": title}
                if len(drawn) == 1:
                    axes.stairs(share, edges, fill=True, **style)
                else:
                    axes.stairs(share, edges, baseline=None, linewidth=1.2, **style)
            axes.axvline(OPEN, color=INK, linewidth=0.8, linestyle=":")
            sizes = {sum(histogram["counts"]) for histogram in drawn.values()}
            size = f" ({sizes.pop():,})" if len(sizes) == 1 else ""
            axes.set(title=f"{kind}{size}", xlabel="alpha", ylabel="% of prompts")
            axes.set(xlim=(0, 1), ylim=(0, 103))
            if len(drawn) > 1 and place == 0:
                axes.legend(loc="upper center", fontsize=7)

        return svg(f"{name}-{place}", draw)

    panels = tuple(panel(place, kind) for place, kind in enumerate(kinds))
    caption = (
        "The plug-in's share in the ensemble, read at the end of each bare prompt; right of the "
        "line it outweighs the target. It is the same for "
        "every target; the mode deepen does not use it."
    )
    return Picture(name, "Who answers: alpha by kind of prompt", caption, panels)
