"""One report of one batch or of many: tables and figures in the papers' form, claims and verdicts.

Works on unfinished batches. The page needs no network and links to the runs' own reports, which
lie beside it and have every score with its protocol, the configuration and the raw answers.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from jaxedit.batches.batch import DONE, Batch, Job, jobs
from jaxedit.batches.page_text import markdown
from jaxedit.batches.rows import arm_row
from jaxedit.batches.tables import batch_table
from jaxedit.ledger import read_json, write_whole
from jaxedit.metrics import code_version
from jaxedit.papers.claims import FAILS, HOLDS, OPEN, PARTLY, Verdict
from jaxedit.papers.figures import draw
from jaxedit.papers.readers import Found, Value, Where
from jaxedit.papers.tables import Cell, Filled, FilledRow, fill
from jaxedit.results import ArmFiles

VERDICTS = (HOLDS, PARTLY, FAILS, OPEN)
EMPTY = "–"
REPORT = "report.html"  # of a run, in its directory
SEED = ", seed "  # between a run's name and its seed; see `batch.load_batch`


def write_page(batches: Mapping[str, Batch], out: Path, name: str) -> dict[str, Any]:
    """Writes OUT/<name>.html and OUT/<name>.md; returns what they show.

    Args:
        batches: by the names of their files.
        out: directory that holds all runs.
        name: of the two files.

    Raises:
        UserError: a record of a run is broken.
    """
    shown = page(batches, out)
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxedit"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    write_whole(out / f"{name}.html", environment.get_template("batch.html").render(**shown))
    plain = len(batches) == 1 and not any(batch.tables for batch in batches.values())
    text = "".join(batch_table(batch, out) for batch in batches.values() if plain)
    write_whole(out / f"{name}.md", text or "\n".join(markdown(shown)) + "\n")
    return shown


def page(batches: Mapping[str, Batch], out: Path) -> dict[str, Any]:
    """Everything that a report shows, as plain values."""
    sections = [_section(name, batch, out) for name, batch in batches.items()]
    hashes = {run["hash"]: run["state"] for section in sections for run in section["runs"]}
    claims = [claim for section in sections for claim in section["claims"]]
    return {
        "version": code_version(),
        "title": sections[0]["title"] if len(sections) == 1 else "Both papers, ours beside theirs",
        "done": sum(state == DONE for state in hashes.values()),
        "total": len(hashes),
        "counts": [(word, Counter(c["word"] for c in claims)[word]) for word in VERDICTS],
        "claims": claims,
        "sections": sections,
    }


def gather(batch: Batch, out: Path) -> Found:
    """The results of a batch's runs by name, those of further seeds under the first one's."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for job in jobs(batch, out):
        result = _result(job)
        if result is None:
            continue
        for name in job.names:
            first = name.rpartition(SEED)[0] or name
            found.setdefault(first, []).append(result)
    return Found(found)


def _result(job: Job) -> Mapping[str, Any] | None:
    """result.json of a run; of an unfinished one, what its finished arms have written."""
    path = job.workdir / "result.json"
    whole = read_json(path) if path.exists() else {"arms": [], "before": [], "config": {}}
    parts = [ArmFiles(job.workdir / arm.name).result for arm in job.config.arms]
    done = [part for part in parts if part.exists()]
    if len(done) > len(whole["arms"]):  # the report was written before these were done
        return {**whole, "arms": [read_json(part) for part in done]}
    return whole if whole["arms"] else None


def _section(name: str, batch: Batch, out: Path) -> dict[str, Any]:
    found, all_jobs = gather(batch, out), jobs(batch, out)
    links = {label: _report(job) for job in all_jobs for label in job.names}
    tables = [_table(fill(table, found), links) for table in batch.tables]
    drawn = [draw(figure, found, f"{name}-{i}") for i, figure in enumerate(batch.figures)]
    return {
        "name": name,
        "title": batch.title,
        "about": batch.about,
        "tables": tables if tables or batch.figures else [_plain(all_jobs)],
        "pictures": [picture for picture in drawn if picture is not None],
        "claims": [
            {
                "text": claim.text,
                "source": claim.source,
                "section": name,
                **_verdict(claim.test(found)),
            }
            for claim in batch.claims
        ],
        "runs": [_run(job) for job in all_jobs],
    }


def _verdict(verdict: Verdict) -> dict[str, str]:
    return {"word": verdict.word, "numbers": verdict.numbers}


def _table(filled: Filled, links: Mapping[str, str | None]) -> dict[str, Any]:
    printed = filled.table.printed
    return {
        "title": filled.table.title,
        "keys": list(filled.keys),
        "columns": list(filled.table.columns),
        "rows": [_row(row, filled, links) for row in filled.rows],
        "note": filled.table.note,
        "printed": None if printed is None else f"{printed.title}: {printed.protocol}",
        "notes": [] if printed is None else list(printed.notes),
    }


