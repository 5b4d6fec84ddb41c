"""report.html and result.json of a run; of batches, tables and figures. One page, no network.

python -m jaxedit.report --workdir=out/x      # writes both again from the run's records
python -m jaxedit.report --batch=runs/methods.py --out=out/runs     # writes methods.html, .md
python -m jaxedit.report --batch='runs/d4s_*.py' --out=out/runs     # several: tables.html, .md
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from absl import flags, logging

from jaxedit import cli, target_plots, target_tables, task_plots
from jaxedit.batches.batch import SCALE, SEEDS, load_batches, read_seeds
from jaxedit.batches.page import write_page
from jaxedit.errors import UserError
from jaxedit.findings import pick
from jaxedit.ledger import write_json, write_whole
from jaxedit.metrics import Score
from jaxedit.metrics.records import OURS
from jaxedit.other_scores import other_scores
from jaxedit.plots import pictures
from jaxedit.readings import lines, overstatement
from jaxedit.results import run_result

SEVERAL = "tables"  # the report of more than one batch
COLUMNS = (
    ("efficacy", "exact", "target"),
    ("paraphrase", "exact", "target"),
    ("specificity", "exact", "truth"),
    ("specificity", "exact", "unedited"),
    ("reliability", "token_accuracy", "target"),
    ("generality", "token_accuracy", "target"),
    ("locality", "token_accuracy", "unedited"),
)
SHORT = {("specificity", "exact", "unedited"): "unchanged"}  # for a terminal
TABLES = (
    (
        "teacher_forced",
        "Scores, teacher-forced",
        "teacher forcing (the target's own tokens are fed)",
    ),
    ("generation", "Scores, generated", "free greedy generation with natural stop"),
)
WHEN = {"before": "before", "immediate": "right after its edit", "after_all": "after all edits"}


def write_report(workdir: Path) -> dict[str, Any]:
    """Writes result.json and report.html of a run directory; returns the result.

    Raises:
        UserError: it is no run directory, or a record in it is broken.
    """
    result = run_result(workdir)
    write_json(workdir / "result.json", result)
    write_whole(workdir / "report.html", render(result))
    return result


def render(result: Mapping[str, Any]) -> str:
    """The page for a result (`results.run_result`)."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("jaxedit"), autoescape=True, undefined=jinja2.StrictUndefined
    )
    facts, model, arms = result["facts"], result["model"], result["arms"]
    return environment.get_template("report.html").render(
        title=f"Editing {_short(model['name'])}: {' / '.join(arm['title'] for arm in arms)}",
        version=result["version"],
        about=result["about"],
        findings=result["findings"],
        summary=_summary(result),
        tables=[table for spec in TABLES if (table := _table(result, *spec))],
        targets=_targets(result),
        gates=target_tables.gates(result),
        protocols=_protocols(arms),
        others=other_scores(result),
        pictures=[
            *target_plots.pictures(result),
            *pictures(result),
            *task_plots.pictures(result),
        ],
        arms=arms,
        settings=_settings(arms),
        resources=_resources(result),
        timing=[_timing(arm) for arm in arms],
        devices=f"{result['devices']}, {result['config']['dtype']}.",
        skipped=facts["skipped"],
        skipped_note=(
            f"{facts['source']} states {facts['stated']:,} records; {facts['read']:,} were there; "
            f"{facts['edited']:,} facts are edited here, {_drawn(facts.get('drawn', {}))}, and "
            f"{len(facts['skipped']):,} records that were met on the way have known defects and "
            "are skipped."
        ),
        notes=facts.get("notes", []),
        protocol=list(_protocol(result)),
        config=json.dumps(result["config"], indent=1, ensure_ascii=False),
    )


def text_table(result: Mapping[str, Any]) -> list[str]:
    """The headline table in plain lines, for a terminal."""
    lines = list(target_tables.lines(result))
    for spec in TABLES:
        table = _table(result, *spec)
        if table is None:
            continue
        heads = [SHORT.get(column, column[0]) for column in COLUMNS]
        rows = [["", table["title"].split(", ")[1], *heads]]
        for row in table["rows"]:
            values = [cell["value"] if cell else "-" for cell in row["cells"]]
            rows.append([row["arm"], row["when"], *values])
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines += [_aligned(row, widths) for row in rows] + [""]
    return lines


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    left = [text.ljust(width) for text, width in zip(row[:2], widths[:2], strict=True)]
    right = [text.rjust(width) for text, width in zip(row[2:], widths[2:], strict=True)]
    return "  ".join(left + right).rstrip()


