"""Retrieval: the new fact is put before the questions that it concerns, and nothing is changed.

The facts are kept beside the model with a vector each, the model's own state behind its question
(`jaxedit.models.features`). A question is asked behind the fact whose vector is nearest, if that is
near enough, and bare if not: the baseline that a change of weights has to beat. `ike` adds
demonstrations.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from jaxedit.data.fact import SLOT, Fact
from jaxedit.editors.editor import Log
from jaxedit.editors.recall import best_threshold, latest, nearest
from jaxedit.errors import UserError
from jaxedit.models.features import Pooling, cosines, features
from jaxedit.models.prompted import Prompted
from jaxedit.models.transformer import Transformer

Threshold = float | Literal["learned"] | None
ALWAYS = -np.inf  # the threshold of None: the nearest fact is near enough
TAUGHT = 300  # demonstrations that a threshold is learned from, at most


class Remembered(NamedTuple):
    """The state.

    Attributes:
      facts: all so far, in order.
      features: of their questions, [n, D] float32, an array an update.
      pool: features of the demonstrations' questions, [P, D]; none where none are shown.
      threshold: cosine from which on a fact is put before a question.
    """

    facts: tuple[Fact, ...]
    features: tuple[np.ndarray, ...]
    pool: np.ndarray
    threshold: float


class Questions(NamedTuple):
    """What is prepared of n facts: themselves [n], and their questions' features [n, D]."""

    facts: np.ndarray
    features: np.ndarray


