"""The plain table of a batch, finished or not: Markdown that also reads well on a terminal.

What all rows share is in the caption, and what differs between them has a column of its own, so
that every number stands with its protocol.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from jaxedit import readings, target_tables
from jaxedit.batches.batch import DONE, Batch, Job, jobs
from jaxedit.batches.rows import (
    EXACT,
    NONE,
    PERPLEXITY,
    Row,
    arm_row,
    percent,
    plain,
    unedited_rows,
)
from jaxedit.ledger import read_json
from jaxedit.metrics.records import OURS
from jaxedit.results import ArmFiles

COLUMNS = (
    *("edits", "batch", "state"),
    *EXACT,
    *("norm ratio", "condition ratio", PERPLEXITY, "s an edit", "directory"),
)
MOST_STEPS = 12  # columns of a table along the run


def batch_table(batch: Batch, out: Path) -> str:
    """Title, table, caption; then the scores along the runs where there are several.

    One row an arm of a run, in the batch's order; before them the unedited models.
    """
    all_jobs = jobs(batch, out)
    rows = [arm_row(job, arm) for job in all_jobs for arm in job.config.arms]
    shown = [*unedited_rows(all_jobs), *rows]
    shared, differing = _protocols(shown)
    done = sum(job.state() == DONE for job in all_jobs)
    parts = [
        f"# {batch.title}",
        batch.about,
        _markdown(shown, differing, COLUMNS),
        *_caption(rows, shared, f"{done} of {len(all_jobs)} runs are done."),
    ]
    for column in (*EXACT, PERPLEXITY):
        parts += _along(column, rows, differing)
    parts += _by_target(all_jobs)
    parts += _by_protocol(shown)
    return "\n\n".join(part for part in parts if part) + "\n"


def _protocols(rows: Sequence[Row]) -> tuple[dict[str, str], list[str]]:
    """What all rows have in common, and the names of what they have not."""
    shared, differing = {}, []
    for name in rows[0].protocol:
        values = {row.protocol[name] for row in rows} - {NONE}
        if len(values) > 1:
            differing.append(name)
        elif values:
            shared[name] = values.pop()
    return shared, differing


def _caption(rows: Sequence[Row], shared: Mapping[str, str], progress: str) -> Iterator[str]:
    scores = [score for row in rows for score in row.scores]
    yield progress
    exact = [score for score in scores if _place(score) in EXACT.values()]
    if exact:
        counts = sorted({score["n"] for score in exact})
        n = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
        half = max((high - low) / 2 for low, high in (score["interval"] for score in exact))
        yield (
            "Efficacy, paraphrase, specificity, unchanged: % of the n edited facts (mean over a "
            f"fact's questions; n = {n}), exact: every token; teacher-forced / generated, or "
            "teacher-forced alone; after all edits of the run. Specificity is against the true "
            "answer, unchanged against the unedited model's. 95 % bootstrap intervals are at most "
            f"{200 * half:.1f} points wide; the runs' reports have each."
        )
        yield (
            "Norm ratio: mean absolute weight of an edited matrix after all edits over before, "
            "mean over layers. Condition ratio: likewise for the condition number, of the matrix "
            "that has suffered most. S an edit: the median update and the fastest block's share of "
            "preparation, scoring left out; compilation too, where a shape came twice. Runs side "
            "by side slow each other."
        )
    texts = sorted({score["n"] for score in scores if _place(score) == ("perplexity", "text")})
    if texts:
        yield (
            "Held-out perplexity: pooled over the tokens of texts that have nothing to do with "
            f"the facts (n = {', '.join(map(str, texts))}), each whole, after all edits."
        )
    yield f"All rows: {'; '.join(f'{name}: {value}' for name, value in shared.items())}."


def _place(score: Mapping[str, Any]) -> tuple[str, str] | None:
    """The column's entry in `EXACT`; other readings are not shown."""
    ours = score.get("protocol", OURS) == OURS and not score.get("group")
    shown = score["reading"] in ("exact", "pooled") and ours
    return (score["metric"], score["against"]) if shown else None