def _drawn(drawn: Mapping[str, Any]) -> str:
    """How the records were chosen, in words."""
    share = f" of the {drawn['split']} split" if drawn.get("split") else ""
    if drawn.get("seed") is None:
        return f"the first ones{share}"
    order = "" if drawn.get("order") == "shuffled" else ", in the file's order"
    return f"drawn{share} with seed {drawn['seed']}{order}"


def _summary(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    model, facts = result["model"], result["facts"]
    edits = max((arm["edits"] for arm in result["arms"]), default=0)
    return [
        ("model", f"{_short(model['name'])} ({model['parameters'] / 1e6:,.1f} M parameters)"),
        ("facts", f"{facts['edited']:,} of {facts['source']}"),
        ("edits / d_ff", f"{edits} / {model['d_ff']:,} = {100 * edits / model['d_ff']:.1f} %"),
        ("edited layers", _layers(result["arms"])),
        ("seed", str(result["config"]["seed"])),
    ]


def _short(model: str) -> str:
    """A directory's last part; a hub id or an embedded model's name as it is."""
    return Path(model).name if Path(model).is_absolute() else model


def _layers(arms: Sequence[Mapping[str, Any]]) -> str:
    return " / ".join(dict.fromkeys(map(_own_layers, arms)))


def _own_layers(arm: Mapping[str, Any]) -> str:
    """A method that names none changes all of them, or no weight at all."""
    if arm["layers"]:
        return ", ".join(map(str, arm["layers"]))
    return "all" if any(point["layers"] for point in arm["norms"]) else "none"


def _table(result: Mapping[str, Any], decoding: str, title: str, how: str) -> dict[str, Any] | None:
    """One headline table: arms and moments down, metrics across; None if it has no number."""
    rows = list(_rows(result, decoding))
    counts = {cell["n"] for row in rows for cell in row["cells"] if cell}
    if not counts:
        return None
    common = counts.pop() if len(counts) == 1 else None
    for row in rows:
        for cell in filter(None, row["cells"]):
            cell["n"] = None if common else cell["n"]
    columns = [
        {"name": metric, "note": f"{reading.replace('_', ' ')}, {_against(against)}"}
        for metric, reading, against in COLUMNS
    ]
    note = (
        f"In %, by {how}; mean over {f'n = {common} facts' if common else 'n facts'} with its "
        "95 % bootstrap interval. Exact: every token of the target. Right after its edit: each "
        "fact on the model that its own update left."
    )
    return {"title": title, "columns": columns, "rows": rows, "note": note}


def _targets(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            **table,
            "rows": [
                {**row, "cells": [cell and _cell(cell) for cell in row["cells"]]}
                for row in table["rows"]
            ],
        }
        for table in target_tables.tables(result)
    ]