@dataclasses.dataclass(frozen=True)
class Retrieval:
    """The facts nearest to a question, before it.

    Attributes:
      most: facts before a question, at most; the nearest stands last.
      form: of a fact; one ``{}`` is for its question with its target.
      threshold: the cosine from which on a fact concerns a question. "learned": the one that best
        tells the demonstrations' paraphrases from their neighbours; None: the nearest always does.
      layer: the block whose states are compared; None: three quarters of the way up.
      pooling: of a question's states; see `features`. The last token's, far up, say what is asked
        for; the mean says of whom.
      format: what questions are asked in, with one ``{}``; set by a run.
      demonstrations: facts that are not edited.
    """

    most: int = 1
    form: str = "New fact: {}.\n"
    threshold: Threshold = "learned"
    layer: int | None = None
    pooling: Pooling = "last"
    format: str = SLOT
    demonstrations: tuple[Fact, ...] = dataclasses.field(default=(), repr=False)
    layers: tuple[int, ...] = dataclasses.field(default=(), init=False)  # none is edited
    values_ahead: bool = dataclasses.field(default=True, init=False)

    def __post_init__(self) -> None:
        """Raises UserError for a setting that makes no sense."""
        if self.most < 1:
            raise UserError(f"most is {self.most}; at least one fact is put before a question")
        for name in ("form", "format"):
            if getattr(self, name).count(SLOT) != 1:
                raise UserError(f"{name} {getattr(self, name)!r} needs exactly one '{{}}'")
        if isinstance(self.threshold, str) and self.threshold != "learned":
            raise UserError(f'threshold is {self.threshold!r}; give a number, "learned" or None')

    @property
    def needs_demonstrations(self) -> bool:
        """Whether anything is learned from demonstrations, or shown of them."""
        return self.threshold == "learned"

    def places(self, lm: Transformer) -> tuple[str, ...]:
        """No weight is changed."""
        del lm
        return ()

    def init(self, lm: Transformer) -> Remembered:
        """No facts; the threshold learned, if it is to be.

        Raises:
          UserError: demonstrations are needed and there are none.
        """
        pool = self._pool(lm)
        return Remembered((), (), pool, self._threshold(lm, pool))

    def prepare(self, lm: Transformer, facts: Sequence[Fact]) -> Questions:
        """The facts' features: one forward pass of each question."""
        found = np.empty(len(facts), object)
        found[:] = list(facts)
        return Questions(found, self._features(lm, [fact.question for fact in facts]))

    def edit(
        self, lm: Transformer, state: Remembered, prepared: Questions
    ) -> tuple[Remembered, Log]:
        """Remembers the facts; the log says how many tokens each adds to its questions."""
        start = len(state.facts)
        state = state._replace(
            facts=(*state.facts, *prepared.facts),
            features=(*state.features, prepared.features),
        )
        fronts = [
            self.front(state, [start + i], prepared.features[i : i + 1])
            for i in range(len(prepared.facts))
        ]
        added = [len(lm.tokenizer.encode_bare(text)) for text in fronts]
        return state, {"tokens": np.asarray(added, np.int32)}

    def bind(self, lm: Transformer, state: Remembered) -> Prompted:
        """The unedited model, asked behind the facts that are near."""
        return Prompted(lm, _Memory(self, lm, state))

    def snapshot(self, state: Remembered) -> dict[str, Any]:
        """The facts as the bytes of their JSON, and what was computed of them."""
        text = json.dumps([dataclasses.asdict(fact) for fact in state.facts])
        tree: dict[str, Any] = {
            "facts": np.frombuffer(text.encode(), np.uint8),
            "threshold": np.float64(state.threshold),
        }
        if state.facts:
            tree["features"] = np.concatenate(state.features)
        return tree | ({"pool": state.pool} if len(state.pool) else {})

    def restore(self, lm: Transformer, tree: Any) -> Remembered:
        """The state from a snapshot."""
        raw = json.loads(bytes(np.asarray(tree["facts"], np.uint8)).decode())
        some = (np.asarray(tree["features"]),) if raw else ()
        pool = np.asarray(tree.get("pool", np.zeros((0, lm.config.d_model), np.float32)))
        return Remembered(tuple(map(Fact.from_dict, raw)), some, pool, float(tree["threshold"]))

    def front(self, state: Remembered, places: Sequence[int], vectors: np.ndarray) -> str:
        """What stands before a question that these facts concern.

        Args:
          state: with the facts.
          places: of k of them, the nearest last.
          vectors: their features, [k, D].
        """
        del vectors
        return "".join(self.form.replace(SLOT, said(state.facts[i])) for i in places)

    def _pool(self, lm: Transformer) -> np.ndarray:
        """Features of what is shown: nothing is."""
        return np.zeros((0, lm.config.d_model), np.float32)

    def _features(self, lm: Transformer, questions: Sequence[str]) -> np.ndarray:
        wrapped = [self.format.replace(SLOT, question) for question in questions]
        return self.vectors(lm, wrapped)

    def vectors(self, lm: Transformer, prompts: Sequence[str]) -> np.ndarray:
        """[N, D] of prompts as they are asked."""
        layer = 3 * lm.config.n_layers // 4 if self.layer is None else self.layer
        return features(lm, prompts, layer, self.pooling)

    def _threshold(self, lm: Transformer, pool: np.ndarray) -> float:
        if self.threshold is None:
            return float(ALWAYS)
        if not isinstance(self.threshold, str):
            return self.threshold
        facts = self._needed('threshold="learned"')[:TAUGHT]
        known = [fact.question for fact in facts]
        own = pool[:TAUGHT] if len(pool) else self._features(lm, known)
        inside = [(i, fact.paraphrases[0]) for i, fact in enumerate(facts) if fact.paraphrases]
        asked = [q.prompt for fact in facts for q in fact.neighbours[:1] if q.prompt not in known]
        if not inside or not asked:
            raise UserError(
                'threshold="learned" needs demonstrations with paraphrases and neighbours; '
                "give others, or a number"
            )
        near = self._features(lm, [prompt for _, prompt in inside])
        right = cosines(near, own)[np.arange(len(inside)), [i for i, _ in inside]]
        return best_threshold(right, cosines(self._features(lm, asked), own).max(axis=1))

    def _needed(self, what: str) -> tuple[Fact, ...]:
        if not self.demonstrations:
            raise UserError(
                f"{what} needs demonstrations, facts that are not edited; pass demonstrations=, "
                "or do without: a number or None for threshold, for ike shown=0"
            )
        return self.demonstrations


def said(fact: Fact) -> str:
    """A fact as a statement."""
    return f"{fact.question} {fact.target}"


@dataclasses.dataclass(frozen=True, eq=False)
class _Memory:
    """What stands before prompts; each is looked up once."""

    editor: Retrieval
    lm: Transformer
    state: Remembered
    known: dict[str, str] = dataclasses.field(default_factory=dict)

    def __call__(self, prompts: Sequence[str]) -> list[str]:
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self.known]
        self.known.update(zip(new, self._looked_up(new), strict=True))
        return [self.known[prompt] for prompt in prompts]

    def _looked_up(self, prompts: list[str]) -> list[str]:
        if not prompts or not self.state.facts:
            return [""] * len(prompts)
        places = np.asarray(latest([fact.question for fact in self.state.facts]))
        memory = np.concatenate(self.state.features)[places]
        asked = self.editor.vectors(self.lm, prompts)
        found = nearest(asked, memory, self.editor.most, self.state.threshold)
        return [
            self.editor.front(self.state, places[near].tolist(), memory[near]) if near else ""
            for near in found
        ]
