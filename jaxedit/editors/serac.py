"""SERAC (Mitchell et al. 2022, "Memory-Based Model Editing at Scale"): edits are kept, not made.

A classifier says whether a question is about one of the cached edits, and a second, counterfactual
model answers it with that edit before it; all else is the base model's, whose weights stay as they
are (`jaxedit.models.routed`). Both are trained once, on other records than those edited; an edit is
then an entry of the cache.

Where this is not the published code (EasyEdit's): the classifier reads the base model's own states,
or those of `encoder`, not a DistilBERT's (`scope`), and the two parts are trained apart
(`objective`); a question that is edited anew has its entry replaced, where the published argmax
goes on to find the first; under teacher forcing the scope is read from the prompt alone (`reads`),
and the key of an edit is its question (`key`).
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from optax.contrib import muon

from jaxedit.data.fact import SLOT, Fact
from jaxedit.editors.editor import Log
from jaxedit.editors.meta_training import MetaTraining, Problem, TrainedOnce, split
from jaxedit.editors.rows import ending_ids
from jaxedit.editors.scope import (
    Memory,
    Metric,
    Reading,
    Scope,
    embedded,
    first_metric,
    memory_of,
    nearest,
)
from jaxedit.editors.serac_losses import Objective, Trained, Weights
from jaxedit.editors.serac_records import Key, edit_text, key_text, records, tokens_read
from jaxedit.editors.serac_training import Lessons
from jaxedit.errors import UserError
from jaxedit.models.config import ModelConfig
from jaxedit.models.loading import load_config, load_model, resolve
from jaxedit.models.routed import Routed, check_vocabulary
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import Mesh, replicate


class Cached(NamedTuple):
    """The state.

    Attributes:
      memory: the edits' embeddings, with room for more.
      facts: what they are of, in the same order: no question comes twice.
    """

    memory: Memory
    facts: tuple[Fact, ...]


class Entries(NamedTuple):
    """What is prepared of n facts: themselves [n], and their embeddings [n, K]."""

    facts: np.ndarray
    keys: np.ndarray


def _training() -> MetaTraining:
    return MetaTraining(batch=32, learning_rate=1e-3, final_share=0.05)


@dataclasses.dataclass(frozen=True)
class Serac(TrainedOnce):
    """A cache of edits, a scope classifier and a counterfactual model.

    Attributes:
      counterfactual: directory or hub id of the counterfactual model, which needs the base model's
        vocabulary; None: it begins as the base model's own first blocks.
      depth: how many of them; None: a quarter, two at least.
      encoder: directory or hub id of a model whose states the classifier reads; None: the base
        model's own.
      last: blocks whose output the classifier reads at a text's last token; None: the last block.
      mean: blocks whose output it reads over all of a text's tokens; None: the first block.
      width: of the classifier's embeddings.
      key: the text that stands for an edit there; see `serac_records.key_text`.
      format: what questions are asked in, with one ``{}``; set by a run.
      forced, reads, threshold, floor: see `Routed`.
      objective: what is trained; see `serac_losses`. The published one is "joint", with weights .1
        and 1 and no `others`.
      inside_weight, outside_weight: of the loss's parts.
      others: keys of other records among which a step's edits are told apart.
      swap: the edits of training have any target that their group knows, so that answers must be
        read from the edit.
      end_of_text: answers are learned with the end-of-text token behind them.
      scope_rate: the learning rate of the classifier; that of the counterfactual model is the
        training's.
      optimiser: of the counterfactual model; the classifier's is Adam.
      training: how both are trained.
      trained: what training gave; None before.
    """

    counterfactual: str | None = None
    depth: int | None = None
    encoder: str | None = None
    last: tuple[int, ...] | None = None
    mean: tuple[int, ...] | None = None
    width: int = 64
    key: Key = "question"
    format: str = SLOT
    forced: Literal["soft", "hard"] = "soft"
    reads: Literal["prompt", "text"] = "prompt"
    threshold: float = 0.5
    floor: float = 1e-3
    objective: Objective = "apart"
    inside_weight: float = 1.0
    outside_weight: float = 1.0
    others: int = 256
    swap: bool = True
    end_of_text: bool = False
    scope_rate: float = 3e-3
    optimiser: Literal["adam", "muon"] = "adam"
    training: MetaTraining = dataclasses.field(default_factory=_training)
    trained: Trained | None = dataclasses.field(default=None, repr=False, compare=False)
    layers: tuple[int, ...] = dataclasses.field(default=(), init=False)  # none is edited
    values_ahead: bool = dataclasses.field(default=True, init=False)

    def places(self, lm: Transformer) -> tuple[str, ...]:
        """No weight is changed."""
        del lm
        return ()

    def init(self, lm: Transformer) -> Cached:
        """An empty cache."""
        del lm
        return Cached(memory_of(np.zeros((0, self.width), np.float32)), ())

    def prepare(self, lm: Transformer, facts: Sequence[Fact]) -> Entries:
        """The facts' embeddings: a forward pass of each question.

        Raises:
          UserError: nothing is trained.
        """
        texts = [key_text(fact, self.key, self.format) for fact in facts]
        made = np.empty(len(facts), object)
        made[:] = list(facts)
        reader, metric = self.reader(lm), self._trained().metric
        return Entries(made, embedded(metric, self.reading(reader).of(reader, texts), lm.mesh))

    def edit(self, lm: Transformer, state: Cached, prepared: Entries) -> tuple[Cached, Log]:
        """Puts the facts into the cache.

        The log says of each the scope that its question had before: near 1 where an earlier edit
        is about the same, or seems to be.
        """
        apart, _ = nearest(state.memory, prepared.keys, lm.mesh)
        old = state.memory.keys[: state.memory.count]
        cached = {f.question: (f, key) for f, key in zip(state.facts, old, strict=True)}
        new = zip(prepared.facts, prepared.keys, strict=True)
        cached |= {fact.question: (fact, key) for fact, key in new}
        facts, keys = zip(*cached.values(), strict=True)
        return Cached(memory_of(np.stack(keys)), facts), {"scope": np.exp(-apart)}

    def bind(self, lm: Transformer, state: Cached) -> Routed:
        """The base model, and the counterfactual one for what is in scope."""
        trained = self._trained()
        edits = tuple(edit_text(fact.question, fact.target) for fact in state.facts)
        reader = self.reader(lm)
        route = Scope(reader, self.reading(reader), trained.metric, state.memory, edits)
        other = dataclasses.replace(
            lm,
            config=self.shape(lm.config, lm.name),
            params=replicate(trained.counterfactual, lm.mesh),
            name=self.counterfactual or lm.name,
        )
        return Routed(lm, other, route, self.forced, self.reads, self.threshold, self.floor)

    def snapshot(self, state: Cached) -> dict[str, Any]:
        """The facts as the bytes of their JSON, and their embeddings."""
        text = json.dumps([dataclasses.asdict(fact) for fact in state.facts])
        tree: dict[str, Any] = {"facts": np.frombuffer(text.encode(), np.uint8)}
        keys = state.memory.keys[: state.memory.count]
        return tree | ({"keys": keys} if len(keys) else {})

    def restore(self, lm: Transformer, tree: Any) -> Cached:
        """The state from a snapshot."""
        raw = json.loads(bytes(np.asarray(tree["facts"], np.uint8)).decode())
        if not raw:
            return self.init(lm)
        keys = np.asarray(tree["keys"], np.float32)
        return Cached(memory_of(keys), tuple(map(Fact.from_dict, raw)))

    def problem(self, lm: Transformer, facts: Sequence[Fact]) -> Problem:
        """Training of both parts on these records.

        Raises:
          UserError: the counterfactual model cannot be used, or the records cannot.
        """
        other = self._counterfactual(lm)
        order = np.random.default_rng(self.training.seed).permutation(len(facts))
        facts = [facts[i] for i in order]  # those that are kept apart are then like the others
        reader = self.reader(lm)
        reading = self.reading(reader)
        made = records(reader, facts, reading, key=self.key, form=self.format, swap=self.swap)
        learn, _ = split(len(facts), self.training)
        weights = Weights(self.inside_weight, self.outside_weight)
        ending = tuple(ending_ids(lm.tokenizer)) if self.end_of_text else ()
        lessons = Lessons(lm, other, made, learn, self.others, self.objective, weights, ending)
        wide = jax.tree.map(lambda x: x.astype(jnp.promote_types(x.dtype, "float32")), other.params)
        metric = first_metric(made.features, self.width, self.training.seed)
        size = sum(leaf.size for leaf in jax.tree.leaves(wide))
        return Problem(
            title=f"SERAC for {lm.name}",
            initial=Trained(Metric(*map(jnp.asarray, metric)), wide),
            optimiser=self._optimiser(),
            gradient=lessons.gradient,
            losses=lessons.losses,
            records=len(facts),
            operations=6.0 * size * self.training.batch * tokens_read(lm, facts),
        )

    def trained_by(self) -> dict[str, Any]:
        """All settings but those that say how what was trained is used."""
        later = {"forced", "reads", "threshold", "floor"}
        later |= {"encoder"} if self.encoder is None else set()
        return {name: own for name, own in super().trained_by().items() if name not in later}

    def pack(self, trained: Trained) -> dict[str, Any]:
        """As nested dictionaries."""
        return {"metric": trained.metric._asdict(), "counterfactual": trained.counterfactual}

    def unpack(self, lm: Transformer, tree: Any) -> Trained:
        """From what `pack` made."""
        made = Trained(Metric(**tree["metric"]), tree["counterfactual"])
        return replicate(made, lm.mesh)

    def reader(self, lm: Transformer) -> Transformer:
        """The model whose states the classifier reads."""
        return lm if self.encoder is None else _loaded(self.encoder, lm.mesh)

    def reading(self, reader: Transformer) -> Reading:
        """Where the classifier reads a text in that model."""
        deepest = (reader.config.n_layers - 1,)
        return Reading(
            deepest if self.last is None else self.last, (0,) if self.mean is None else self.mean
        )

    def _optimiser(self) -> optax.GradientTransformation:
        """Of both parts, each at its own rate; the schedule is the same."""
        rate = self.training.rate
        share = self.scope_rate / self.training.learning_rate
        model = (
            optax.adam(rate) if self.optimiser == "adam" else muon(rate, adam_b1=0.9, adam_b2=0.95)
        )
        kinds = {"scope": optax.adam(lambda step: share * rate(step)), "model": model}
        return optax.multi_transform(kinds, Trained("scope", "model"))  # type: ignore[arg-type]

    def _trained(self) -> Trained:
        if self.trained is None:
            raise UserError(
                "Serac routes by a classifier, and answers with a model, that are trained once; "
                "call fit(lm, facts) first, or name training records (--config.fit)"
            )
        return self.trained

    def _counterfactual(self, lm: Transformer) -> Transformer:
        """The counterfactual model before its training."""
        config = self.shape(lm.config, lm.name)
        if self.counterfactual is not None:
            other = load_model(self.counterfactual, "float32", lm.mesh)
            check_vocabulary(lm, other)
            return dataclasses.replace(other, text=lm.text)
        gone = {f"layers_{layer}" for layer in range(config.n_layers, lm.config.n_layers)}
        params = {name: leaf for name, leaf in lm.params.items() if name not in gone}
        return dataclasses.replace(lm, config=config, params=params)

    def shape(self, config: ModelConfig, name: str) -> ModelConfig:
        """The counterfactual model's config, for a base model of this one and its name.

        Raises:
          UserError: the base model has fewer blocks than `depth`, or there is no such model.
        """
        if self.counterfactual is not None:
            return _config_of(self.counterfactual)
        depth = max(2, config.n_layers // 4) if self.depth is None else self.depth
        if not 1 <= depth <= config.n_layers:
            raise UserError(
                f"depth is {depth}, but {name} has {config.n_layers} blocks; give 1 to that"
            )
        return dataclasses.replace(config, n_layers=depth)


@functools.cache
def _config_of(model: str) -> ModelConfig:
    """Of a model by its directory or hub id, which is looked up once."""
    return load_config(resolve(model))


@functools.lru_cache(maxsize=1)
def _loaded(model: str, mesh: Mesh) -> Transformer:
    """An encoder, kept as long as it is the last one."""
    return load_model(model, "float32", mesh)
