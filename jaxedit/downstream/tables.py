"""Downstream scores as Markdown tables that also read well as plain text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from jaxedit.downstream.ability import Ability
from jaxedit.downstream.paired import Paired


def ability_table(abilities: Sequence[Ability]) -> str:
    """A row a score, and below it how each task's items were taken.

    Shares in per cent; perplexities as they are.
    """
    rows: list[tuple[str, ...]] = [
        ("task", "metric", "shots", "items", "score", "stderr", "95 %", "chance")
    ]
    for one in abilities:
        show = _shower(one.metric)
        low, high = one.interval
        rows.append(
            (
                one.task,
                one.metric,
                str(one.shots),
                str(one.n),
                show(one.value),
                show(one.stderr),
                f"{show(low)} to {show(high)}",
                "" if one.chance is None else show(one.chance),
            )
        )
    return "\n".join([*_aligned(rows, right=range(2, 8)), "", *_remarks(abilities)]) + "\n"


def _remarks(abilities: Sequence[Ability]) -> list[str]:
    lines, said = [], set()
    for one in abilities:
        taken = one.taken
        if taken in said:
            continue
        said.add(taken)
        parts = [f"{taken.source}; seed {taken.seed}"]
        parts += [f"limit {taken.limit}"] if taken.limit is not None else []
        parts += [f"demonstrations: {taken.demonstrations}"] if taken.shots else []
        parts += [f"by {taken.harness}", *taken.notes]
        if one.dropped:
            parts.append(f"{one.dropped} of {one.n} items lost the front of a prompt (too long)")
        lines.append(f"- {taken.task}: {'; '.join(parts)}.")
    return lines


def paired_table(pairs: Sequence[Paired]) -> str:
    """A row a metric: before, after, the difference on the same items with its interval."""
    heads = ("task", "metric", "items", "unedited", "edited", "difference", "95 %")
    rows: list[tuple[str, ...]] = [(*heads, "lost", "gained", "p")]
    for one in pairs:
        show = _shower(one.metric)
        low, high = one.interval
        rows.append(
            (
                one.task,
                one.metric,
                str(one.n),
                show(one.before),
                show(one.after),
                _signed(show, one.difference),
                f"{_signed(show, low)} to {_signed(show, high)}",
                "" if one.lost is None else str(one.lost),
                "" if one.gained is None else str(one.gained),
                "" if one.p is None else f"{one.p:.2g}",
            )
        )
    return "\n".join(_aligned(rows, right=range(2, 10))) + "\n"


def _shower(metric: str) -> Callable[[float], str]:
    plain = "perplexity" in metric or metric == "bits_per_byte"
    return (lambda x: f"{x:.4g}") if plain else (lambda x: f"{100 * x:.1f}")


def _signed(show: Callable[[float], str], value: float) -> str:
    return f"{'-' if value < 0 else '+'}{show(abs(value))}"


def _aligned(rows: Sequence[Sequence[str]], right: Sequence[int]) -> list[str]:
    """Markdown, its columns as wide as their widest cell; numbers to the right."""
    widths = [max(3, *(len(row[i]) for row in rows)) for i in range(len(rows[0]))]
    rule = [f"{'-' * (w - 1)}:" if i in right else "-" * w for i, w in enumerate(widths)]

    def line(row: Sequence[str]) -> str:
        places = enumerate(zip(row, widths, strict=True))
        cells = [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in places]
        return f"| {' | '.join(cells)} |"

    return [line(rows[0]), line(rule), *map(line, rows[1:])]
