"""Runs side by side: what differs in their configs, and in what they gave, fact by fact."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxedit.findings import AGAINST, growth, paired_interval, pick
from jaxedit.finished_runs import Run
from jaxedit.served import BEFORE
from jaxedit.target_tables import ALL as TARGET_COLUMNS
from jaxedit.target_tables import DECODINGS

NONE = "–"
COLUMNS = (
    *(("efficacy", "exact", "target"), ("paraphrase", "exact", "target")),
    *(("specificity", "exact", "truth"), ("specificity", "exact", "unedited")),
    *(("reliability", "token_accuracy", "target"), ("generality", "token_accuracy", "target")),
    ("locality", "token_accuracy", "unedited"),
)
WORDS = {**AGAINST, "target": "the target"}
INTERVALS = "In %, with 95 % bootstrap intervals over n facts."
TIMES = {
    "steady_seconds_an_edit": "seconds an edit, nothing compiled",
    "update_seconds": "of which the update",
    "edit_seconds": "editing, seconds",
    "score_seconds": "scoring, seconds",
}


class Cell(NamedTuple):
    """Text, in small print its range, and whether it is told apart from nothing."""

    value: str
    range: str = ""
    told: bool = False


class Table(NamedTuple):
    """Rows of a name and a cell for each column."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]
    note: str = ""


def compared(runs: Sequence[Run], arms: Sequence[tuple[str, ...]]) -> list[Table]:
    """All tables: what differs, then for each comparison scores, differences, seconds, norms."""
    tables = [configs(runs, arms)]
    for names in arms:
        found = [run.arm(name) for run, name in zip(runs, names, strict=True)]
        title = " / ".join(dict.fromkeys(arm["title"] for arm in found))
        made = [table(runs, found) for table in (scores, differences, in_targets, costs)]
        tables += [part._replace(title=f"{title}: {part.title}") for part in made if part.rows]
    return tables


def configs(runs: Sequence[Run], arms: Sequence[tuple[str, ...]]) -> Table:
    """What is not the same in all: settings as the runs resolved them, versions, devices."""
    told = [
        _settings(run, [names[place] for names in arms], len(set(arms[0])) == 1)
        for place, run in enumerate(runs)
    ]
    keys = dict.fromkeys(key for one in told for key in one)
    rows = [
        (key, tuple(Cell(one.get(key, NONE)) for one in told))
        for key in keys
        if len({one.get(key, NONE) for one in told}) > 1
    ]
    note = "What is equal is left out." if rows else "Nothing differs."
    return Table("What differs", _heads("setting", runs), tuple(rows), note)


def _settings(run: Run, arms: Sequence[str], alike: bool) -> dict[str, str]:
    """By dotted name; an arm's under its own, or under "arm" where they are not the same."""
    result = run.result
    own = {
        "version": result.get("version"),
        "devices": result.get("devices"),
        **{key: value for key, value in result["config"].items() if key != "arms"},
    }
    found = dict(_flat(own))
    for name in arms:
        arm = run.arm(name)
        whole = {**result["config"]["arms"][name], **arm["settings"], "layers": arm["layers"]}
        found |= _flat(whole, f"arms.{name}." if alike else "arm.")
    return found


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            yield f"{prefix}{key}", ", ".join(map(str, value)) or NONE
        else:
            yield f"{prefix}{key}", NONE if value is None else str(value)


def scores(runs: Sequence[Run], arms: Sequence[Mapping[str, Any]]) -> Table:
    """The headline after all edits, by teacher forcing and generated."""
    rows = tuple(_score_rows([arm["after_all"] for arm in arms], COLUMNS, DECODINGS))
    return Table("after all edits", _heads("score", runs), rows, INTERVALS)


def in_targets(runs: Sequence[Run], arms: Sequence[Mapping[str, Any]]) -> Table:
    """Of an edited plug-in in each model and mode that two runs have, or more.

    Of generated answers; of teacher-forced ones where none were generated.
    """
    served = [arm.get("targets", {}) for arm in arms]
    counts = Counter((t, mode) for own in served for t in own for mode in own[t] if mode != BEFORE)
    rows = []
    for target, mode in (place for place, count in counts.items() if count > 1):
        found = [own.get(target, {}).get(mode, ()) for own in served]
        for decoding in reversed(DECODINGS):
            new = list(_score_rows(found, TARGET_COLUMNS, (decoding,), f"{target}, {mode}: "))
            rows += new
            if new:
                break
    return Table("in other models, after all edits", _heads("score", runs), tuple(rows), INTERVALS)


