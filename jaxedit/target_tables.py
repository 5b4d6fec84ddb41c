"""One edited plug-in in every model that it corrects: a table for each decoding."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import compress
from typing import Any

from jaxedit.findings import pick
from jaxedit.served import ALONE, BEFORE

COLUMNS = (
    ("reliability", "token_accuracy", "target"),
    ("generality", "token_accuracy", "target"),
    ("locality", "token_accuracy", "unedited"),
    ("efficacy", "exact", "target"),
    ("paraphrase", "exact", "target"),
    ("specificity", "exact", "truth"),
)
FURTHER = (  # in a table where there are such questions: what follows from edits, by more steps
    ("portability", "exact", "target"),
    ("multi_hop", "exact", "target"),
)
ALL = (*COLUMNS, *FURTHER)
DECODINGS = (("teacher_forced", "teacher-forced"), ("generation", "generated"))
UNEDITED = "unedited"
CURVES = {  # title: metric, what counts as right, of which facts
    "all edits so far": ("efficacy", "target", "all"),
    "the first edits": ("efficacy", "target", "first"),
    "paraphrases so far": ("paraphrase", "target", "all"),
    "neighbours so far": ("specificity", "truth", "all"),
}
Point = tuple[int, Mapping[str, Any]]


def tables(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A title, column heads and rows for each decoding; none if no arm has targets.

    A row is a target by itself, or with an arm's plug-in in one mode; its cells are scores or None.
    """
    found = []
    for decoding, title in DECODINGS:
        rows = list(_rows(result, decoding))
        if any(any(row["cells"]) for row in rows):
            columns = zip(*(row["cells"] for row in rows), strict=True)
            shown = [c in COLUMNS or any(cells) for c, cells in zip(ALL, columns, strict=True)]
            heads = [f"{name}, {reading.replace('_', ' ')}" for name, reading, _ in ALL]
            rows = [{**row, "cells": list(compress(row["cells"], shown))} for row in rows]
            found.append({"title": title, "columns": list(compress(heads, shown)), "rows": rows})
    return found


def _rows(result: Mapping[str, Any], decoding: str) -> Iterator[dict[str, Any]]:
    """Target by target: by itself, then with each arm's plug-in in each mode."""
    own = [(arm["title"], arm["targets"]) for arm in result["arms"] if arm.get("targets")]
    for target in dict.fromkeys(name for _, targets in own for name in targets):
        known = [(title, targets[target]) for title, targets in own if target in targets]
        yield _row(target, UNEDITED, known[0][1][BEFORE], decoding)
        for title, modes in known:
            for mode, scores in modes.items():
                if mode != BEFORE:
                    yield _row(target, f"{title}, {mode}", scores, decoding)


def _row(
    target: str, what: str, scores: Sequence[Mapping[str, Any]], decoding: str
) -> dict[str, Any]:
    cells = [
        pick(scores, metric, decoding=decoding, reading=reading, against=against)
        for metric, reading, against in ALL
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


def curve(record: Mapping[str, Any], metric: str, against: str, facts: str) -> list[Point]:
    """(edits, score) of one ensemble: of generated answers if all are there, else teacher-forced.

    Args:
        record: of `jaxedit.served.retention`.
        metric, against: of the score.
        facts: "all" edited by then, or the "first" moment's alone.
    """
    found: list[Point] = []
    for decoding in ("teacher_forced", "generation"):
        wanted = {"decoding": decoding, "against": against}
        points = [(p["edits"], pick([p["score"]], metric, **wanted)) for p in record[facts]]
        known = [(edits, score) for edits, score in points if score]
        found = known if len(known) >= len(found) else found
    return found


def label(record: Mapping[str, Any]) -> str:
    """What was asked, in words."""
    name = record["target"].rpartition("/")[2]
    return f"{name} alone" if record["mode"] == ALONE else f"{name}, {record['mode']}"


def gates(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Kinds of prompts across, arms down: (share with alpha of at least 1/2, mean, prompts)."""
    told = {
        arm["title"]: {one["kind"]: one for one in arm["alpha"]}
        for arm in result["arms"]
        if arm.get("alpha")
    }
    kinds = list(dict.fromkeys(kind for own in told.values() for kind in own))
    if not kinds:
        return None

    def cell(one: Mapping[str, Any] | None) -> tuple[str, str] | None:
        if one is None:
            return None
        return f"{100 * one['open']:.1f}", f"mean {one['mean']:.2f}, n {sum(one['counts'])}"

    rows = [(title, [cell(own.get(kind)) for kind in kinds]) for title, own in told.items() if own]
    return {"kinds": kinds, "rows": rows}


def gates_markdown(results: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The gates of several runs in one table, by the run's name."""
    found = [(name, table) for name, result in results.items() if (table := gates(result))]
    if not found:
        return
    kinds = list(dict.fromkeys(kind for _, table in found for kind in table["kinds"]))
    yield f"| run | arm | {' | '.join(kinds)} |"
    yield f"|{'---|' * (len(kinds) + 2)}"
    for name, table in found:
        for title, cells in table["rows"]:
            own = dict(zip(table["kinds"], cells, strict=True))
            shown = [f"{c[0]} ({c[1].split(',')[0]})" if (c := own.get(k)) else "-" for k in kinds]
            yield f"| {name} | {title} | {' | '.join(shown)} |"


def along_markdown(result: Mapping[str, Any], name: str) -> Iterator[str]:
    """What lasts while edits come in, a row an arm, model and curve; % by number of edits."""
    found = [
        (arm["title"], label(record), title, dict(points))
        for arm in result["arms"]
        for record in arm.get("targets_along", ())
        for title, which in CURVES.items()
        if (points := curve(record, *which))
    ]
    steps = sorted({step for *_, points in found for step in points})
    if not steps:
        return
    yield f"| {name} | in | % of | {' | '.join(map(str, steps))} |"
    yield f"|{'---|' * (len(steps) + 3)}"
    for arm, model, title, points in sorted(found, key=lambda one: list(CURVES).index(one[2])):
        cells = [f"{100 * points[step]['value']:.1f}" if step in points else "-" for step in steps]
        yield f"| {arm} | {model} | {title} | {' | '.join(cells)} |"


def _percent(score: Mapping[str, Any] | None) -> str:
    if score is None:
        return "-"
    low, high = score["interval"]
    return f"{100 * score['value']:.1f} [{100 * low:.0f}, {100 * high:.0f}]"
