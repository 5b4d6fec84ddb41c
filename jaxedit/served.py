"""What a run keeps of the ensembles that its plug-in makes with other models.

Raw answers lie below the arm, ``targets/<target>/<mode>.jsonl``, those of earlier checkpoints in
``targets/<target>/<mode>-<edits>.jsonl``; those of the unedited targets below the run,
``targets/<target>.jsonl``. The plug-in itself is asked at earlier checkpoints, too, in the mode
"alone". What its gate says to each kind of prompts is in ``alpha.json`` of the arm.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from pathlib import Path
from typing import Any

from jaxedit.config import RunConfig
from jaxedit.ledger import read_json
from jaxedit.metrics import Answer, Measure, named, overall, read_answers, scores
from jaxedit.metrics.records import OURS

FOLDER = "targets"
BEFORE = "before"
ALONE = "alone"
ALONG: tuple[Measure, ...] = tuple(
    measure
    for measure in named("efficacy", "paraphrase", "specificity")
    if measure.reading == "exact" and measure.against != "unedited"
)


@dataclass(frozen=True)
class Served:
    """The answers of one ensemble, or where they will be.

    Attributes:
        target: its name.
        mode: of the fusion; "alone" is the plug-in without a target.
        edits: of the plug-in.
        path: of its raw answers.
    """

    target: str
    mode: str
    edits: int
    path: Path


def slug(target: str) -> str:
    """A target's name as a file name."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in Path(target).name or target)


def unedited_path(workdir: Path, target: str) -> Path:
    """Where the unedited target's answers are kept."""
    return workdir / FOLDER / f"{slug(target)}.jsonl"


def alpha_path(directory: Path) -> Path:
    """Where an arm keeps what its gate says."""
    return directory / "alpha.json"


def moments(steps: Sequence[int], every: int | None, count: int) -> list[int]:
    """The edits after which ensembles are asked: at some checkpoints, and after all edits.

    Args:
        steps: of the checkpoints that are there, ascending.
        every: the first checkpoint at or past each multiple counts; None for none.
        count: of all edits.
    """
    if every is None:
        return [count]
    known = [step for step in steps if step < count]
    crossed = [at for last, at in pairwise((0, *known)) if at // every > last // every]
    return [*crossed, count]


def served(directory: Path, config: RunConfig, steps: Sequence[int]) -> list[Served]:
    """Every ensemble of an arm by target, then moment and mode; the plug-in alone first.

    Args:
        directory: of the arm.
        config: of the run.
        steps: as `moments` gives them; the last one is after all edits.
    """

    def at(target: str, mode: str, step: int) -> Served:
        name = mode if step == steps[-1] else f"{mode}-{step}"
        return Served(target, mode, step, directory / FOLDER / slug(target) / f"{name}.jsonl")

    asked = config.ensemble
    alone = [at(config.model, ALONE, step) for step in steps[:-1]]
    return alone + [
        at(target, mode, step) for target in asked.targets for step in steps for mode in asked.modes
    ]


def results(workdir: Path, directory: Path, config: RunConfig) -> dict[str, dict[str, Any]]:
    """Scores of an arm's ensembles by target, then mode; those of the unedited one as "before"."""
    found: dict[str, dict[str, Any]] = {}
    for one in served(directory, config, [0]):
        before = unedited_path(workdir, one.target)
        if not (one.path.exists() and before.exists()):
            continue
        unedited = read_answers(before)
        own = found.setdefault(one.target, {BEFORE: _dicts(scores(unedited, seed=config.seed))})
        answers = read_answers(one.path)
        own[one.mode] = _dicts(scores(answers, unedited, seed=config.seed))
    return found


def retention(workdir: Path, directory: Path, config: RunConfig) -> list[dict[str, Any]]:
    """How ensembles and the plug-in alone did while edits came in: a record a model and mode.

    Each holds points, edits and a score, of "all" facts edited by then and of the "first" moment's
    alone. There is none if nothing was asked on the way.
    """
    every = config.ensemble.every
    if every is None:
        return []
    both = product(config.ensemble.targets, config.ensemble.modes)
    found = []
    for target, mode in [(config.model, ALONE), *both]:
        paths = list(_paths(workdir, directory, target, mode))
        before = workdir / "before.jsonl" if mode == ALONE else unedited_path(workdir, target)
        if len(paths) < 2 or not before.exists():
            continue
        unedited = read_answers(before)
        own: dict[str, Any] = {"target": target, "mode": mode, "all": [], "first": []}
        for path in paths:
            answers = [one for one in read_answers(path) if one.setting.protocol == OURS]
            first = [one for one in answers if one.asked.fact < every]
            own["all"] += _points(answers, unedited, config.seed)
            own["first"] += _points(first, unedited, config.seed)
        found.append(own)
    return found


def _paths(workdir: Path, directory: Path, target: str, mode: str) -> Iterator[Path]:
    """The raw answers of a model in a mode that are there, by number of edits."""
    folder = directory / FOLDER / slug(target)
    steps = sorted(
        int(path.stem.removeprefix(f"{mode}-")) for path in folder.glob(f"{mode}-*.jsonl")
    )
    yield from (folder / f"{mode}-{step}.jsonl" for step in steps)
    last = directory / "after_all.jsonl" if mode == ALONE else folder / f"{mode}.jsonl"
    if last.exists():
        yield last


def _points(answers: Sequence[Answer], before: Sequence[Answer], seed: int) -> list[dict[str, Any]]:
    found = overall(answers, before, measures=ALONG, seed=seed)
    return [{"edits": point.edits, "score": point.score.to_dict()} for point in found]


def alpha(directory: Path) -> list[dict[str, Any]]:
    """What an arm's gate says to each kind of prompts, without the single values."""
    path = alpha_path(directory)
    kinds = read_json(path)["kinds"] if path.exists() else []
    return [{key: value for key, value in kind.items() if key != "values"} for kind in kinds]


def _dicts(found: Sequence[Any]) -> list[dict[str, Any]]:
    return [score.to_dict() for score in found]
