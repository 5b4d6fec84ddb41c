"""What a run keeps of the ensembles that its plug-in makes with other models.

Raw answers lie below the arm, ``targets/<target>/<mode>.jsonl``; those of the unedited targets
below the run, ``targets/<target>.jsonl``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxedit.config import EnsembleConfig, RunConfig
from jaxedit.metrics import read_answers, scores

FOLDER = "targets"
BEFORE = "before"


@dataclass(frozen=True)
class Served:
    """The answers of one ensemble, or where they will be.

    Attributes:
        target: its name.
        mode: of the fusion.
        path: of its raw answers.
    """

    target: str
    mode: str
    path: Path


def slug(target: str) -> str:
    """A target's name as a file name."""
    return "".join(c if c.isalnum() or c in "._-" else "-" for c in Path(target).name or target)


def unedited_path(workdir: Path, target: str) -> Path:
    """Where the unedited target's answers are kept."""
    return workdir / FOLDER / f"{slug(target)}.jsonl"


def served(directory: Path, config: EnsembleConfig) -> list[Served]:
    """Every ensemble of an arm, by target and mode."""
    return [
        Served(target, mode, directory / FOLDER / slug(target) / f"{mode}.jsonl")
        for target in config.targets
        for mode in config.modes
    ]


def results(workdir: Path, directory: Path, config: RunConfig) -> dict[str, dict[str, Any]]:
    """Scores of an arm's ensembles by target, then mode; those of the unedited one as "before"."""
    found: dict[str, dict[str, Any]] = {}
    for one in served(directory, config.ensemble):
        before = unedited_path(workdir, one.target)
        if not (one.path.exists() and before.exists()):
            continue
        unedited = read_answers(before)
        own = found.setdefault(one.target, {BEFORE: _dicts(scores(unedited, seed=config.seed))})
        answers = read_answers(one.path)
        own[one.mode] = _dicts(scores(answers, unedited, seed=config.seed))
    return found


def _dicts(found: Sequence[Any]) -> list[dict[str, Any]]:
    return [score.to_dict() for score in found]