def _protocols(arms: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One table an arm whose answers were taken by other protocols than ours, too."""
    found = []
    for arm in arms:
        if any(score.get("protocol", OURS) != OURS for score in arm["after_all"]):
            rows = [
                {**line, "cells": [score and _cell(score) for score in line["cells"]]}
                for line in lines(arm["after_all"])
            ]
            found.append(
                {"arm": arm["title"], "rows": rows, "note": overstatement(arm["after_all"])}
            )
    return found


def _against(word: str) -> str:
    return {"unedited": "as unedited", "truth": "true", "target": "target"}[word]


def _rows(result: Mapping[str, Any], decoding: str) -> Iterator[dict[str, Any]]:
    yield _row("unedited model", "before", result["before"], decoding, first=True)
    for arm in result["arms"]:
        moments = [
            when
            for when in ("immediate", "after_all")
            if any(score["decoding"] == decoding for score in arm[when])
        ]
        for when in moments:
            yield _row(arm["title"], when, arm[when], decoding, first=when == moments[0])


def _row(
    arm: str, when: str, scores: Sequence[Mapping[str, Any]], decoding: str, *, first: bool
) -> dict[str, Any]:
    cells = []
    for metric, reading, against in COLUMNS:
        score = pick(scores, metric, decoding=decoding, reading=reading, against=against)
        cells.append(_cell(score) if score else None)
    return {"arm": arm, "when": WHEN[when], "cells": cells, "first": first}


def _cell(score: Mapping[str, Any]) -> dict[str, Any]:
    low, high = score["interval"]
    return {
        "value": f"{100 * score['value']:.1f}",
        "range": f"{100 * low:.0f} to {100 * high:.0f}",
        "n": score["n"],
    }


def _settings(arms: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    shown = ("method", "layers", "batch", "settings")
    flat = [_flat({key: arm[key] for key in shown} | {"layers": _own_layers(arm)}) for arm in arms]
    names = dict.fromkeys(name for settings in flat for name in settings)
    return [
        {"name": name, "values": [settings.get(name, "–") for settings in flat]} for name in names
    ]


def _flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            inner = prefix if key == "settings" else f"{prefix}{key}."
            found |= _flat(value, inner)
        else:
            shown = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            found[f"{prefix}{key}"] = shown
    return found


def _resources(result: Mapping[str, Any]) -> str:
    statistics, contexts = result["statistics"], result["contexts"]
    templates = " | ".join(template for group in contexts for template in group)
    return (
        f"Second moments of the keys over {statistics['tokens']:,} tokens of "
        f"{statistics['source']}. Prefix templates: {templates}"
    )


def _timing(arm: Mapping[str, Any]) -> dict[str, str]:
    times = arm["timing"]
    return {
        "arm": arm["title"],
        "steady": f"{times['steady_seconds_an_edit']:.3f}" if times else "–",
        "each": f"{times['update_seconds']:.3f}" if times else "–",
        "edit": f"{times['edit_seconds']:.1f}" if times else "–",
        "score": f"{times['score_seconds']:.1f}" if times else "–",
    }


def _protocol(result: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    groups = [("unedited model", result["before"])]
    for arm in result["arms"]:
        groups += [(arm["title"], arm["immediate"]), (arm["title"], arm["after_all"])]
    for name, scores in groups:
        for raw in scores:
            score = Score.from_dict(dict(raw))
            low, high = score.interval
            yield {
                "arm": name,
                "label": score.label,
                "value": f"{score.value:.4f}",
                "range": f"{low:.4f} to {high:.4f}",
                "protocol": score.described,
            }


def batch_report(
    paths: Sequence[str], scale: str, out: Path, seeds: Sequence[int] = SEEDS, name: str = SEVERAL
) -> Path:
    """Writes the report of one batch or several, whatever of them is done.

    Args:
        paths: files, lists of them or globs.
        scale, seeds: passed to them.
        out: directory of the runs.
        name: of the report's files where there are several batches; one gives its own.

    Returns:
        The page.

    Raises:
        UserError: a batch file is wrong, there are no runs, or a record is broken.
    """
    batches = load_batches(paths, scale, seeds)
    if not out.is_dir():
        raise UserError(f"--out={out}: no such directory; give the one that jaxedit.launch had")
    name = next(iter(batches)) if len(batches) == 1 else name
    write_page(batches, out, name)
    return out / f"{name}.html"


if __name__ == "__main__":
    _WORKDIR = flags.DEFINE_string("workdir", None, "the run's directory")
    _BATCH = flags.DEFINE_multi_string(
        "batch", [], "batch files, or a glob in quotes: make their tables and figures instead"
    )
    _OUT = flags.DEFINE_string("out", None, "the directory of the batch's runs")
    _SEEDS = flags.DEFINE_list("seeds", ["0"], "of the batch's runs")
    _SCALE = flags.DEFINE_string("scale", SCALE, "of the batch: tiny, paper, ...")

    def _main() -> None:
        if _BATCH.value:
            out = Path(cli.required(_OUT, "out/runs"))
            seeds = read_seeds(_SEEDS.value)
            path = batch_report(_BATCH.value, _SCALE.value, out, seeds)
            print(path.with_suffix(".md").read_text(), end="")
            logging.info("wrote %s and %s", path, path.with_suffix(".md"))
            return
        workdir = cli.workdir_of(_WORKDIR)
        write_report(workdir)
        logging.info("wrote %s and %s", workdir / "result.json", workdir / "report.html")

    cli.run(_main)