def _row(row: FilledRow, filled: Filled, links: Mapping[str, str | None]) -> dict[str, Any]:
    where = row.row.source
    return {
        "keys": [row.row.keys.get(key, "") for key in filled.keys],
        "link": links.get(where.run) if isinstance(where, Where) else None,
        "note": row.row.note,
        "cells": [_cell(cell, filled.table.unit) for cell in row.cells],
    }


def _cell(cell: Cell, unit: str) -> dict[str, Any]:
    ours = cell.ours
    shown: dict[str, Any] = {
        "ours": EMPTY,
        "range": None,
        "paper": None if cell.paper is None else _number(cell.paper, unit == "%"),
        "difference": None,
        "misprint": cell.misprint,
    }
    if ours is None:
        return shown
    share = unit == "%" and ours.share
    return shown | {
        "ours": _number(100 * ours.value if share else ours.value, share, cell.paper is None),
        "range": _range(ours, share),
        "difference": _difference(ours, cell.paper, unit),
    }


def _difference(ours: Value, paper: float | None, unit: str) -> str | None:
    """Points; how many times as much of what is no share."""
    if paper is None:
        return None
    if unit == "%":
        return f"{100 * ours.value - paper:+.1f}"
    return f"{ours.value / paper:.3g} times" if paper else None


def _range(ours: Value, share: bool) -> str | None:
    if ours.low is None or ours.high is None:
        return None
    seeds = f", {ours.seeds} seeds" if ours.seeds > 1 else ""
    low, high = (f"{100 * x:.0f}" if share else f"{x:.3g}" for x in (ours.low, ours.high))
    return f"{low} to {high}{seeds}"


def _number(value: float, share: bool, alone: bool = False) -> str:
    """Beside a printed number with as many digits as that may have."""
    if share:
        return f"{value:.1f}"
    whole = math.isfinite(value) and value == int(value) and abs(value) >= 100
    return f"{value:,.0f}" if whole else f"{value:.4g}" if alone else f"{value:.5g}"


def _plain(all_jobs: Sequence[Job]) -> dict[str, Any]:
    """Headline scores of every arm, for a batch that names no table."""
    rows = [(job, arm_row(job, arm)) for job in all_jobs for arm in job.config.arms]
    columns = list(dict.fromkeys(name for _, row in rows for name in row.cells))
    columns = [name for name in columns if name != "directory"]  # it is the link
    empty = {"range": None, "paper": None, "difference": None, "misprint": None}
    return {
        "title": "All arms",
        "keys": ["run", "arm"],
        "columns": columns,
        "rows": [
            {
                "keys": [row.run, row.arm],
                "link": _report(job),
                "note": "",
                "cells": [{"ours": row.cells.get(name, EMPTY), **empty} for name in columns],
            }
            for job, row in rows
        ],
        "note": "In %, teacher-forced / generated where both were taken, exact, after all edits.",
        "printed": None,
        "notes": [],
    }


def _report(job: Job) -> str | None:
    """The run's own report, once it is there."""
    return f"{job.hash}/{REPORT}" if (job.workdir / REPORT).exists() else None


def _run(job: Job) -> dict[str, Any]:
    """A line of the list of runs."""
    result, config = _result(job), job.config
    timing = [arm["timing"] for arm in result["arms"] if arm["timing"]] if result else []
    setup = job.workdir / "setup.json"
    needed = read_json(setup).get("preflight", {}) if setup.exists() else {}
    return {
        "label": job.label,
        "hash": job.hash,
        "links": _links(job),
        "state": job.state(),
        "model": config.model,
        "facts": f"{config.facts.limit or 'all'} of {config.facts.source}",
        "arms": ", ".join(arm.title for arm in config.arms),
        "edit": f"{sum(t['edit_seconds'] for t in timing):.0f}" if timing else EMPTY,
        "score": f"{sum(t['score_seconds'] for t in timing):.0f}" if timing else EMPTY,
        "memory": _memory(needed),
        "protocol": _protocol(job),
        "about": config.about,
    }


def _links(job: Job) -> dict[str, str]:
    """What there is to follow: title -> path below the page's directory."""
    known = {
        "report": job.workdir / REPORT,
        "config": job.config_file,
        "raw answers": job.workdir,
        "log": job.log,
    }
    return {
        title: str(path.relative_to(job.out)) + ("/" if path.is_dir() else "")
        for title, path in known.items()
        if path.exists()
    }


def _memory(needed: Mapping[str, Any]) -> str:
    total = needed.get("peak_bytes")
    return f"{total / 2**30:.2f}" if isinstance(total, (int, float)) else EMPTY


def _protocol(job: Job) -> str:
    asked = job.config.eval
    more = f"; also by {', '.join(asked.protocols)}" if asked.protocols else ""
    return (
        f"prompt {asked.prompt_format!r}; teacher-forced, generated "
        f"{', '.join(asked.generate) or 'never'} with {asked.max_new_tokens} new tokens at most"
        f"{more}; {job.config.dtype}, seed {job.config.seed}, facts by seed {job.config.facts.seed}"
    )
