"""The parts of finding a model's layers: read facts, trace those that are known, try windows."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from absl import logging

from jaxedit.data.catalogue import find
from jaxedit.data.datasets import load_facts
from jaxedit.data.fact import Fact
from jaxedit.data.factworld.edits import TUNING
from jaxedit.editors import EDITORS
from jaxedit.editors.contexts import sample_contexts
from jaxedit.editors.corpus import EMBEDDED, MODEL, Corpus
from jaxedit.editors.locate import LocateThenEdit
from jaxedit.editors.resources import statistics
from jaxedit.editors.settings import fields, settings_for
from jaxedit.errors import UserError
from jaxedit.location.effects import Effects, average_effects, to_record
from jaxedit.location.sweep import Tried, Window, candidates, single_edits, sweep, unknown_facts
from jaxedit.location.tracing import Recall, Trace, embedding_deviation, expected, known, trace
from jaxedit.location.tracing_program import TraceSettings
from jaxedit.models.transformer import Transformer
from jaxedit.preflight import GIB, available_memory
from jaxedit.progress import progress
from jaxedit.typed import suggestion

WORLD = "embedded:"
PUBLISHED_WINDOW = 10  # of models with 28 and 48 layers
DEEP = 20  # layers from which on the published window makes sense


@dataclass(frozen=True)
class Task:
    """What is to be found out.

    Attributes:
      model: directory, hub id or "embedded:NAME".
      facts: "embedded", a .json file like known_1000, a .jsonl file of one's own, or the name of a
        data set; None is the embedded world for an embedded model, else known_1000.
      limit: facts that are read.
      method: the locate-then-edit method that the sweep edits with.
      edits: facts that the sweep edits.
      length: layers of a window; None is that of the method's settings for the model.
      layers: that may be edited; None is all.
      corpus: text of the statistics; None is the embedded world's, or what the model writes.
      tokens: of the statistics; None is ten times d_ff.
      window: layers whose module outputs tracing puts back together; None is 10, as published,
        and a quarter of a model with less than 20 layers.
      severed: trace with MLPs and with attention severed, too.
      single_token: trace only facts whose answer is one token, as published.
      dtype: of the parameters.
    """

    model: str
    facts: str | None = None
    limit: int = 50
    method: str = "memit"
    edits: int = 16
    length: int | None = None
    layers: Window | None = None
    corpus: str | None = None
    tokens: int | None = None
    window: int | None = None
    severed: bool = False
    single_token: bool = False
    dtype: str = "float32"

    def __post_init__(self) -> None:
        """Refuses counts below one and a method that has no layers to choose."""
        for name in ("limit", "edits", "length", "tokens", "window"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name}: must be at least 1, got {value}")
        located = [name for name, cls in EDITORS.items() if issubclass(cls, LocateThenEdit)]
        if self.method not in located:
            hint = suggestion(self.method, located)
            raise UserError(f"--method={self.method}: no method that edits located layers{hint}")

    @property
    def source(self) -> str:
        """Where facts come from."""
        world = self.model if self.model.startswith(WORLD) else f"{WORLD}gptj"
        if self.facts == EMBEDDED or (self.facts is None and world == self.model):
            return world
        return self.facts or str(find("known_1000"))

    @property
    def text(self) -> Corpus:
        """What the statistics are taken on."""
        return Corpus(self.corpus or (EMBEDDED if self.model.startswith(WORLD) else MODEL))


def read(task: Task) -> list[Fact]:
    """The facts, of an embedded world those for tuning.

    Raises:
      UserError: a file or record is wrong.
    """
    source = task.source
    name = source.removesuffix(".gz")
    if name.endswith(".jsonl"):
        return load_facts("jsonl", source, task.limit).facts
    if name.endswith(".json"):
        return load_facts("known_1000", source, task.limit).facts
    seed = TUNING if source.startswith(WORLD) else None
    return load_facts(source, limit=task.limit, seed=seed).facts


@dataclass(frozen=True)
class Editing:
    """How the sweep edits.

    Attributes:
      layers: that may be edited.
      length: of the windows of several.
      settings: the method's hyper-parameters without its layers.
    """

    layers: Window
    length: int
    settings: Mapping[str, Any]


def editing(task: Task, lm: Transformer) -> Editing:
    """The method's settings for the model: its own, published ones, or the method's defaults.

    Raises:
      UserError: a layer that does not exist.
    """
    depth = lm.config.n_layers
    layers = tuple(range(depth)) if task.layers is None else task.layers
    for layer in layers:
        if not 0 <= layer < depth:
            raise UserError(
                f"--layers: layer {layer} does not exist; {task.model} has layers 0 to {depth - 1}"
            )
    if tuple(sorted(set(layers))) != layers or not layers:
        raise UserError(f"--layers: layers must ascend, each once; got {layers}")
    try:
        settings = settings_for(lm.config, task.model, task.method)
    except UserError:
        logging.info("no settings of %s are known for %s: defaults", task.method, task.model)
        settings = {}
    own = settings.pop("layers", ())
    return Editing(layers, task.length or len(own) or max(1, depth // 6), settings)


@dataclass(frozen=True)
class Traced:
    """What tracing gave.

    Attributes:
      settings: how it was done.
      scale: standard deviation of the noise.
      facts: those that the model knows, by their place among all.
      traces: theirs, in the same order.
    """

    settings: TraceSettings
    scale: float
    facts: Mapping[int, Recall]
    traces: Sequence[Trace]

    @functools.cached_property
    def effects(self) -> Effects:
        """Their averages."""
        return average_effects(list(self.facts.values()), self.traces)


def trace_facts(task: Task, lm: Transformer, facts: Sequence[Fact]) -> Traced:
    """Traces the facts that the model knows.

    Raises:
      UserError: it knows none of them.
    """
    depth = lm.config.n_layers
    window = task.window or (PUBLISHED_WINDOW if depth >= DEEP else max(1, depth // 4))
    more = ("severed_mlp", "severed_attn") if task.severed else ()
    settings = TraceSettings(kinds=("none", "mlp", "attn", *more), window=window)
    mine = known(lm, facts, single_token=task.single_token)
    logging.info("%s knows %d of %d facts", task.model, len(mine), len(facts))
    if not mine:
        raise UserError(
            f"{task.model} gives the known answer to none of the {len(facts)} facts of "
            f"{task.source}; tracing needs facts that the model knows: name others with --facts "
            '(in a .jsonl file, "previous" is the known answer), or give --notrace'
        )
    scale = settings.noise * embedding_deviation(lm, facts)
    traces = []
    with progress("tracing", len(mine), unit="facts") as advance:
        for found in trace(lm, list(mine.values()), settings, scale):
            traces.append(found)
            advance(1)
    return Traced(settings, scale, mine, traces)


def sweep_layers(
    task: Task, lm: Transformer, facts: Sequence[Fact], how: Editing
) -> tuple[list[Tried], list[Fact]]:
    """Tries every window of layers; returns what they gave, and the facts that were edited.

    Raises:
      UserError: the model says all the targets already, or an edit went wrong.
    """
    edited = unknown_facts(lm, facts, task.dtype)[: task.edits]
    if not edited:
        raise UserError(
            f"{task.model} gives the target of all {len(facts)} facts of {task.source} already; "
            "the sweep needs new answers: name other facts with --facts, or give --nosweep"
        )
    windows = candidates(how.layers, how.length)
    given: dict[str, Any] = {"contexts": sample_contexts(lm)}
    known_fields = fields(task.method)
    if "statistics" in known_fields:
        _check_room(lm, how.layers)
        given["statistics"] = statistics(lm, how.layers, task.text, tokens=task.tokens).matrices
    found: dict[int, Any] = {}

    def edits(layers: Window) -> Any:
        editor = EDITORS[task.method](layers=layers, **given, **how.settings)
        return single_edits(lm, edited, editor, found)

    tried = []
    with progress("sweep", len(windows), unit="windows") as advance:
        for one in sweep(lm, edited, windows, edits, task.dtype):
            tried.append(one)
            advance(1)
            names = ", ".join(map(str, one.layers))
            scores = ", ".join(f"{s.metric} {100 * s.value:.1f}" for s in one.scores)
            logging.info("layers %s: %s; harmonic mean %.1f %%", names, scores, 100 * one.harmonic)
    return tried, edited


def _check_room(lm: Transformer, layers: Window) -> None:
    """Refuses statistics of more layers than fit into memory."""
    needed, there = len(layers) * 8 * lm.config.d_ff**2, available_memory()
    if there is not None and needed > there / 2:
        raise UserError(
            f"--layers: statistics of {len(layers)} layers take {needed / GIB:.0f} GiB, there are "
            f"{there / GIB:.0f}; name fewer layers, such as those that --nosweep finds"
        )


def trace_record(task: Task, traced: Traced, facts: Sequence[Fact], lm: Transformer) -> Any:
    """trace.json: how it was done, the averages, and every fact's cells."""
    effects = traced.effects
    return {
        "model": task.model,
        "dtype": task.dtype,
        "source": task.source,
        "read": len(facts),
        "known": len(traced.facts),
        "left_out": [fact.id for i, fact in enumerate(facts) if i not in traced.facts],
        "settings": dataclasses.asdict(traced.settings),
        "noise_deviation": traced.scale,
        "rounding": max(float(abs(one.whole - one.high).max()) for one in traced.traces),
        **to_record(effects),
        "peaks": {kind: effects.peak(kind) for kind in effects.mean},
        "traces": [
            {
                "fact": facts[i].id,
                "prompt": facts[i].question,
                "tokens": [lm.tokenizer.decode([token]) for token in fact.ids],
                "subject": [fact.first, fact.end],
                "answer": expected(facts[i]),
                "answer_token": lm.tokenizer.decode([fact.answer[0]]),
                "high": one.high,
                "low": one.low,
                "indirect_effect": {kind: one.effect(kind).round(6) for kind in one.cells},
            }
            for (i, fact), one in zip(traced.facts.items(), traced.traces, strict=True)
        ],
    }


def sweep_record(task: Task, tried: Sequence[Tried], edited: Sequence[Fact]) -> Any:
    """sweep.json: the scores of every window, each with its protocol."""
    return {
        "model": task.model,
        "dtype": task.dtype,
        "source": task.source,
        "method": task.method,
        "edited": [fact.id for fact in edited],
        "windows": [one.to_dict() for one in tried],
    }
