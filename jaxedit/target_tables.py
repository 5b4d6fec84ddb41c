"""One edited plug-in in every model that it corrects: a table for each decoding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jaxedit.findings import pick
from jaxedit.served import BEFORE

COLUMNS = (
    ("reliability", "token_accuracy", "target"),
    ("generality", "token_accuracy", "target"),
    ("locality", "token_accuracy", "unedited"),
    ("efficacy", "exact", "target"),
    ("paraphrase", "exact", "target"),
    ("specificity", "exact", "truth"),
)
DECODINGS = (("teacher_forced", "teacher-forced"), ("generation", "generated"))
UNEDITED = "unedited"


def tables(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A title, column heads and rows for each decoding; none if no arm has targets.

    A row is a target by itself, or with an arm's plug-in in one mode; its cells are scores or None.
    """
    found = []
    for decoding, title in DECODINGS:
        rows = list(_rows(result, decoding))
        if any(any(row["cells"]) for row in rows):
            heads = [f"{metric}, {reading.replace('_', ' ')}" for metric, reading, _ in COLUMNS]
            found.append({"title": title, "columns": heads, "rows": rows})
    return found


def _rows(result: Mapping[str, Any], decoding: str) -> Iterator[dict[str, Any]]:
    shown: set[str] = set()
    for arm in result["arms"]:
        for target, modes in arm.get("targets", {}).items():
            if target not in shown:
                shown.add(target)
                yield _row(target, UNEDITED, modes[BEFORE], decoding)
            for mode, scores in modes.items():
                if mode != BEFORE:
                    yield _row(target, f"{arm['title']}, {mode}", scores, decoding)


def _row(
    target: str, what: str, scores: Sequence[Mapping[str, Any]], decoding: str
) -> dict[str, Any]:
    cells = [
        pick(scores, metric, decoding=decoding, reading=reading, against=against)
        for metric, reading, against in COLUMNS
    ]
    return {"target": target, "what": what, "cells": cells}


def lines(result: Mapping[str, Any]) -> Iterator[str]:
    """The tables in plain text, in %."""
    for table in tables(result):
        rows = [["", table["title"], *table["columns"]]]
        for row in table["rows"]:
            values = [f"{100 * cell['value']:.1f}" if cell else "-" for cell in row["cells"]]
            rows.append([row["target"], row["what"], *values])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        for row in rows:
            cells = enumerate(zip(row, widths, strict=True))
            yield "  ".join(x.ljust(w) if i < 2 else x.rjust(w) for i, (x, w) in cells).rstrip()
        yield ""


def markdown(result: Mapping[str, Any], title: str) -> Iterator[str]:
    """The tables as Markdown, in % with 95 % intervals."""
    for table in tables(result):
        heads = [f"{title}: {table['title']}", "with", *table["columns"]]
        yield f"| {' | '.join(heads)} |"
        yield f"|{'---|' * len(heads)}"
        for row in table["rows"]:
            cells = [_percent(cell) for cell in row["cells"]]
            yield f"| {' | '.join([row['target'], row['what'], *cells])} |"
        yield ""


def _percent(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return "-"
    low, high = score["interval"]
    return f"{100 * score['value']:.1f} [{100 * low:.0f}, {100 * high:.0f}]"
