"""How alpha lies on prompts of different kinds: what of the plug-in each of them gets to hear.

Paraphrases are what the gate has to let through without having seen them, neighbours and text of
another kind than it was trained on what it has to keep out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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


def picture(histograms: Sequence[Histogram], name: str = "alpha") -> Picture:
    """A panel a kind, all on the same axes."""

    def panel(place: int, histogram: Histogram) -> str:
        colour = COLOURS[place % len(COLOURS)]

        def draw(axes: Axes) -> None:
            width = 1 / len(histogram.counts)
            share = 100 * np.asarray(histogram.counts) / len(histogram.values)
            edges = width * np.arange(len(share))
            axes.bar(edges, share, width, align="edge", color=colour, linewidth=0)
            axes.axvline(OPEN, color=INK, linewidth=0.8, linestyle=":")
            title = f"{histogram.kind} ({len(histogram.values):,})"
            axes.set(title=title, xlabel="alpha", ylabel="% of prompts", xlim=(0, 1), ylim=(0, 103))

        return svg(f"{name}-{place}", draw)

    panels = tuple(panel(place, histogram) for place, histogram in enumerate(histograms))
    told = "; ".join(f"{h.kind}: mean {h.mean:.2f}, {100 * h.open:.0f} % open" for h in histograms)
    caption = (
        "The plug-in's share in the ensemble, read at the end of each bare prompt; right of the "
        f"line it outweighs the target. {told}."
    )
    return Picture(name, "Who answers: alpha by kind of prompt", caption, panels)