def _score_rows(
    found: Sequence[Sequence[Mapping[str, Any]]],
    columns: Sequence[tuple[str, str, str]],
    decodings: Sequence[tuple[str, str]],
    prefix: str = "",
) -> Iterator[tuple[str, tuple[Cell, ...]]]:
    for decoding, word in decodings:
        for metric, reading, against in columns:
            wanted = {"decoding": decoding, "reading": reading, "against": against}
            picked = [pick(own, metric, **wanted) for own in found]
            if any(picked):
                how = f"{word}, {reading.replace('_', ' ')}, against {WORDS[against]}"
                yield f"{prefix}{metric} ({how})", tuple(map(_score, picked))


def _score(score: Mapping[str, Any] | None) -> Cell:
    if score is None:
        return Cell(NONE)
    low, high = score["interval"]
    between = f"{100 * low:.1f} to {100 * high:.1f}, n {score['n']}"
    return Cell(f"{100 * score['value']:.1f}", between)


def differences(runs: Sequence[Run], arms: Sequence[Mapping[str, Any]]) -> Table:
    """Every run against the first, on the facts that both have edited."""
    rows = []
    for key in arms[0]["outcomes"]:
        cells = [_paired(runs[0], run, arms[0], arm, key) for run, arm in _later(runs, arms)]
        if any(cell.value != NONE for cell in cells):
            metric, _, against = key.partition(", ")
            rows.append((f"{metric} (against {WORDS[against]})", tuple(cells)))
    note = (
        f"Points more than {runs[0].name}, mean over the n facts that both have edited, with its "
        "95 % bootstrap interval; teacher-forced, exact, after all edits. In bold where the "
        "interval leaves out zero."
    )
    return Table("fact by fact", _heads("difference", runs[1:]), tuple(rows), note)


def _later(
    runs: Sequence[Run], arms: Sequence[Mapping[str, Any]]
) -> Iterator[tuple[Run, Mapping[str, Any]]]:
    return zip(runs[1:], arms[1:], strict=True)


def _paired(
    base: Run, other: Run, ours: Mapping[str, Any], theirs: Mapping[str, Any], key: str
) -> Cell:
    first, second = (
        _by_fact(run, arm["outcomes"].get(key, {})) for run, arm in ((base, ours), (other, theirs))
    )
    shared = [fact for fact in first if fact in second]
    if not shared:
        return Cell(NONE)
    difference = np.array([second[fact] - first[fact] for fact in shared])  # [n]
    low, high = paired_interval(difference, seed=base.result["config"].get("seed", 0))
    between = f"{100 * low:+.1f} to {100 * high:+.1f}, n {len(shared)}"
    return Cell(f"{100 * difference.mean():+.1f}", between, low > 0 or high < 0)


def _by_fact(run: Run, outcomes: Mapping[str, float]) -> dict[tuple[str, ...], float]:
    """Outcomes by what the fact is; nothing where the run does not say."""
    if run.facts is None:
        return {}
    return {run.facts[int(number)]: value for number, value in outcomes.items()}


def costs(runs: Sequence[Run], arms: Sequence[Mapping[str, Any]]) -> Table:
    """Seconds, norms of what was edited, perplexity of other text."""
    rows = [
        (title, tuple(_number(arm["timing"].get(key)) for arm in arms))
        for key, title in TIMES.items()
    ]
    grown = [growth(arm["norms"]) for arm in arms]
    means = tuple(_number(np.mean(list(own.values())) if own else None) for own in grown)
    most = tuple(_number(max(own.values(), default=None)) for own in grown)
    rows.append(("mean absolute weight after over before, mean over layers", means))
    rows.append(("the same, where it grew most", most))
    rows.append(("held-out perplexity", tuple(_number(_perplexity(arm)) for arm in arms)))
    kept = [(name, cells) for name, cells in rows if any(cell.value != NONE for cell in cells)]
    return Table("seconds and norms", _heads("", runs), tuple(kept), "After all edits.")


def _perplexity(arm: Mapping[str, Any]) -> float | None:
    found = [record["perplexity"] for record in arm.get("damage", ()) if record["perplexity"]]
    return found[-1]["value"] if found else None


def _number(value: Any) -> Cell:
    return Cell(NONE if value is None else f"{value:.3g}" if value < 100 else f"{value:.0f}")


def _heads(first: str, runs: Sequence[Run]) -> tuple[str, ...]:
    return (first, *(run.name for run in runs))
