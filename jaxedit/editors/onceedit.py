"""OnceEdit's editing stage as an editing method: a plug-in with a gate, fine-tuned whole.

Facts that come in several updates are fitted one update after another on the plug-in that the last
one left, with a sample of the earlier facts among them (`replay`): the sequential OnceEdit that
the paper leaves to others. The state holds the parameters and the facts.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxedit.data.fact import SLOT, Fact
from jaxedit.editors.editor import Log
from jaxedit.editors.resources import fingerprint
from jaxedit.editors.weights import leaf_names
from jaxedit.ensemble import plug_training
from jaxedit.ensemble.gates import shut
from jaxedit.ensemble.plug_batches import Training
from jaxedit.ensemble.plugin import Plugin, Reading
from jaxedit.ensemble.prompts import Unrelated, format_of
from jaxedit.models.placement import put_params
from jaxedit.models.transformer import Transformer
from jaxedit.partway import keeping, own_directory


class OnceEdited(NamedTuple):
    """The state.

    Attributes:
      params: of the plug-in, float32 or wider.
      facts: all edited so far, in order.
    """

    params: Any
    facts: tuple[Fact, ...]


@dataclasses.dataclass(frozen=True)
class OnceEdit:
    """Fine-tuning of all parameters on edits and unrelated questions (OnceEdit, section 3.1).

    Attributes:
      unrelated: questions that no edit touches, for the gate.
      training: see `plug_batches.Training`; `format` is what the run wraps prompts in.
      replay: earlier facts that an update sees again, drawn anew each time.
      reading: of the gate; see `plugin`.
      seed: of the draw.
      layers: not a choice: all of them.
      partway: a directory where the training of an update is kept now and then, so that the same
        update goes on from there when it is broken off; None keeps nothing.
    """

    unrelated: tuple[Unrelated, ...] = ()
    training: Training = dataclasses.field(default_factory=Training)
    replay: int = 100
    reading: Reading = "component"
    seed: int = 0
    layers: tuple[int, ...] = ()
    partway: Path | None = None
    values_ahead: bool = dataclasses.field(default=False, init=False)

    def places(self, lm: Transformer) -> tuple[str, ...]:
        """The down-projections, whose norms stand for all: every parameter is trained."""
        return leaf_names(lm, range(lm.config.n_layers))

    def init(self, lm: Transformer) -> OnceEdited:
        """The plug-in's own parameters."""
        return OnceEdited(lm.params, ())

    def prepare(self, lm: Transformer, facts: Sequence[Fact]) -> np.ndarray:
        """The facts themselves, [n]; they are tokenised with those that they are mixed with."""
        found = np.empty(len(facts), object)
        found[:] = list(facts)
        return found

    def edit(self, lm: Transformer, state: OnceEdited, prepared: Any) -> tuple[OnceEdited, Log]:
        """Trains on the facts of `prepared`, from where the last update left off.

        Without L_weight nothing teaches the gate. Large models put a token that they have never
        seen far below all others, so that it starts shut; ours starts where its row was drawn, and
        is shut first.
        """
        facts = list(prepared)
        plugin = Plugin(self.bind(lm, state), lm.config.vocab_size - 1, self.reading)
        if not self.training.weight and not state.facts:
            plugin = shut(plugin, self._prompts(facts))
        made = self._trained(plugin, facts, self._replay(state))
        generation, weight = np.asarray(made.last)
        log = {
            "loss": np.full(len(facts), generation, np.float32),
            "gate_loss": np.full(len(facts), weight, np.float32),
            "updates": np.full(len(facts), int(made.step), np.int32),
        }
        return OnceEdited(made.params, (*state.facts, *facts)), log

    def _trained(
        self, plugin: Plugin, facts: Sequence[Fact], replay: Sequence[Fact]
    ) -> plug_training.State:
        """The training's end, from where an earlier process left it."""
        training = self.training
        fit = partial(plug_training.fit, plugin, facts, self.unrelated, training, replay=replay)
        if self.partway is None:
            return fit()[0]
        owner = self._owner(plugin, facts, replay)
        directory = own_directory(self.partway, owner)
        with keeping(directory, "OnceEdit's plug-in", owner, plug_training.snapshot) as keep:
            kept = keep.restored()
            state = None if kept is None else plug_training.restore(plugin, training, kept.tree)
            return fit(state, advance=lambda now: keep.now_and_then(now.state))[0]

    def _owner(self, plugin: Plugin, facts: Sequence[Fact], replay: Sequence[Fact]) -> str:
        """A hash of all that an update's numbers depend on, as hex digits."""
        given = [list(facts), list(replay), list(self.unrelated), self.training, self.reading]
        text = json.dumps(given, default=dataclasses.asdict, sort_keys=True)
        return hashlib.sha256((fingerprint(plugin.lm) + text).encode()).hexdigest()

    def _prompts(self, facts: Sequence[Fact]) -> list[str]:
        """All that the gate is read behind in training, wrapped."""
        form = format_of(self.training.format)
        bare = [*(fact.question for fact in facts), *(item.prompt for item in self.unrelated)]
        return [form.replace(SLOT, prompt) for prompt in bare]

    def _replay(self, state: OnceEdited) -> list[Fact]:
        """A sample of the earlier facts, another one for every update."""
        known = len(state.facts)
        rng = np.random.default_rng((self.seed, known))
        chosen = rng.permutation(known)[: self.replay]
        return [state.facts[i] for i in sorted(chosen)]

    def bind(self, lm: Transformer, state: OnceEdited) -> Transformer:
        """The edited plug-in, with its gate's row."""
        return lm.with_params(state.params)

    def snapshot(self, state: OnceEdited) -> dict[str, Any]:
        """The parameters, and the facts as the bytes of their JSON."""
        text = json.dumps([dataclasses.asdict(fact) for fact in state.facts])
        return {"params": state.params, "facts": np.frombuffer(text.encode(), np.uint8)}

    def restore(self, lm: Transformer, tree: Any) -> OnceEdited:
        """The state from a snapshot."""
        raw = json.loads(bytes(np.asarray(tree["facts"], np.uint8)).decode())
        params = put_params(tree["params"], lm.config, lm.mesh)
        return OnceEdited(params, tuple(map(Fact.from_dict, raw)))
