"""One picture of what was found about a model's layers: heat maps of causal tracing, a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxedit.location.effects import CLASSES, Effects
from jaxedit.location.sweep import Tried

MAPS = {  # those of the literature's figures, and lighter ones for the severed variants
    "none": ("Purples", "one block's output"),
    "mlp": ("Greens", "MLPs of {} layers"),
    "attn": ("Reds", "attention of {} layers"),
    "severed_mlp": ("Greys", "one block's output, MLPs severed"),
    "severed_attn": ("Oranges", "one block's output, attention severed"),
}
COLOURS = {"efficacy": "#3b7dd8", "paraphrase": "#e07b39", "specificity": "#2a9d76"}


def draw(
    path: Path,
    title: str,
    effects: Effects | None,
    window: int,
    tried: Sequence[Tried],
    chosen: Sequence[int],
) -> None:
    """Writes a PNG with a row of heat maps and a row of curves, as far as there is either.

    Args:
      path: the file; its ending decides the format.
      title: model and facts.
      effects: of causal tracing, or None.
      window: layers whose module outputs were put back together.
      tried: windows of layers with their scores, or none.
      chosen: the layers to be marked.
    """
    kinds = [] if effects is None else list(effects.mean)
    heights = [*([2.4] if kinds else []), *([2.6] if tried else [])]
    width = max(10.0, 3.6 * len(kinds))
    figure = Figure(figsize=(width, sum(heights) + 0.5), layout="constrained", dpi=120)
    figure.suptitle(title, fontsize=10)
    grid = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)
    rows = list(grid[:, 0])
    if effects is not None:
        _maps(rows.pop(0), effects, window, chosen)
    if tried:
        _curves(rows.pop(0), tried, chosen)
    figure.savefig(path)


def _maps(figure: Any, effects: Effects, window: int, chosen: Sequence[int]) -> None:
    kinds = list(effects.mean)
    panels = np.atleast_1d(figure.subplots(1, len(kinds), sharey=True))
    for axes, kind in zip(panels, kinds, strict=True):
        colours, what = MAPS[kind]
        # Published maps cut what is below 0; a class without tokens stays white.
        image = axes.imshow(
            np.maximum(effects.mean[kind], 0),
            cmap=colours,
            vmin=0,
            aspect="auto",
            interpolation="nearest",
        )
        _mark(axes, chosen)
        axes.set_title(f"{kind}: {what.format(window)}", fontsize=9)
        axes.set_xlabel("layer", fontsize=8)
        axes.set_yticks(range(len(CLASSES)), CLASSES)
        axes.tick_params(labelsize=7)
        figure.colorbar(image, ax=axes, shrink=0.9).ax.tick_params(labelsize=7)
    panels[0].set_ylabel("state put back at", fontsize=8)
    figure.suptitle(
        f"Average indirect effect on p(answer), {effects.facts} known facts "
        f"(clean {effects.high:.2f}, noisy {effects.low:.2f})",
        fontsize=9,
    )


def _curves(figure: Any, tried: Sequence[Tried], chosen: Sequence[int]) -> None:
    lengths = sorted({len(one.layers) for one in tried})
    n = tried[0].scores[0].n
    panels = np.atleast_1d(figure.subplots(1, len(lengths), sharey=True))
    for axes, length in zip(panels, lengths, strict=True):
        own = [one for one in tried if len(one.layers) == length]
        last = [one.layers[-1] for one in own]
        for i, score in enumerate(own[0].scores):
            values = [100 * one.scores[i].value for one in own]
            colour = COLOURS[score.metric]
            axes.plot(last, values, "o-", color=colour, ms=3, lw=1, label=score.metric)
        whole = [100 * one.harmonic for one in own]
        axes.plot(last, whole, "s-", color="black", ms=4, lw=1.8, label="harmonic mean")
        axes.set_title("single layers" if length == 1 else f"{length} layers together", fontsize=9)
        axes.set_xlabel("layer" if length == 1 else "last of the layers", fontsize=8)
        axes.set_ylim(-3, 103)
        axes.set_xticks(last)
        axes.grid(alpha=0.2)
        axes.tick_params(labelsize=7)
        if len(chosen) == length:
            axes.axvline(chosen[-1], color="black", lw=0.8, ls=":")
    panels[0].set_ylabel("%", fontsize=8)
    panels[-1].legend(fontsize=7, loc="best", frameon=False)
    figure.suptitle(
        f"Single edits of {n} facts, each into the fresh model (teacher-forced, exact)", fontsize=9
    )


def _mark(axes: Axes, chosen: Sequence[int]) -> None:
    """Dotted lines around the chosen layers."""
    for edge in (chosen[0] - 0.5, chosen[-1] + 0.5):
        axes.axvline(edge, color="black", lw=0.8, ls=":")
