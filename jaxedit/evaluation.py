"""What is evaluated: a run's checkpoint, or any model beside the facts of any source.

A `Subject` is a model with the questions to it and, where there is one, the unedited model that it
is compared with. Everything else (scores, tables, tests of abilities) is taken from it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from jaxedit.checkpoints import Checkpoints, check_owner
from jaxedit.config import ArmConfig, EvalConfig, FactsConfig
from jaxedit.data.datasets import Loaded
from jaxedit.data.plausibility import read_statements
from jaxedit.driver import Asking, by_fact
from jaxedit.ensemble.fusion import Mode
from jaxedit.errors import UserError
from jaxedit.experiment import (
    Experiment,
    heldout_texts,
    is_plugin,
    open_experiment,
    open_resources,
    setting,
)
from jaxedit.intake import formats, load, usable
from jaxedit.metrics import (
    Answer,
    Score,
    elken,
    heldout_perplexity,
    plausibility,
    read_answers,
    scores,
)
from jaxedit.metrics.asking import Questions
from jaxedit.metrics.judge import Judge, judged, verdict_values
from jaxedit.metrics.judge import scores as judge_means
from jaxedit.metrics.protocols import ask_by
from jaxedit.metrics.records import OURS
from jaxedit.models.loading import load_model
from jaxedit.models.transformer import Transformer
from jaxedit.progress import progress
from jaxedit.results import ArmFiles, read_config
from jaxedit.runner import kept_contexts, read_loaded
from jaxedit.serving import ensembles, open_target, taught
from jaxedit.sharding import Mesh, make_mesh, solving
from jaxedit.typed import suggestion


@dataclass(frozen=True)
class Subject:
    """One model to be evaluated.

    Attributes:
        title: what it is, for tables.
        lm: the model.
        unedited: the model before any edit; None where there is none to compare with.
        asking: the questions and how they are asked.
        when: "before", "checkpoint" or "after_all".
        edits: that the model has received.
        before: what the unedited model has answered already.
    """

    title: str
    lm: Any
    unedited: Transformer | None
    asking: Asking
    when: str
    edits: int
    before: tuple[Answer, ...] = ()

    @property
    def count(self) -> int:
        """Facts that are asked about: those edited so far, or all."""
        return self.edits or len(self.asking.asked)


def reopen(workdir: Path, mesh: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment of a run directory, with the facts that are kept there.

    Args:
        workdir: the directory.
        mesh: settings of `MeshConfig` that are to be others than the run's; no number changes.

    Raises:
        UserError: it is no run directory, or the model is not there any more.
    """
    config = read_config(workdir)
    config = dataclasses.replace(config, mesh=dataclasses.replace(config.mesh, **(mesh or {})))
    return open_experiment(config, read_loaded(workdir))


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
    with solving(experiment.config.mesh.solve):
        state = editor.restore(experiment.lm, found.state)
        return editor.bind(experiment.lm, state), found.meta.step


def of_run(
    workdir: Path,
    experiment: Experiment,
    arm: ArmConfig,
    step: int | None = None,
    protocols: Sequence[str] = (),
) -> Subject:
    """The model of an arm's checkpoint, asked as its run asks.

    Args:
        protocols: to ask by besides those of the run.
    """
    edited, step = restore(workdir, experiment, arm, step)
    asking = experiment.questions()
    when = "after_all" if step == len(experiment.facts) else "checkpoint"
    if protocols:
        wanted = tuple(dict.fromkeys((*asking.protocols, *protocols)))
        generate = asking.generate | {when}
        asking = dataclasses.replace(asking, protocols=wanted, generate=generate)
    return Subject(
        f"{arm.title}, checkpoint at {step} edits",
        edited,
        experiment.lm,
        asking,
        when,
        step,
        tuple(read_answers(workdir / "before.jsonl")),
    )


def in_target(subject: Subject, experiment: Experiment, arm: ArmConfig, name: str) -> Subject:
    """The same plug-in in a model that it corrects, one of the run's targets or another one.

    ``name`` is a model, or "model:mode" for another mode of fusion than the run's first.

    Raises:
        UserError: the run's model is no plug-in, or there is no such model or mode.
    """
    if not is_plugin(experiment.config):
        raise UserError(
            f"--target={name}: the run's model has no gate; edit a plug-in, as "
            "configs/quickstart_onceedit.py does"
        )
    model, mode = name, experiment.config.ensemble.modes[0]
    head, colon, tail = name.rpartition(":")
    if colon and tail in get_args(Mode):
        model, mode = head, tail
    target = open_target(experiment.config, model)
    plugin = taught(experiment, arm, subject.lm)
    [(_, ensemble)] = ensembles(experiment, target, plugin, [mode])
    title = f"{subject.title}, in {model}, {mode}"
    return dataclasses.replace(subject, title=title, lm=ensemble, unedited=target, before=())


