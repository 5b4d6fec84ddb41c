"""The parts of a run's config, each frozen: `jaxedit.config` makes them from what a file says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from jaxedit.config_hash import LATER


@dataclass(frozen=True)
class MeshConfig:
    """The run's devices. They change no result, and a run may go on with others.

    Attributes:
        data: shares that rows are split into; None takes as many as there are devices for.
        model: devices that share one copy of the parameters.
        solve: where the float64 sums of least-squares editors are kept and solved: on the "device",
            or in the memory of the "host" where they are too large for it.
    """

    data: int | None = None
    model: int = 1
    solve: str = "device"


@dataclass(frozen=True)
class FactsConfig:
    """What is edited, in which order.

    Attributes:
        source: "jsonl" for a file of one's own, the name of a data set, or an embedded world.
        path: the file, where the source needs one.
        limit: at most so many records; one of MQuAKE or ELKEN may hold several facts.
        seed: chooses which, and shuffles; None takes the first ones.
        order: "file" keeps the file's order among those chosen; None shuffles if there is a seed.
        split: "train", "validation" or "test": only that share of the records (80, 10 and 10 % of
            a permutation by the seed, or by 0).
    """

    source: str
    path: str | None = None
    limit: int | None = None
    seed: int | None = None
    order: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class StatisticsConfig:
    """The text that second moments of keys are taken on.

    Attributes:
        source: a text file, "embedded" (the embedded model's own world), or "model" (text
            sampled from the model itself).
        tokens: how many; None is ten times the width of the edited layers' keys.
        documents: how many documents in place of that (published: 100,000).
        length: tokens kept of a document; None is the model's maximum.
        cache: directory that keeps them under a hash of model, layer, text and count; None is
            the user's cache directory.
        seed: of the text sampled from the model.
    """

    source: str = "model"
    tokens: int | None = None
    documents: int | None = None
    length: int | None = None
    cache: str | None = None
    seed: int = 0


@dataclass(frozen=True)
class ContextsConfig:
    """The prefix templates that keys and values are averaged over.

    Attributes:
        templates: groups of templates, given explicitly, each with one ``{}``; keys are averaged
            within each group, then over the groups. None samples them from the model.
        seed: of the sampling.
    """

    templates: tuple[tuple[str, ...], ...] | None = None
    seed: int = 0


@dataclass(frozen=True)
class EvalConfig:
    """What is measured, and when.

    Attributes:
        immediate: score every fact right after its own edit.
        every: score all facts edited so far after every so many edits; None only at the end.
        at: score likewise after these numbers of edits.
        heldout: text for the perplexity that the edits must not change, scored whenever facts
            are: a text file, or "embedded" for sentences of the embedded world about other facts.
        heldout_texts: how many of its lines.
        generate: moments at which answers are also generated freely ("before", "immediate",
            "checkpoint", "after_all"); teacher forcing is always on.
        max_new_tokens: limit of a generated answer.
        stop: strings that end a generated answer, besides the end-of-text token.
        prompt_format: what every prompt is wrapped in; one ``{}`` is its place.
        formats: in its place for questions of a role, such as {"multi_hop": "Q: {} A:"}; or
            "few_shot", eight questions with their answers, or "reasoned", three with thoughts
            (which needs some 128 new tokens and the stop "\\n\\n").
        protocols: others than ours by which answers are taken too, when they are generated
            ("easyedit_teacher_forced", "easyedit_generation", "wild", ...).
        tasks: downstream tests, taken before any edit, whenever facts are scored and after all
            edits: "world" (the embedded world's own), "arc_challenge", "hellaswag", "mmlu",
            "truthfulqa", "winogrande", "gsm8k" or "wikitext".
        tasks_data: the folder of their files.
        tasks_limit: most items of a test; None is all of them.
        tasks_shots: demonstrations before each item; None is the leaderboard's number.
    """

    immediate: bool = True
    every: int | None = None
    at: tuple[int, ...] = ()
    heldout: str | None = None
    heldout_texts: int = 200
    generate: tuple[str, ...] = ("before", "immediate", "after_all")
    max_new_tokens: int = 16
    stop: tuple[str, ...] = ("\n",)
    prompt_format: str = "{}"
    formats: Mapping[str, str] = field(default_factory=dict)
    protocols: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()
    tasks_data: str | None = None
    tasks_limit: int | None = None
    tasks_shots: int | None = None


@dataclass(frozen=True)
class UnrelatedConfig:
    """Questions that no edit touches.

    Attributes:
        source: "embedded": facts of the world that are neither edited nor asked about; else a
            source of facts (see FactsConfig), whose neighbours they are.
        path, seed, split: of that source.
        limit: at most so many questions.
    """

    source: str = "embedded"
    path: str | None = None
    limit: int = 200
    seed: int = 0
    split: str | None = None


@dataclass(frozen=True)
class EnsembleConfig:
    """OnceEdit: the run's model is a plug-in, and what it learns corrects other models.

    Attributes:
        targets: the models that it corrects: directories, hub ids or "embedded:<name>"; none for
            a run that edits its model alone. All prompts, of all models, are wrapped in
            eval.prompt_format.
        modes: how distributions are fused ("dw_ee", "dw", "deepen", "dw_zi", "dw_ta"), each scored.
        anchors: which tokens two vocabularies share: by DeePEn's rule on their strings ("deepen")
            or by their bytes ("bytes").
        spelt: whether a target spells, in its own tokens, words of the plug-in that are no
            anchors; else their nearest anchors are said, as published. In mode "dw_ee" alone.
        sharded: whether each device of a host holds only its part of the relative
            representations, instead of all of them.
        decoder: "table", or "search" for the gradient search that the table replaces.
        guard: an alpha below which the target decodes alone; None fuses always.
        eos: what ends a text: the target's argmax ("bypass"), end-of-text paired with end-of-text
            ("pair"), or what the fusion gives ("fuse").
        unrelated: what the gate is taught to leave alone.
        gate: whether the gate is taught after all edits of an arm: None does so for arms whose
            method does not teach it itself.
        cache: directory of the relative representations; None is the user's cache directory.
        every: asks also after every so many edits, with the plug-in of the first checkpoint at or
            past each multiple, and the plug-in alone with it; None only after all edits.
        weight: the plug-in's fixed share in mode "deepen".
        learning_rate, steps: of the search, where one is made.
        variable: what a search moves: "logits", or "probabilities", equations 9 and 10 to the
            letter.
        each_step: whether the gate is read at every token; by default once, at the prompt's end.
        mask_gate: whether the gate's token is left out of what the plug-in says.
        embeddings: by which words are compared: "input", as DeePEn does, or "output", the head's.
        plugin_words: whose embeddings stand for the plug-in's words: those of the "edited" plug-in,
            or of the "original" one, whose relative representation is then made once for all.
        temperature: of the relative representations' softmax (DeePEn: 100).
        unit_rows: whether their cosines are divided by their row's length before it, as DeePEn
            does; the equations, to the letter, do not, and have a temperature of 1.
        held: how they are in memory: in "float32", in "bfloat16", or not: "computed" makes what is
            needed of them from the embeddings, each time.
        certified: whether the best anchor is found from as few of their rows as prove it.
        stop_with_plug: an alpha from which on a text also ends where the plug-in would end it; None
            leaves that to `eos`.
    """

    targets: tuple[str, ...] = ()
    modes: tuple[str, ...] = ("dw_ee",)
    anchors: str = "deepen"
    spelt: bool = False
    sharded: bool = False
    decoder: str = "table"
    guard: float | None = None
    eos: str = "bypass"
    unrelated: UnrelatedConfig = field(default_factory=UnrelatedConfig, metadata=LATER)
    gate: bool | None = None
    cache: str | None = None
    every: int | None = None
    weight: float = 0.5
    learning_rate: float = 0.15
    steps: int = 5
    variable: str = "logits"
    each_step: bool = False
    mask_gate: bool = True
    embeddings: Literal["input", "output"] = "input"
    plugin_words: Literal["edited", "original"] = "edited"
    temperature: float = 100.0
    unit_rows: bool = True
    held: Literal["float32", "bfloat16", "computed"] = "float32"
    certified: bool = False
    stop_with_plug: float | None = None


@dataclass(frozen=True)
class FitConfig:
    """Records for methods that are trained once, or show a model examples.

    Those that are about what is edited or asked are left out.

    Attributes:
        source: "embedded": edits of the embedded world that are never shown; else a source of facts
            (see FactsConfig).
        path, seed, split: of that source.
        limit: at most so many records.
        cache: directory that keeps what is trained, under a hash of all that it depends on; None
            is the user's cache directory.
    """

    source: str = "embedded"
    path: str | None = None
    limit: int | None = None
    seed: int | None = None
    split: str | None = None
    cache: str | None = None


@dataclass(frozen=True)
class ArmConfig:
    """One method with its settings; a run compares one or more arms on the same facts.

    Attributes:
        name: its directory in the run, and its key in the config.
        method: a name in the editors' registry.
        title: what tables and figures call it.
        layers: of this arm alone; None takes the run's.
        batch: facts an update.
        cases: in its place: cases an update, all facts of each together (MQuAKE's groups of k).
        alone: every update starts from the unedited model: facts edited singly, or batch by batch,
            each scored on its own; nothing accumulates.
        rect: keep only this share of each update's entries, those that change their weight most in
            proportion (RECT); None keeps all.
        prune: base of the logarithm that large singular values of the whole change are bent by
            (PRUNE); None leaves them.
        settings: the method's hyper-parameters, in JSON's types; what is left out is as the
            model's editing.json or the published settings of its shape have it.
    """

    name: str
    method: str
    title: str
    layers: tuple[int, ...] | None = None
    batch: int = 1
    cases: int | None = None
    alone: bool = False
    rect: float | None = None
    prune: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
