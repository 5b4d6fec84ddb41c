"""What an edited plug-in does for other models: OnceEdit's ensemble stage, beside a run's scores.

A run whose config names targets edits its model, the plug-in, as any run does. After all edits of
an arm the plug-in joins each target, in each mode of fusion, and the ensembles are asked what the
plug-in was asked; on request also with the plug-in of earlier checkpoints. What is there already
is not asked again (`jaxedit.served`), so a target can be added to a finished run without an edit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jaxedit import hosts
from jaxedit.arm_settings import ONCEEDIT
from jaxedit.config import ArmConfig, RunConfig
from jaxedit.data.factworld import World, unrelated
from jaxedit.driver import Asking
from jaxedit.editors.corpus import EMBEDDED
from jaxedit.ensemble.anchors import find_anchors
from jaxedit.ensemble.ensemble import Ensemble
from jaxedit.ensemble.gates import Gate, fit_gate
from jaxedit.ensemble.histograms import alpha_histograms
from jaxedit.ensemble.plugin import Plugin
from jaxedit.ensemble.spaces import open_space
from jaxedit.errors import UserError
from jaxedit.experiment import Experiment, devices, fusion, open_unrelated
from jaxedit.ledger import write_json
from jaxedit.metrics import Answer
from jaxedit.models.loading import load_model, resolve
from jaxedit.models.text import Tokenizer
from jaxedit.models.transformer import Transformer
from jaxedit.progress import progress
from jaxedit.served import ALONE, alpha_path, moments, served, unedited_path

UNSEEN = 200  # prompts of a kind, at most, of which a gate's alpha is taken


def check_targets(experiment: Experiment) -> None:
    """Refuses targets that the plug-in can tell nothing, before any edit; reads tokenizers alone.

    Raises:
        UserError: a tokenizer cannot be read, or has no token in common with the plug-in's.
    """
    rule, own = experiment.config.ensemble.anchors, experiment.lm.tokenizer
    for name in experiment.config.ensemble.targets:
        try:
            find_anchors(Tokenizer.from_dir(resolve(name)), own, rule)
        except UserError as error:
            raise UserError(f"--config.ensemble.targets={name}: {error}") from None


def open_target(config: RunConfig, name: str) -> Transformer:
    """A target, on the run's devices and in its dtype."""
    return load_model(name, config.dtype, devices(config))


def ensembles(
    experiment: Experiment,
    target: Transformer,
    plugin: Plugin,
    modes: Sequence[str],
    *,
    stored: bool = True,
) -> Iterator[tuple[str, Ensemble]]:
    """The plug-in in a target, in each of these modes; the relative space is made once."""
    asked = experiment.config.ensemble
    computed = asked.held == "computed"
    words = plugin.lm if asked.plugin_words == "edited" else experiment.lm
    space = open_space(
        target,
        words,
        asked.anchors,
        cache=None if asked.cache is None else Path(asked.cache),
        temperature=asked.temperature,
        dtype="float32" if computed else asked.held,
        keep=not computed,
        stored=stored,
        spelt=asked.spelt,
        sharded=asked.sharded,
        embeddings=asked.embeddings,
        unit=asked.unit_rows,
    )
    options: Any = {
        "each_step": asked.each_step,
        "certified": asked.certified,
        "stop_with_plug": asked.stop_with_plug,
    }
    for mode in modes:
        yield mode, Ensemble(target, plugin, space, fusion(asked, mode), **options)


def taught(
    experiment: Experiment, arm: ArmConfig, edited: Transformer, edits: int | None = None
) -> Plugin:
    """An arm's plug-in after some edits, or all, with a gate that tells them apart.

    A method that does not teach the gate itself leaves it as it was; it is then taught alone, on
    the facts edited by then and the unrelated questions, at the cost of one forward pass of each.
    """
    reading = experiment.settings[arm.name].get("reading", "component")  # as it was taught
    plugin = Plugin(edited, edited.config.vocab_size - 1, reading)
    asked = experiment.config.ensemble.gate
    if asked is False or (asked is None and arm.method == ONCEEDIT):
        return plugin
    form = experiment.config.eval.prompt_format
    facts = experiment.facts[:edits]
    made, _ = fit_gate(plugin, facts, experiment.unrelated, Gate(format=form))
    return made


