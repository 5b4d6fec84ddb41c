"""What an edited plug-in does for other models: OnceEdit's ensemble stage, beside a run's scores.

A run whose config names targets edits its model, the plug-in, as any run does. After all edits of
an arm the plug-in joins each target, in each mode of fusion, and the ensembles are asked what the
plug-in was asked. What is there already is not asked again (`jaxedit.served`), so a target can be
added to a finished run without an edit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jaxedit.config import ArmConfig, RunConfig
from jaxedit.driver import Asking
from jaxedit.ensemble.ensemble import Ensemble
from jaxedit.ensemble.gates import Gate, fit_gate
from jaxedit.ensemble.plugin import Plugin
from jaxedit.ensemble.spaces import open_space
from jaxedit.experiment import ONCEEDIT, Experiment, devices, fusion
from jaxedit.metrics import Answer
from jaxedit.models.loading import load_model
from jaxedit.models.transformer import Transformer
from jaxedit.progress import progress
from jaxedit.served import served, unedited_path


def open_target(config: RunConfig, name: str) -> Transformer:
    """A target, on the run's devices and in its dtype."""
    return load_model(name, config.dtype, devices(config))


def ensembles(
    config: RunConfig, target: Transformer, plugin: Plugin, modes: Sequence[str]
) -> Iterator[tuple[str, Ensemble]]:
    """The plug-in in a target, in each of these modes; the relative space is made once."""
    asked = config.ensemble
    cache = None if asked.cache is None else Path(asked.cache)
    space = open_space(target, plugin.lm, asked.anchors, cache=cache)  # type: ignore[arg-type]
    for mode in modes:
        yield mode, Ensemble(target, plugin, space, fusion(asked, mode))


def taught(experiment: Experiment, arm: ArmConfig, edited: Transformer) -> Plugin:
    """An arm's plug-in after its edits, with a gate that tells them apart.

    A method that does not teach the gate itself leaves it as it was; it is then taught alone, on
    the run's facts and its unrelated questions, at the cost of one forward pass of each.
    """
    plugin = Plugin(edited, edited.config.vocab_size - 1)
    asked = experiment.config.ensemble.gate
    if asked is False or (asked is None and arm.method == ONCEEDIT):
        return plugin
    form = experiment.config.eval.prompt_format
    made, _ = fit_gate(plugin, experiment.facts, experiment.unrelated, Gate(format=form))
    return made


def serve(
    workdir: Path,
    experiment: Experiment,
    arm: ArmConfig,
    plugin: Callable[[], Plugin],
    write: Callable[[Path, Sequence[Answer]], None],
) -> None:
    """Asks every ensemble of an arm that has not been asked yet, and the unedited targets.

    Args:
        workdir: of the run.
        experiment, arm: whose ensembles.
        plugin: gives the arm's plug-in after all edits; not called if nothing is missing.
        write: writes a whole file or none.
    """
    config, asking = experiment.config, experiment.questions()
    missing = [one for one in served(workdir / arm.name, config.ensemble) if not one.path.exists()]
    made = plugin() if missing else None
    for name in dict.fromkeys(one.target for one in missing):
        target = open_target(config, name)
        before = unedited_path(workdir, name)
        if not before.exists():
            before.parent.mkdir(parents=True, exist_ok=True)
            write(before, ask(target, asking, "before", 0, f"{name}, unedited"))
        own = {one.mode: one.path for one in missing if one.target == name}
        assert made is not None
        for mode, ensemble in ensembles(config, target, made, list(own)):
            own[mode].parent.mkdir(parents=True, exist_ok=True)
            title = f"{arm.title} in {name}, {mode}"
            write(own[mode], ask(ensemble, asking, "after_all", len(asking.asked), title))


def ask(lm: Any, asking: Asking, when: str, edits: int, title: str) -> list[Answer]:
    """Everything, with a bar."""
    count = len(asking.asked)
    with progress(title, asking.rows(when, 0, count), unit="rows") as advance:
        return asking.answers(lm, when, edits=edits, start=0, stop=count, advance=advance)
