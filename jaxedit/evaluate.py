"""Restores a checkpoint of a run and scores it: the same numbers as the run gave there.

    python -m jaxedit.evaluate --workdir=out/x
    python -m jaxedit.evaluate --workdir=out/x --arm=d4s --step=50 --output=scores.json

Writes nothing but ``--output``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from absl import flags

from jaxedit import cli
from jaxedit.checkpoints import Checkpoints, check_owner
from jaxedit.config import ArmConfig
from jaxedit.errors import UserError
from jaxedit.experiment import Experiment, open_experiment, open_resources
from jaxedit.ledger import write_json
from jaxedit.metrics import Score, read_answers, scores
from jaxedit.models import Transformer
from jaxedit.results import ArmFiles, read_config
from jaxedit.runner import kept_contexts, read_loaded
from jaxedit.typed import suggestion


def reopen(workdir: Path) -> Experiment:
    """The experiment of a run directory, with the facts that are kept there.

    Raises:
        UserError: it is no run directory, or the model is not there any more.
    """
    return open_experiment(read_config(workdir), read_loaded(workdir))


def find_arm(experiment: Experiment, name: str | None) -> ArmConfig:
    """The arm of that name, or the first one.

    Raises:
        UserError: with the nearest name.
    """
    arms = {arm.name: arm for arm in experiment.config.arms}
    if name is None:
        return next(iter(arms.values()))
    if name not in arms:
        raise UserError(f"--arm={name}: the run has no such arm{suggestion(name, arms)}")
    return arms[name]


def restore(
    workdir: Path, experiment: Experiment, arm: ArmConfig, step: int | None = None
) -> tuple[Transformer, int]:
    """The edited model of a checkpoint, and the number of edits in it.

    Raises:
        UserError: there is no such checkpoint, or it is of another model.
    """
    directory = ArmFiles(workdir / arm.name).checkpoints
    with Checkpoints(directory, read_only=True) as checkpoints:
        found = checkpoints.restore(step)
    if found is None:
        raise UserError(f"{directory}: holds no checkpoint yet; let the run get to its first one")
    check_owner(found.meta, experiment.meta(arm, found.meta.step), directory)
    editor = experiment.editor(arm, open_resources(experiment, kept_contexts(workdir)))
    return editor.bind(experiment.lm, editor.restore(experiment.lm, found.state)), found.meta.step


def evaluate(
    workdir: Path, experiment: Experiment, arm: ArmConfig, step: int | None = None
) -> tuple[list[Score], int]:
    """Scores of all facts edited up to a checkpoint, and its step."""
    edited, step = restore(workdir, experiment, arm, step)
    when = "after_all" if step == len(experiment.facts) else "checkpoint"
    answers = experiment.questions().answers(edited, when, edits=step, start=0, stop=step)
    before = read_answers(workdir / "before.jsonl")
    return scores(answers, before, seed=experiment.config.seed), step


if __name__ == "__main__":
    _WORKDIR = flags.DEFINE_string("workdir", None, "the run's directory")
    _ARM = flags.DEFINE_string("arm", None, "which arm; default: each of them")
    _STEP = flags.DEFINE_integer("step", None, "edits at the checkpoint; default: the latest")
    _OUTPUT = flags.DEFINE_string("output", None, "a JSON file for the scores")

    def _main() -> None:
        workdir = cli.workdir_of(_WORKDIR)
        experiment = reopen(workdir)
        arms = [find_arm(experiment, _ARM.value)] if _ARM.value else experiment.config.arms
        found: dict[str, Any] = {}
        for arm in arms:
            values, step = evaluate(workdir, experiment, arm, _STEP.value)
            found[arm.name] = {"step": step, "scores": [score.to_dict() for score in values]}
            print(f"{arm.title}, checkpoint at {step} edits")
            for score in values:
                print(f"  {score}")
        if _OUTPUT.value:
            write_json(Path(_OUTPUT.value), found)

    cli.run(_main)