def of_model(
    model: str,
    facts: FactsConfig,
    ev: EvalConfig,
    *,
    unedited: str | None = None,
    dtype: str = "float32",
    mesh: Mesh | None = None,
) -> tuple[Subject, Loaded]:
    """Any model, on all devices or on those of a mesh: unedited, or exported after its edits.

    Of the latter ``unedited`` names what it was before.

    Raises:
        UserError: a model, file or record is wrong.
    """
    mesh = make_mesh() if mesh is None else mesh
    lm = load_model(model, dtype, mesh)
    other = load_model(unedited, dtype, mesh) if unedited else None
    loaded = usable(load(facts, facts.limit), facts, ev, lm)
    edits = len(loaded.facts) if unedited else 0
    asking = Asking(
        asked=by_fact(loaded.cases, formats(facts, ev)),
        settings={when: setting(ev, dtype, when) for when in ("before", "after_all")},
        generate=frozenset(ev.generate),
        protocols=ev.protocols,
    )
    when = "after_all" if unedited else "before"
    return Subject(model, lm, other, asking, when, edits), loaded


def without_facts(
    model: str, unedited: str | None, dtype: str, mesh: Mesh | None = None
) -> Subject:
    """A model that nothing is asked about facts: for its abilities and its perplexity."""
    mesh, ev = make_mesh() if mesh is None else mesh, EvalConfig()
    lm = load_model(model, dtype, mesh)
    other = load_model(unedited, dtype, mesh) if unedited else None
    when = "after_all" if unedited else "before"
    settings = {moment: setting(ev, dtype, moment) for moment in ("before", when)}
    return Subject(model, lm, other, Asking((), settings, frozenset()), when, 0)


def take(subject: Subject) -> tuple[list[Answer], list[Answer]]:
    """The model's answers, and the unedited one's to the same questions by the same protocols.

    What the unedited model is known to have answered is not asked again; the second list is empty
    where there is no unedited model.
    """
    if not subject.asking.asked:
        return [], []
    answers = _ask(subject, subject.lm, subject.when, subject.edits, subject.title)
    if subject.unedited is None or subject.when == "before":
        return answers, []
    if not subject.before:
        return answers, _ask(subject, subject.unedited, "before", 0, "unedited model")
    known = {answer.setting.protocol for answer in subject.before}
    ours = [a for a in subject.before if a.setting.protocol == OURS]
    asked = subject.asking.of(0, subject.count)
    known_ours = Questions(asked, ours, 0)
    setting = subject.asking.settings["before"]
    asked_since = [
        answer
        for name in subject.asking.protocols
        if name not in known
        for answer in ask_by(name, subject.unedited, known_ours, setting)
    ]
    return answers, [*subject.before, *asked_since]


def evaluate(subject: Subject, *, seed: int = 0) -> tuple[list[Score], list[Answer]]:
    """Its scores, and the raw answers behind them."""
    answers, before = take(subject)
    return scores(answers, before, seed=seed), answers


def judge_scores(
    answers: Sequence[Answer], judge: Judge, name: str, path: str | None, *, seed: int = 0
) -> list[Score]:
    """What a judge says of every generated answer; events' open questions among them."""
    with progress(
        f"judge {name}", sum(a.generated is not None for a in answers), unit="answers"
    ) as advance:
        verdicts = judged(answers, judge, name, path, advance=advance)
    own = [a for a in answers if a.setting.protocol == OURS]
    of_events = elken.scores(own, None, verdict_values(verdicts), seed=seed)
    return [
        *judge_means(answers, verdicts, seed=seed),
        *(score for score in of_events if score.reading == "judge"),
    ]


def statement_scores(subject: Subject, path: str, *, seed: int = 0) -> list[Score]:
    """F1, and what the edits mended and spoilt, of a whole file of plausible statements."""
    statements, setting = read_statements(path), subject.asking.settings[subject.when]
    answers = plausibility.ask(subject.lm, statements, setting, edits=subject.edits)
    before = None
    if subject.unedited is not None:
        first = subject.asking.settings["before"]
        before = plausibility.ask(subject.unedited, statements, first, edits=0)
    return plausibility.split_scores(answers, before, seed=seed)


def heldout_score(subject: Subject, source: str, *, texts: int = 200, seed: int = 0) -> Score:
    """Perplexity of a text file's lines, or of the embedded world's unrelated sentences."""
    found = heldout_texts(source, texts, subject.lm, "--heldout")
    setting = subject.asking.settings[subject.when]
    return heldout_perplexity(subject.lm, found, setting, edits=subject.edits, seed=seed)


def _ask(subject: Subject, lm: Any, when: str, edits: int, title: str) -> list[Answer]:
    asking, count = subject.asking, subject.count
    with progress(title, asking.rows(lm, when, 0, count), unit="rows") as advance:
        return asking.answers(lm, when, edits=edits, start=0, stop=count, advance=advance)
