"""Pictures of downstream tests along a run (D4S figures 2, 3 and 6c)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from jaxedit.downstream import headline
from jaxedit.plots import COLOURS, DASHES, INK, WIDE, Picture, svg

Arm = Mapping[str, Any]
Points = list[tuple[int, Mapping[str, Any]]]  # (edits, score), scores that are no number left out
WORLD = "world_"


def pictures(result: Mapping[str, Any]) -> list[Picture]:
    """The figure, if the result has downstream tests."""
    arms = [arm for arm in result["arms"] if arm.get("tasks")]
    if not arms:
        return []
    curves = [task_curves(arm) for arm in arms]
    names = list(dict.fromkeys(name for own in curves for name in own))
    texts = [name for name in names if any(_is_text(own.get(name, [])) for own in curves)]
    shares = [name for name in names if name not in texts]
    drawn = list(zip(arms, curves, strict=True))
    panels = [_shares(arm, own, shares) for arm, own in drawn if shares]
    panels += [_perplexity(name, drawn) for name in texts]
    caption = _caption([points for own in curves for points in own.values()])
    edits = max(arm["edits"] for arm in arms)
    width = result["model"]["d_ff"]
    scale = f"{edits} edits = {100 * edits / width:.1f} % of d_ff {width:,}"
    title = "Downstream tests against the number of edits"
    return [Picture("tasks", title, f"{caption} {scale}.", tuple(panels))]


def task_curves(arm: Arm) -> dict[str, Points]:
    """By test: (edits, score), the score that published tables show."""
    found: dict[str, Points] = {}
    for record in arm["tasks"]:
        for score in headline(record["scores"]):
            points = found.setdefault(score["task"], [])
            if score["value"] is not None:
                points.append((record["step"], score))
    return found


def _is_text(points: Points) -> bool:
    return any(score["metric"].endswith("perplexity") for _, score in points)


def _shares(arm: Arm, curves: Mapping[str, Points], names: Sequence[str]) -> str:
    """One arm: a line a test, in the same colour in every panel."""

    def draw(axes: Axes) -> None:
        for i, name in enumerate(names):
            points = curves.get(name, [])
            if not points:
                continue
            colour = COLOURS[i % len(COLOURS)]
            edits, values = [x for x, _ in points], [100 * s["value"] for _, s in points]
            style: Any = {"linestyle": DASHES[i // len(COLOURS) % len(DASHES)], "marker": "o"}
            label = name.removeprefix(WORLD).replace("_", " ")
            axes.plot(edits, values, color=colour, ms=3, label=label, **style)
        known = [score["chance"] for name in names for _, score in curves.get(name, [])]
        for chance in sorted({round(100 * one) for one in known if one is not None}):
            axes.axhline(chance, color=INK, linewidth=0.6, linestyle=(0, (6, 4)))
        axes.set(title=arm["title"], xlabel="edits", ylabel="items right, %", ylim=(-3, 103))
        axes.set(xlim=(0, None))
        below: Any = {"loc": "upper center", "bbox_to_anchor": (0.45, -0.2), "ncols": 3}
        axes.legend(**below, fontsize=7, handlelength=1.4, columnspacing=0.8)

    return svg(f"tasks-{arm['name']}", draw)


def _perplexity(name: str, arms: Sequence[tuple[Arm, Mapping[str, Points]]]) -> str:
    """One test of whole texts: a line an arm."""

    def draw(axes: Axes) -> None:
        for i, (arm, own) in enumerate(arms):
            if points := own.get(name, []):
                edits, values = [x for x, _ in points], [s["value"] for _, s in points]
                style: Any = {"color": COLOURS[i % len(COLOURS)], "label": arm["title"]}
                axes.plot(edits, values, marker="o", ms=3, **style)
        low, high = axes.dataLim.intervaly
        axes.set(title=f"{name}: perplexity a word", xlabel="edits", xlim=(0, None))
        axes.set_yscale("log" if high > WIDE * low > 0 else "linear")
        axes.legend(loc="best")

    return svg(f"tasks-{name}", draw)


def _caption(curves: Sequence[Points]) -> str:
    scores = [score for points in curves for _, score in points]
    counts = sorted({score["n"] for score in scores})
    n = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    shares = [score["interval"] for score in scores if not _is_text([(0, score)])]
    half = max((50 * (high - low) for low, high in shares), default=0)
    wide = f", 95 % intervals of up to {half:.0f} points to either side" if shares else ""
    makers = ", ".join(dict.fromkeys(score["harness"] for score in scores))
    return (
        "Share of a test's items that the model answers right, as it is before any edit and after "
        f"that many: {n} items a test, the same at each point{wide}; {makers}. Thin dashes: what "
        "guessing would give."
    )