def serve(
    workdir: Path,
    experiment: Experiment,
    arm: ArmConfig,
    edited: Callable[[int], Transformer],
    steps: Sequence[int],
    write: Callable[[Path, Sequence[Answer]], None],
) -> None:
    """Asks every ensemble of an arm that has not been asked yet, and the unedited targets.

    Args:
        workdir: of the run.
        experiment, arm: whose ensembles.
        edited: the arm's model after so many edits; not called if nothing is missing.
        steps: of the arm's checkpoints.
        write: writes a whole file or none.
    """
    config, asking, directory = experiment.config, experiment.questions(), workdir / arm.name
    if not config.ensemble.targets:
        return
    asked_at = moments(steps, config.ensemble.every, len(experiment.facts))
    wanted = served(directory, config, asked_at)
    there = hosts.agree([one.path.exists() for one in wanted])
    missing = [one for one, done in zip(wanted, there, strict=True) if not done]
    for one in missing:
        one.path.parent.mkdir(parents=True, exist_ok=True)
    if not hosts.agreed(alpha_path(directory).exists()):
        last = taught(experiment, arm, edited(asked_at[-1]))
        write_json(alpha_path(directory), alphas(experiment, last))
    for one in missing:
        if one.mode == ALONE:
            title = f"{arm.title} alone, {one.edits} edits"
            write(one.path, ask(edited(one.edits), asking, "checkpoint", one.edits, title))
    missing = [one for one in missing if one.mode != ALONE]
    for name in dict.fromkeys(one.target for one in missing):
        target = open_target(config, name)
        before = unedited_path(workdir, name)
        if not hosts.agreed(before.exists()):
            before.parent.mkdir(parents=True, exist_ok=True)
            write(before, ask(target, asking, "before", 0, f"{name}, unedited"))
        for step in asked_at:
            own = {o.mode: o.path for o in missing if (o.target, o.edits) == (name, step)}
            if not own:
                continue
            plugin, over = taught(experiment, arm, edited(step), step), step == asked_at[-1]
            # The space of a plug-in that is edited further is of no use to anyone later.
            made = ensembles(experiment, target, plugin, list(own), stored=over)
            for mode, ensemble in made:
                title = f"{arm.title} in {name}, {mode}" + ("" if over else f", {step} edits")
                when = "after_all" if over else "checkpoint"
                write(own[mode], ask(ensemble, asking, when, step, title))


def ask(lm: Any, asking: Asking, when: str, edits: int, title: str) -> list[Answer]:
    """Everything about the facts edited so far, or about all of an unedited model, with a bar."""
    count = edits or len(asking.asked)
    with progress(title, asking.rows(lm, when, 0, count), unit="rows") as advance:
        return asking.answers(lm, when, edits=edits, start=0, stop=count, advance=advance)


def alphas(experiment: Experiment, plugin: Plugin) -> dict[str, Any]:
    """What the gate of a plug-in says to prompts of each kind that there are, as plain values."""
    form = experiment.config.eval.prompt_format
    made = alpha_histograms(plugin, prompts_by_kind(experiment), form)
    return {"format": form, "kinds": [asdict(one) for one in made]}


def prompts_by_kind(experiment: Experiment) -> dict[str, list[str]]:
    """Bare prompts that a gate should open to, then those that it should not.

    "Same subjects" are sentences that say something else of an edited subject. Unrelated
    questions are those that a gate is taught with, and others of their kind that it has not seen.
    Other text is the first half of sentences that are no questions: the run's held-out texts, or
    sentences of the embedded world about no fact.
    """
    facts, config = experiment.facts, experiment.config
    edited = {text for fact in facts for text in (fact.question, *fact.paraphrases)}
    neighbours = [question.prompt for fact in facts for question in fact.neighbours]
    openings = [text for fact in facts for text in fact.openings]
    fresh = open_unrelated(config, facts, experiment.lm, UNSEEN)
    texts: Sequence[str] = experiment.heldout
    if not texts and config.ensemble.unrelated.source == EMBEDDED:
        texts = unrelated(World(), 2 * UNSEEN)[1::2]  # every other one states a fact
    return {
        "edits": [fact.question for fact in facts],
        "paraphrases": [text for fact in facts for text in fact.paraphrases],
        "neighbours": [text for text in dict.fromkeys(neighbours) if text not in edited],
        "same subjects": [text for text in dict.fromkeys(openings) if text not in edited],
        "unrelated, taught": [item.prompt for item in experiment.unrelated],
        "unrelated, unseen": [item.prompt for item in fresh],
        "other text": [" ".join(w[: (len(w) + 1) // 2]) for text in texts if (w := text.split())],
    }