def _along(column: str, rows: Sequence[Row], differing: Sequence[str]) -> list[str]:
    """A table with edits as columns; none if no run was scored on its way."""
    found = [row for row in rows if row.along.get(column)]
    steps = sorted({step for row in found for step, _ in row.along[column]})
    if len(steps) < 2:
        return []
    kept = _thinned(steps, {row.along[column][-1][0] for row in found})
    write = plain if column == PERPLEXITY else percent
    table = [
        Row(row.run, row.arm, {f"{n:,}": write(x) for n, x in row.along[column]}, row.protocol)
        for row in found
    ]
    note = "Of the same texts after so many edits." if column == PERPLEXITY else (
        f"{column.capitalize()} in %, teacher-forced and exact, over all facts edited so far."
    )  # fmt: skip
    text = _markdown(table, differing, [f"{step:,}" for step in kept])
    return [f"## {column.capitalize()} by number of edits", text, note]


def _by_target(all_jobs: Sequence[Job]) -> Iterator[str]:
    """What the plug-ins of runs with targets do for these, after all edits and on the way."""
    results = {}
    for job in all_jobs:
        files = [ArmFiles(job.workdir / arm.name).result for arm in job.config.arms]
        results[job.names[0]] = {"arms": [read_json(path) for path in files if path.exists()]}
    texts = ["\n".join(target_tables.markdown(r, name)).rstrip() for name, r in results.items()]
    if any(texts):
        yield "## The edited plug-ins in other models"
        yield (
            "In %, after all edits, with 95 % bootstrap intervals. Locality is agreement with the "
            "model by itself, specificity is against the true answer."
        )
        yield from filter(None, texts)
    gates = "\n".join(target_tables.gates_markdown(results))
    if gates:
        yield "## Who answers"
        yield gates
        yield (
            "% of prompts at whose end the plug-in's gate gives it at least half of the say "
            "(alpha), and mean alpha, after all edits. Unrelated questions: those that the gate "
            "was taught with, and others of their kind."
        )
    along = ["\n".join(target_tables.along_markdown(r, name)) for name, r in results.items()]
    if any(along):
        yield "## What lasts while edits come in"
        yield from filter(None, along)
        yield (
            "By number of edits, of all facts edited by then or of the first moment's alone; "
            "generated answers where all were, else teacher-forced; exact. Neighbours against "
            "the true answer."
        )


def _by_protocol(rows: Sequence[Row]) -> Iterator[str]:
    """A table for each row whose answers were taken by other protocols than ours, too."""
    found = [row for row in rows if any(s.get("protocol", OURS) != OURS for s in row.scores)]
    if found:
        yield "## By every protocol"
        yield "In %, after all edits, with 95 % bootstrap intervals; means over facts."
    for row in found:
        yield readings.markdown(f"{row.run}: {row.arm}", row.scores).rstrip()
        yield readings.overstatement(row.scores) or ""


def _thinned(steps: Sequence[int], ends: set[int]) -> list[int]:
    """At most about a dozen, evenly spread, with the ends of all runs."""
    if len(steps) <= MOST_STEPS:
        return list(steps)
    places = np.linspace(0, len(steps) - 1, MOST_STEPS).round().astype(int)
    return sorted({steps[place] for place in places} | ends)


def _markdown(rows: Sequence[Row], differing: Sequence[str], columns: Sequence[str]) -> str:
    """An aligned table; columns without any text are left out."""
    used = [name for name in columns if any(row.cells.get(name, NONE) != NONE for row in rows)]
    lines = [["run", "arm", *differing, *used]]
    for row in rows:
        own = [row.protocol[name] for name in differing]
        lines.append([row.run, row.arm, *own, *(row.cells.get(name, NONE) for name in used)])
    lines = [[text.replace("|", "\\|") for text in line] for line in lines]
    widths = [max(3, *(len(line[i]) for line in lines)) for i in range(len(lines[0]))]
    left = 2 + len(differing)
    lines.insert(1, ["-" * (w - 1) + ("-" if i < left else ":") for i, w in enumerate(widths)])
    return "\n".join(f"| {' | '.join(_padded(line, widths, left))} |" for line in lines)


def _padded(line: Sequence[str], widths: Sequence[int], left: int) -> Iterator[str]:
    for place, (text, width) in enumerate(zip(line, widths, strict=True)):
        yield text.ljust(width) if place < left else text.rjust(width)
