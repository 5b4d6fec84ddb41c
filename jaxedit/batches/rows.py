"""The rows of a batch's table, read from the records of its runs, finished or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxedit.batches.batch import DONE, Job
from jaxedit.config import ArmConfig, RunConfig
from jaxedit.findings import curve, pick
from jaxedit.ledger import read_json
from jaxedit.results import ArmFiles

EXACT: Mapping[str, tuple[str, str]] = {  # column -> metric, what counts as right
    "efficacy": ("efficacy", "target"),
    "paraphrase": ("paraphrase", "target"),
    "specificity": ("specificity", "truth"),
    "unchanged": ("specificity", "unedited"),
}
PERPLEXITY = "held-out perplexity"
NONE = "-"
Record = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One arm of one run, or the unedited model of one.

    Attributes:
        run, arm: names.
        cells: column -> text.
        protocol: what the numbers depend on besides: model, facts, prompt, ...
        scores: those behind the cells.
        along: column -> (edits, value) of all facts edited so far; empty if not scored on the way.
    """

    run: str
    arm: str
    cells: Mapping[str, str]
    protocol: Mapping[str, str]
    scores: Sequence[Record] = ()
    along: Mapping[str, Sequence[tuple[int, float]]] = field(default_factory=dict)


def arm_row(job: Job, arm: ArmConfig) -> Row:
    """How far an arm of a run is, and its scores after all edits once it is done."""
    files = ArmFiles(job.workdir / arm.name)
    records = files.metrics.read()
    result = read_json(files.result) if files.result.exists() else None
    edits = max((record["step"] for record in records), default=0)
    cells = {
        "edits": f"{edits:,}",
        "batch": f"{arm.batch:,}",
        "state": _state(job, result is not None, edits),
        "directory": job.hash,
    }
    scores = list(result["after_all"]) if result else []
    curves = _curves(records, scores, edits)
    if result:
        cells |= {column: _score(scores, column) for column in EXACT}
        cells["norm ratio"] = _growth(records)
        cells["condition ratio"] = _worse_condition(records)
        if result["timing"]:
            cells["s an edit"] = f"{result['timing']['steady_seconds_an_edit']:.3f}"
        last = _perplexities(records)[-1:]
        if last and last[0][0] == edits:
            cells[PERPLEXITY] = plain(last[0][1]["value"])
            scores.append(last[0][1])
    return Row(job.label, arm.title, cells, _protocol(job), scores, curves)


def unedited_rows(jobs: Sequence[Job]) -> list[Row]:
    """The models before any edit, each once though many runs ask it the same."""
    found: dict[tuple[str, ...], Row] = {}
    for job in jobs:
        if job.state() != DONE:
            continue
        result = read_json(job.workdir / "result.json")
        cells = {"edits": "0"} | {column: _score(result["before"], column) for column in EXACT}
        records = ArmFiles(job.workdir / job.config.arms[0].name).metrics.read()
        first = _perplexities(records)[:1]
        if first and first[0][0] == 0:
            cells[PERPLEXITY] = plain(first[0][1]["value"])
        name, protocol = f"({result['facts']['edited']:,} facts)", _protocol(job)
        row = Row(name, "unedited model", cells, protocol)
        found.setdefault((name, *cells.values(), *protocol.values()), row)
    return list(found.values())


def percent(share: float) -> str:
    """0.5 -> 50.0."""
    return f"{100 * share:.1f}"


def plain(value: float) -> str:
    """Two places, or three digits of a large number: a broken model's perplexity has no end."""
    return f"{value:.2f}" if value < 1000 else f"{value:.3g}"


def _state(job: Job, done: bool, edits: int) -> str:
    if done:
        return "done"
    if not (job.workdir / "config.json").exists():
        return "to do"
    stated = job.workdir / "setup.json"
    total = read_json(stated)["facts"]["edited"] if stated.exists() else job.config.facts.limit
    return f"{edits:,} of {total:,}" if total else f"{edits:,} edits"


def _score(scores: Sequence[Record], column: str) -> str:
    """Teacher-forced / generated, in %."""
    metric, against = EXACT[column]
    found = [
        pick(scores, metric, decoding=decoding, against=against)
        for decoding in ("teacher_forced", "generation")
    ]
    values = [percent(score["value"]) if score else NONE for score in found]
    return values[0] if found[1] is None else " / ".join(values)


def _curves(
    records: Sequence[Record], after_all: Sequence[Record], edits: int
) -> dict[str, list[tuple[int, float]]]:
    along = [record for record in records if record["kind"] == "scores"]
    if not along:
        return {}
    arm = {"along": along, "after_all": after_all, "edits": edits}
    curves = {}
    for column, (metric, against) in EXACT.items():
        points = dict(curve(arm, metric, against=against))  # the last step may be in it twice
        curves[column] = [(step, score["value"]) for step, score in points.items()]
    curves[PERPLEXITY] = [(step, score["value"]) for step, score in _perplexities(records)]
    return curves


def _perplexities(records: Sequence[Record]) -> list[tuple[int, Record]]:
    """(edits, score)."""
    damage = [record for record in records if record["kind"] == "damage"]
    return [(record["step"], record["perplexity"]) for record in damage if record["perplexity"]]


def _growth(records: Sequence[Record]) -> str:
    """Mean absolute weight of the edited layers at the end over that before, mean over layers."""
    norms = [record["layers"] for record in records if record["kind"] == "norms"]
    if len(norms) < 2 or not norms[0]:
        return NONE
    first, last = norms[0], norms[-1]
    growth = [last[name]["l1"] / first[name]["l1"] for name in first if first[name]["l1"]]
    return f"{np.mean(growth):.3f}" if growth else NONE


def _worse_condition(records: Sequence[Record]) -> str:
    """Condition number of the edited matrix that has suffered most, over that before."""
    found = [record["condition"] for record in records if record["kind"] == "damage"]
    if len(found) < 2 or not found[0]:
        return NONE
    return plain(max(found[-1][name] / before for name, before in found[0].items()))


def _protocol(job: Job) -> dict[str, str]:
    config, ev = job.config, job.config.eval
    stops = ", ".join(map(repr, ev.stop))
    setup = job.workdir / "setup.json"
    made = read_json(setup) if setup.exists() else {}
    return {
        "model": config.model,
        "facts": _facts(config),
        "statistics": config.statistics.source,
        "prompt": repr(ev.prompt_format),
        "generation": f"greedy, {ev.max_new_tokens} new tokens at most, stop at {stops}",
        "held-out text": f"{ev.heldout_texts} texts of {ev.heldout}" if ev.heldout else "none",
        "dtype": config.dtype,
        "seed": str(config.seed),
        "devices": made.get("devices", NONE),
        "version": f"jaxedit {made['version']}" if made else NONE,
    }


def _facts(config: RunConfig) -> str:
    facts = config.facts
    chosen = "the first" if facts.seed is None else f"chosen with seed {facts.seed}"
    return f"{facts.path or facts.source}, {chosen}"
