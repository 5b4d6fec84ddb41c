"""The study of how many tokens the statistics need, as a table and a picture."""

from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jaxedit.ledger import write_json, write_whole
from jaxedit.studies.statistics_tokens import Row, Study

PANELS = (
    ("moment_error", "second moment C"),
    ("update_error", "solved update"),
    ("excess", "its objective, above the best"),
)


def write(study: Study, workdir: Path) -> list[Path]:
    """Writes study.json, study.md and study.png; returns their paths."""
    workdir.mkdir(parents=True, exist_ok=True)
    paths = [workdir / f"study.{ending}" for ending in ("json", "md", "png")]
    write_json(paths[0], study.to_dict())
    write_whole(paths[1], table(study))
    picture(study).savefig(paths[2], dpi=150)
    return paths


def title(study: Study) -> str:
    """What was measured on what."""
    return (
        f"{study.model}, text: {study.corpus}, d_ff {study.d_ff:,}, one MEMIT update of "
        f"{study.facts} facts, lambda {study.moment_weight:g}"
    )


def table(study: Study) -> str:
    """Markdown; errors are against the last row of each layer."""
    lines = [
        title(study),
        "",
        "Errors are relative, in percent, against the most tokens: at N of M tokens an error",
        "that falls as 1/sqrt(N) is measured as sqrt(1/N - 1/M).",
        "",
        "| layer | tokens | tokens / d_ff | error of C | of the update | objective above best |",
        "|---|---|---|---|---|---|",
    ]
    for row in study.rows:
        errors = [f"{100 * getattr(row, name):.3g}" for name, _ in PANELS]
        lines.append(f"| {row.layer} | {row.tokens:,} | {row.widths:.3g} | {' | '.join(errors)} |")
    return "\n".join(lines) + "\n"


def picture(study: Study) -> Figure:
    """Errors against tokens, both axes logarithmic; a panel for each."""
    figure = Figure(figsize=(12, 4.2), layout="constrained")
    figure.suptitle(title(study), fontsize=10)
    axes = figure.subplots(1, len(PANELS))
    for panel, (name, label) in zip(axes, PANELS, strict=True):
        _panel(panel, study, name)
        panel.set_title(label)
        panel.set_xlabel("tokens / d_ff")
    axes[0].set_ylabel("relative error, against the most tokens")
    return figure


def _panel(axes: Axes, study: Study, name: str) -> None:
    # The reference itself has no error, and a logarithmic axis no place for that.
    most = study.rows[-1].widths
    points = [row for row in study.rows if row.widths < most and getattr(row, name) > 0]
    for layer in dict.fromkeys(row.layer for row in study.rows):
        own = [row for row in points if row.layer == layer]
        values = [getattr(row, name) for row in own]
        axes.plot([row.widths for row in own], values, "o-", label=f"layer {layer}")
    _expected(axes, points, most, name)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.grid(alpha=0.3, which="both")
    axes.legend(frameon=False)


def _expected(axes: Axes, points: list[Row], most: float, name: str) -> None:
    """The law of a mean, N^-1/2 and squared for the objective, through the last point."""
    if not points:
        return
    power = 1.0 if name == "excess" else 0.5
    law = [(1 / row.widths - 1 / most) ** power for row in points]
    scale = getattr(points[-1], name) / law[-1]
    drawn = sorted((row.widths, scale * value) for row, value in zip(points, law, strict=True))
    label = "1/N - 1/M" if power == 1 else "sqrt(1/N - 1/M)"
    axes.plot(*zip(*drawn, strict=True), "--", color="grey", label=label)
