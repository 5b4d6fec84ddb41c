"""A run from its config: everything is built and checked before anything is written."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from jaxedit import driver
from jaxedit.arm_settings import ONCEEDIT, arm_settings, check_settings
from jaxedit.checkpoints import Meta
from jaxedit.config import MOMENTS, ArmConfig, EnsembleConfig, EvalConfig, RunConfig
from jaxedit.data.datasets import Loaded, load_facts
from jaxedit.data.fact import SLOT, Fact
from jaxedit.data.factworld import World, other_edits, unrelated
from jaxedit.downstream import Battery, open_battery
from jaxedit.editors import EDITORS, Editor
from jaxedit.editors.contexts import sample_contexts
from jaxedit.editors.corpus import EMBEDDED, Corpus
from jaxedit.editors.resources import fingerprint, statistics
from jaxedit.editors.restrain import Pruned, Rect
from jaxedit.editors.rows import Contexts
from jaxedit.editors.settings import fields
from jaxedit.editors.statistics import Moments
from jaxedit.editors.trained import fitted, is_trained_once
from jaxedit.ensemble.fusion import Fusion
from jaxedit.ensemble.plugin import with_gate
from jaxedit.ensemble.prompts import (
    Unrelated,
    format_of,
    unrelated_facts,
    unrelated_neighbours,
)
from jaxedit.errors import UserError
from jaxedit.intake import formats, load, usable
from jaxedit.metrics import Setting, code_version
from jaxedit.models.loading import load_model
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import Mesh, make_mesh
from jaxedit.training_records import needs_records, training_records

HASH_DIGITS = 16


@dataclass(frozen=True)
class Resources:
    """What editors need of the model besides hyper-parameters.

    Attributes:
        moments: second moments of the keys, of every layer where an arm needs them.
        contexts: the prefix templates; none if no arm needs them.
        trained: by arm, what its method has trained once.
        partway: where an arm keeps an update under way; None keeps none.
    """

    moments: Moments
    contexts: Contexts
    trained: Mapping[str, Any] = field(default_factory=dict)
    partway: Path | None = None


@dataclass(frozen=True)
class Experiment:
    """What a config names, loaded and checked.

    Attributes:
        config: the run's.
        lm: the unedited model.
        model_hash: of its config and parameters.
        loaded: the facts in the order of editing, and what was skipped.
        settings: by arm: its editor's hyper-parameters and layers, typed.
        heldout: texts that have nothing to do with the facts; empty if the config names none.
        unrelated: questions that no edit touches, where the model is a plug-in with a gate.
        records: for methods that are trained once or show examples; none is about an edit.
        battery: downstream tests along the run; None without any, or where a run is only reopened.
    """

    config: RunConfig
    lm: Transformer
    model_hash: str
    loaded: Loaded
    settings: Mapping[str, Mapping[str, Any]]
    heldout: tuple[str, ...] = ()
    unrelated: tuple[Unrelated, ...] = ()
    records: tuple[Fact, ...] = ()
    battery: Battery | None = None

    @property
    def facts(self) -> list[Fact]:
        """In the order of editing."""
        return self.loaded.facts

    def editor(self, arm: ArmConfig, resources: Resources) -> Editor:
        """The arm's method with its hyper-parameters and resources."""
        editor = self.method(arm, resources)
        if arm.rect is not None:
            editor = Rect(editor, arm.rect)
        return editor if arm.prune is None else Pruned(editor, arm.prune)

    def method(self, arm: ArmConfig, resources: Resources) -> Any:
        """The method itself, without what is laid around it."""
        settings = self.settings[arm.name]
        layers = settings["layers"]
        moments = resources.moments.matrices
        given = {
            "statistics": {layer: moments[layer] for layer in layers if layer in moments},
            "contexts": resources.contexts,
            "legacy_targets": self.config.legacy_targets,
            "unrelated": self.unrelated,
            "demonstrations": self.records,
            "trained": resources.trained.get(arm.name),
            "format": self.config.eval.prompt_format,
            "partway": resources.partway,
        }
        known = fields(arm.method)
        chosen = {**given, **settings}
        kept = {name: value for name, value in chosen.items() if name in known}
        return EDITORS[arm.method](**kept)

    def meta(self, arm: ArmConfig, step: int) -> Meta:
        """What the arm's checkpoint at ``step`` says of itself."""
        return Meta(
            step=step,
            arm=arm.name,
            model=self.model_hash,
            config=" ".join(filter(None, self._hashes(arm))),
            facts=tuple(fact.id for fact in self.facts),
            version=code_version(),
        )

    def _hashes(self, arm: ArmConfig) -> tuple[str, ...]:
        """Of the config; of the hyper-parameters as resolved, for a model's editing.json may have
        changed; and, where the method has any, of the training records."""
        resolved = self.settings[arm.name]
        records = _digest(list(self.records)) if needs_records(arm, resolved) else ""
        return (self.config.arm_hash(arm), _digest(resolved), records)

    def questions(self) -> driver.Asking:
        """What is asked of the model along the run."""
        ev = self.config.eval
        moments = [when for when in MOMENTS if when != "immediate" or ev.immediate]
        return driver.Asking(
            asked=driver.by_fact(self.loaded.cases, formats(self.config.facts, ev)),
            settings={when: setting(ev, self.config.dtype, when) for when in moments},
            generate=frozenset(ev.generate),
            heldout=self.heldout,
            protocols=ev.protocols,
            battery=self.battery,
        )


