"""What a run's records amount to: everything in result.json, recomputed from the files alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jaxedit.config import ArmConfig, RunConfig, run_config
from jaxedit.findings import findings
from jaxedit.ledger import Ledger, read_json
from jaxedit.metrics import (
    Answer,
    Measure,
    fact_values,
    forgetting,
    named,
    read_answers,
    scores,
)
from jaxedit.served import alpha
from jaxedit.served import results as of_targets
from jaxedit.served import retention as along_targets

RETENTION_BLOCKS = 10


@dataclass(frozen=True)
class ArmFiles:
    """Where an arm keeps what."""

    directory: Path

    @property
    def metrics(self) -> Ledger:
        """Numbers along the run: kinds "edit", "norms", "damage", "tasks", "scores"."""
        return Ledger(self.directory / "metrics.jsonl")

    @property
    def generations(self) -> Ledger:
        """Raw answers right after each edit."""
        return Ledger(self.directory / "generations.jsonl")

    @property
    def log(self) -> Ledger:
        """Times; the only records that differ from run to run."""
        return Ledger(self.directory / "log.jsonl")

    @property
    def after_all(self) -> Path:
        """Raw answers after all edits."""
        return self.directory / "after_all.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Orbax's directory."""
        return self.directory / "checkpoints"

    @property
    def partway(self) -> Path:
        """An update under way, of methods that keep it; gone with the next checkpoint."""
        return self.directory / "partway"

    @property
    def result(self) -> Path:
        """The arm's share of result.json; it is there once the arm is done."""
        return self.directory / "result.json"


def read_config(workdir: Path) -> RunConfig:
    """The config that a run directory was made with.

    Raises:
        UserError: it is no run directory.
    """
    return run_config(read_json(workdir / "config.json")["config"])


def arm_result(workdir: Path, config: RunConfig, arm: ArmConfig) -> dict[str, Any]:
    """One arm's part of result.json."""
    files = ArmFiles(workdir / arm.name)
    before = read_answers(workdir / "before.jsonl")
    immediate = [Answer.from_dict(line["answer"]) for line in files.generations.read()]
    after_all = read_answers(files.after_all)
    records = files.metrics.read()
    count = len({answer.asked.fact for answer in after_all})
    block = -(-count // RETENTION_BLOCKS)
    settings = dict(read_json(workdir / "setup.json")["settings"][arm.name])
    targets = of_targets(workdir, files.directory, config)
    along = along_targets(workdir, files.directory, config)
    tasks = [_without_kind(record) for record in records if record["kind"] == "tasks"]
    return {
        "name": arm.name,
        "title": arm.title,
        "method": arm.method,
        "layers": settings.pop("layers"),
        "batch": arm.batch,
        "settings": settings,
        "edits": count,
        "immediate": _dicts(scores(immediate, before, seed=config.seed)),
        "after_all": _dicts(scores(after_all, before, seed=config.seed)),
        "along": [_without_kind(record) for record in records if record["kind"] == "scores"],
        "norms": [_without_kind(record) for record in records if record["kind"] == "norms"],
        "damage": [_without_kind(record) for record in records if record["kind"] == "damage"],
        "edit_log": [_without_kind(record) for record in records if record["kind"] == "edit"],
        "retention": [
            {"first": point.first, "last": point.last, "score": point.score.to_dict()}
            for point in forgetting(
                after_all, before, block=block, measures=CURVES, seed=config.seed
            )
        ],
        "outcomes": _outcomes(after_all, before),
        "timing": timing(files.log.read()),
        **({"targets": targets, "alpha": alpha(files.directory)} if targets else {}),
        **({"targets_along": along} if along else {}),
        **({"tasks": tasks} if tasks else {}),
    }


def run_result(workdir: Path) -> dict[str, Any]:
    """All of result.json, from the run's files; arms that are not done are left out."""
    config = read_config(workdir)
    setup = read_json(workdir / "setup.json")
    before = read_answers(workdir / "before.jsonl")
    arms = [
        arm_result(workdir, config, arm)
        for arm in config.arms
        if ArmFiles(workdir / arm.name).result.exists()
    ]
    result = {
        **setup,
        "config": read_json(workdir / "config.json")["config"],
        "about": config.about,
        "before": _dicts(scores(before, seed=config.seed)),
        "arms": arms,
    }
    return {**result, "findings": findings(result)}


CURVES: tuple[Measure, ...] = tuple(
    measure
    for measure in named("efficacy", "paraphrase", "specificity", decoding="teacher_forced")
    if measure.reading == "exact"
)


def along_scores(
    answers: Sequence[Answer], before: Sequence[Answer], *, seed: int
) -> list[dict[str, Any]]:
    """The scores that are taken along a run, on all facts edited so far."""
    measures = CURVES if answers[0].generated is None else None
    found = scores(answers, before, seed=seed, **({"measures": measures} if measures else {}))
    return _dicts(found)


def timing(log: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Seconds of editing and of scoring, and of an edit where nothing is compiled.

    What is compiled at all is compiled in the first turns and blocks of a shape; the median
    update and the fastest block leave it out.
    """
    turns = [record for record in log if record["kind"] == "turn"]
    if not turns:
        return {}
    ahead = min(record["prepare_seconds"] for record in turns)
    update = float(np.median([record["edit_seconds"] / record["facts"] for record in turns]))
    editing = sum(
        record["edit_seconds"] + record["prepare_seconds"] * record["facts"] for record in turns
    )
    return {
        "edit_seconds": float(editing),
        "score_seconds": float(sum(record["score_seconds"] for record in turns)),
        "update_seconds": update,
        "steady_seconds_an_edit": update + ahead,
    }


def _outcomes(after_all: Sequence[Answer], before: Sequence[Answer]) -> dict[str, dict[str, float]]:
    """Per measure and fact, 0..1 after all edits: what arms are compared by, fact by fact."""
    return {
        f"{m.metric}, {m.against}": {
            str(fact): value for fact, value in fact_values(after_all, before, m).items()
        }
        for m in CURVES
    }


def _dicts(found: Sequence[Any]) -> list[dict[str, Any]]:
    return [score.to_dict() for score in found]


def _without_kind(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != "kind"}