def _digest(value: Any) -> str:
    text = json.dumps(value, default=dataclasses.asdict, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def setting(ev: EvalConfig, dtype: str, when: Any) -> Setting:
    """How answers are taken at a moment."""
    return Setting(
        when=when,
        dtype=dtype,
        prompt_format=ev.prompt_format,
        max_new_tokens=ev.max_new_tokens,
        stop=ev.stop,
    )


def open_experiment(config: RunConfig, facts: Loaded | None = None) -> Experiment:
    """Loads and checks all that a config names, cheapest first; writes nothing.

    Args:
        config: the run's.
        facts: if they are at hand already; else they are loaded from their source.

    Raises:
        UserError: a setting, file, record or layer is wrong.
    """
    for arm in config.arms:
        given = check_settings(arm)
        if config.ensemble.each_step and given.get("reading") == "appended":
            raise UserError(
                f"--config.arms.{arm.name}.reading: a gate that is appended is read once; leave "
                "ensemble.each_step out, or choose component"
            )
    for mode in config.ensemble.modes:
        fusion(config.ensemble, mode)  # refuses what does not exist
    corpus(config).check()
    if config.eval.heldout is not None:
        Corpus(config.eval.heldout).check()
    battery = _battery(config) if facts is None else None
    loaded = load(config.facts, config.facts.limit) if facts is None else facts
    lm = load_model(config.model, config.dtype, devices(config))
    lm = with_gate(lm).lm if is_plugin(config) else lm
    loaded = usable(loaded, config.facts, config.eval, lm) if facts is None else loaded
    settings = {arm.name: arm_settings(config, arm, lm.config) for arm in config.arms}
    heldout = heldout_texts(config.eval.heldout, config.eval.heldout_texts, lm)
    others = open_unrelated(config, loaded.facts, lm) if wants_unrelated(config) else ()
    records = training_records(config, loaded.facts, settings)
    named = fingerprint(lm)[:HASH_DIGITS]
    return Experiment(config, lm, named, loaded, settings, heldout, others, records, battery)


def _battery(config: RunConfig) -> Battery | None:
    """The downstream tests that a config names."""
    ev = config.eval
    if not ev.tasks:
        return None
    drawn: Any = {"limit": ev.tasks_limit, "seed": config.seed, "shots": ev.tasks_shots}
    return open_battery(ev.tasks, data=ev.tasks_data, **drawn)


def devices(config: RunConfig) -> Mesh:
    """The run's mesh."""
    return make_mesh(config.mesh.data, config.mesh.model)


def fusion(config: EnsembleConfig, mode: str) -> Fusion:
    """How distributions are fused.

    Raises:
        UserError: a setting does not exist.
    """
    made: dict[str, Any] = {
        "mode": mode,
        "decoder": config.decoder,
        "guard": config.guard,
        "eos": config.eos,
        "weight": config.weight,
        "learning_rate": config.learning_rate,
        "steps": config.steps,
        "mask_gate": config.mask_gate,
        "variable": config.variable,
    }
    return Fusion(**made)


def is_plugin(config: RunConfig) -> bool:
    """Whether the run's model gets a gate: it corrects others, or an arm teaches it one."""
    return bool(config.ensemble.targets) or any(arm.method == ONCEEDIT for arm in config.arms)


def wants_unrelated(config: RunConfig) -> bool:
    """Whether something is taught to leave questions alone that no edit touches.

    WISE is content with a fact's neighbours, so that it gets none of the embedded world for a model
    of another.
    """
    if is_plugin(config):
        return True
    there = config.ensemble.unrelated.source != EMBEDDED or config.model.startswith("embedded:")
    return there and any("unrelated" in fields(arm.method) for arm in config.arms)


def open_unrelated(
    config: RunConfig, edits: Sequence[Fact], lm: Transformer, unseen: int | None = None
) -> tuple[Unrelated, ...]:
    """Questions that no edit touches, as many as the config asks for; too long ones are left out.

    Args:
        config: the run's.
        edits: that they have nothing to do with.
        lm: the model that is to take them.
        unseen: in their place, at most so many of those that come after them: of the same kind,
            but no part of what a gate is taught with.

    Raises:
        UserError: their source is wrong, or has none that the model can take.
    """
    asked = config.ensemble.unrelated
    if asked.source == EMBEDDED:
        found = unrelated_facts(other_edits(World()), edits)
    else:
        drawn: Any = (asked.seed, None, asked.split)
        loaded = load_facts(asked.source, asked.path, None, *drawn)
        found = unrelated_neighbours(loaded.facts, edits)
    fitting = (item for item in found if _fits(item, config.eval.prompt_format, lm))
    first = tuple(islice(fitting, asked.limit))
    if not first:
        raise UserError(
            f"--config.ensemble.unrelated: {asked.source} has no question that is not about the "
            f"edits and that {lm.name} can take; name another source"
        )
    return first if unseen is None else tuple(islice(fitting, unseen))


def _fits(item: Unrelated, form: str, lm: Transformer) -> bool:
    prompt = format_of(form).replace(SLOT, item.prompt)
    return len(lm.tokenizer.encode_pair(prompt, item.answer)[0]) < lm.config.max_positions


def open_resources(experiment: Experiment, contexts: Contexts | None = None) -> Resources:
    """Statistics and what is trained once, from the cache if they are there; prefix templates.

    Args:
        experiment: with the model and the layers.
        contexts: if they are at hand already; else the config's, or sampled.
    """
    config, lm = experiment.config, experiment.lm
    layers = sorted(
        {
            layer
            for arm in config.arms
            if "statistics" in fields(arm.method)
            for layer in experiment.settings[arm.name]["layers"]
        }
    )
    moments = Moments({}, 0)
    if layers:
        cache = None if config.statistics.cache is None else Path(config.statistics.cache)
        asked = config.statistics
        moments = statistics(
            lm,
            layers,
            corpus(config),
            tokens=asked.tokens,
            documents=asked.documents,
            length=asked.length,
            cache=cache,
        )
    if contexts is None and any("contexts" in fields(arm.method) for arm in config.arms):
        contexts = config.contexts.templates or sample_contexts(lm, config.contexts.seed)
    made = Resources(moments, contexts or ())
    cache = None if config.fit.cache is None else Path(config.fit.cache)
    trained = {
        arm.name: fitted(experiment.method(arm, made), lm, experiment.records, cache).trained
        for arm in config.arms
        if is_trained_once(EDITORS[arm.method])
    }
    return dataclasses.replace(made, trained=trained)


def corpus(config: RunConfig) -> Corpus:
    """The text of the statistics."""
    return Corpus(config.statistics.source, config.statistics.seed)


def heldout_texts(
    source: str | None, count: int, lm: Transformer, where: str = "--config.eval.heldout"
) -> tuple[str, ...]:
    """The first ``count`` texts of a source, for the held-out perplexity; none of no source.

    Raises:
        UserError: naming the flag, if the file is not there or holds no text.
    """
    if source is None:
        return ()
    if source == EMBEDDED:
        return tuple(unrelated(World(), count))
    texts = tuple(islice(Corpus(source).texts(lm), count))
    if not texts:
        raise UserError(f"{where}: {source} holds no text; name another, or none")
    return texts
