"""WISE: edits live in a side memory of one late linear, and a router sends it what concerns them.

Wang et al. 2024, "WISE: Rethinking the Knowledge Memory for Lifelong Model Editing of Large
Language Models". Each edit is trained into a second version of a down-projection, together with
the distance by which the router tells its prompts from others. After `save_freq` edits the version
is stored and a new one begun, in another random subspace; after `merge_freq` those stored since
are merged by TIES. Nothing of the model itself changes.

`retrieve=False` is the paper's WISE-Merge: all versions are merged into one. The published code
does so whenever the model is asked, and goes on with what that left; here asking changes nothing.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.data.fact import Fact
from jaxedit.editors.editor import Log, check_finite
from jaxedit.editors.rows import PLAIN, Contexts
from jaxedit.editors.side_memory import (
    Route,
    Router,
    Routing,
    SideMemory,
    empty,
    merge_last,
    push,
    restored,
)
from jaxedit.editors.weights import check_layers, kernel, leaf, leaf_names
from jaxedit.editors.wise_rows import (
    Past,
    WiseRows,
    drawn,
    remembered,
    replayed,
    wise_rows,
)
from jaxedit.editors.wise_training import Descent, Margins, write
from jaxedit.ensemble.prompts import Unrelated
from jaxedit.errors import UserError
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import replicate

OLD_SHARE = 0.6  # of what is merged already, where more is merged into it


class SideEdited(NamedTuple):
    """The state.

    Attributes:
      memory: the versions.
      edits: facts edited so far.
      fresh: those of them that are in the current version.
      begun: versions that came before it, which says what share of it is trained.
      pending: versions stored since the last merge.
      merges: so far.
      past: the edits, where they are replayed.
    """

    memory: SideMemory
    edits: int
    fresh: int = 0
    begun: int = 0
    pending: int = 0
    merges: int = 0
    past: tuple[Past, ...] = ()


@dataclasses.dataclass(frozen=True)
class Wise:
    """Editing of a side memory.

    Where facts have unrelated questions of their own (neighbours) they are used only if no others
    are given: they are also what specificity is measured on.

    Attributes:
      layers: the one whose down-projection has a side memory.
      contexts: prefix templates, the plain one first; the paper has ten more.
      unrelated: questions that no edit touches; without any, a fact's neighbours, else the texts
        of the prefixes.
      unrelated_rows: how many of them are seen with a fact.
      learning_rate: of gradient descent.
      steps: at most.
      weight_decay: L2 of the trained weights.
      alpha: most activation distance of an unrelated text.
      beta: least of an edit.
      gamma: least between the two.
      margin_weight: of the margins beside the target's loss.
      mask_ratio: share of the entries that is trained.
      norm_constraint: how far each weight may be from the original; None without a limit.
      stop_below, stop_change: the steps end when the loss is below the one and moved by no more
        than the other.
      act_ratio: share of the smallest distance of an edit at which a prompt is taken for one.
      save_freq: edits in a version.
      merge_freq: edits between two merges, a multiple of it.
      density: share of a version's change that TIES keeps.
      retrieve: keep merged versions side by side; False merges all into one.
      replay: how many earlier edits of the current version are held inside while one is written,
        and how many of stored versions outside (appendix B.3, where it is one of each version, and
        none before the first merge).
      route: see `side_memory.Route`.
      peak_above: prompts of more tokens than this go by their largest distance, not the mean.
      legacy: as the published code does it: versions lack the linear's bias, the decay shrinks
        untrained weights as well, a target's loss is divided by one token too many, and a stored
        version must beat the current one's distance even where that one does not answer.
      seed: of all draws.
    """

    layers: tuple[int, ...]
    contexts: Contexts = PLAIN
    unrelated: tuple[Unrelated, ...] = ()
    unrelated_rows: int = 1
    learning_rate: float = 1.0
    steps: int = 70
    weight_decay: float = 1e-5
    alpha: float = 5.0
    beta: float = 20.0
    gamma: float = 10.0
    margin_weight: float = 1.0
    mask_ratio: float = 0.2
    norm_constraint: float | None = 1.0
    stop_below: float = 0.02
    stop_change: float = 1e-4
    act_ratio: float = 0.88
    save_freq: int = 500
    merge_freq: int = 1000
    density: float = 0.53
    retrieve: bool = True
    replay: int = 0
    route: Route = "prompt"
    peak_above: int | None = 100
    legacy: bool = False
    seed: int = 0
    values_ahead: bool = dataclasses.field(default=False, init=False)

    def places(self, lm: Transformer) -> tuple[str, ...]:
        """None: the model's own weights stay."""
        return ()

    def init(self, lm: Transformer) -> SideEdited:
        """An empty side memory.

        Raises:
          UserError: not one layer, or the frequencies do not fit each other.
        """
        check_layers(lm, self.layers)
        if len(self.layers) != 1:
            raise UserError(f"WISE edits one layer, not {list(self.layers)}; name one")
        if self.save_freq < 1 or self.merge_freq % self.save_freq:
            raise UserError(
                f"merge_freq={self.merge_freq} is no multiple of save_freq={self.save_freq}; "
                "whole versions are merged"
            )
        return SideEdited(
            replicate(empty(kernel(lm, self.layers[0])), lm.mesh)._replace(count=0), 0
        )

    def prepare(self, lm: Transformer, facts: Sequence[Fact]) -> WiseRows:
        """Tokenises the facts behind every template, and unrelated texts for each."""
        others = [drawn(fact, self._others(fact), self.unrelated_rows, self.seed) for fact in facts]
        return wise_rows(lm.tokenizer, facts, self.contexts, others, self.route)

    def _others(self, fact: Fact) -> list[str]:
        """Texts that have nothing to do with a fact."""
        asked = [(item.prompt, item.answer) for item in self.unrelated or fact.neighbours]
        if asked:
            whole = self.route == "call"
            return [f"{prompt} {answer}" if whole else prompt for prompt, answer in asked]
        prefixes = [t.replace("{}", "").strip() for group in self.contexts for t in group]
        if not any(prefixes):
            raise UserError(
                f"fact {fact.id or fact.question!r}: WISE needs texts that the edits do not touch; "
                "give the fact neighbours, or the editor unrelated questions or prefix templates"
            )
        return [text for text in prefixes if text]

    def edit(
        self, lm: Transformer, state: SideEdited, prepared: WiseRows
    ) -> tuple[SideEdited, Log]:
        """Writes the facts of `prepared` into the current version."""
        layer, memory = self.layers[0], state.memory
        new = remembered(prepared, state.merges) if self.replay else []
        replay = None
        if new:
            replay = replayed(state.past, state.merges, self.replay, self.seed, new[0])
        made = write(
            lm.params,
            memory.current,
            prepared,
            np.int32(state.begun),
            self._shift(lm),
            replay,
            config=lm.config,
            layer=layer,
            settings=self._descent(),
        )
        inside = np.asarray(made.inside)
        count = len(inside)
        log = {
            "loss": np.where(np.isfinite(inside), np.asarray(made.loss), np.nan),
            "inside": inside,
            "outside": np.asarray(made.outside),
            "total": np.full(count, made.total, inside.dtype),
            "updates": np.full(count, made.updates, np.int32),
        }
        check_finite(log, layer)
        least = jnp.minimum(memory.threshold, made.inside.min())
        written = state._replace(
            memory=memory._replace(current=made.delta, threshold=least),
            edits=state.edits + count,
            fresh=state.fresh + count,
            past=(*state.past, *new),
        )
        return self._settled(written, state.edits), log

    def _descent(self) -> Descent:
        return Descent(
            margins=Margins(self.alpha, self.beta, self.gamma),
            **{name: getattr(self, name) for name in Descent._fields if name != "margins"},
        )

    def _shift(self, lm: Transformer) -> jax.Array | None:
        """What a version's output lacks: the bias, in published code."""
        biases = leaf_names(lm, self.layers, biases=True)[1:] if self.legacy else ()
        return -leaf(lm, biases[0]).astype(jnp.float32) if biases else None

    def _settled(self, state: SideEdited, before: int) -> SideEdited:
        """Stored and merged, where an update since `before` edits has made either due."""

        def passed(every: int) -> bool:
            return state.edits // every > before // every

        if passed(self.save_freq):
            memory = push(state.memory)
            state = state._replace(
                memory=memory, fresh=0, begun=state.begun + 1, pending=state.pending + 1
            )
        if passed(self.merge_freq):
            state = state._replace(memory=self._merged(state), pending=0, merges=state.merges + 1)
        return state

    def _merged(self, state: SideEdited) -> SideMemory:
        """The versions stored since the last merge as one, or with what was merged before."""
        memory = state.memory
        if self.retrieve:
            return merge_last(memory, state.pending, self.density)
        if not state.merges:
            return merge_last(memory, memory.count, self.density)
        new = memory.count - 1
        if not new:
            return memory
        shares = (OLD_SHARE, *[(1 - OLD_SHARE) / new] * new)
        return merge_last(memory, memory.count, self.density, shares)

    def bind(self, lm: Transformer, state: SideEdited) -> Transformer:
        """The model with a router before its side memory."""
        memory = state.memory if self.retrieve else self._in_one(state)
        rule = Routing(
            lm.config.activation, self.act_ratio, self.route, self.peak_above, self.legacy
        )
        (name,) = leaf_names(lm, self.layers)
        return lm.with_adapters({name: Router(memory, self._shift(lm), rule)})

    def _in_one(self, state: SideEdited) -> SideMemory:
        """What answers without retrieval: all versions merged, under one threshold."""
        if state.edits >= self.save_freq:
            if state.fresh:
                state = state._replace(memory=push(state.memory), pending=state.pending + 1)
            state = state._replace(memory=self._merged(state))
        memory = state.memory
        least = jnp.minimum(memory.threshold, memory.thresholds.min(initial=jnp.inf))
        return memory._replace(threshold=least, thresholds=jnp.full_like(memory.thresholds, least))

    def snapshot(self, state: SideEdited) -> dict[str, Any]:
        """The versions that are there, the counters, and the prompts one after another."""
        memory, past = state.memory, state.past
        counters = (state.edits, state.fresh, state.begun, state.pending, state.merges)
        return {
            "current": memory.current,
            "threshold": memory.threshold,
            "stored": memory.stored[: memory.count],
            "thresholds": memory.thresholds[: memory.count],
            "counters": np.asarray(counters, np.int64),
            "prompts": np.asarray([t for one in past for t in one.prompt], np.int32),
            "lengths": np.asarray([len(one.prompt) for one in past], np.int32),
            "groups": np.asarray([one.group for one in past], np.int32),
        }

    def restore(self, lm: Transformer, tree: Any) -> SideEdited:
        """The state from a snapshot."""
        names = ("current", "threshold", "stored", "thresholds")
        memory = restored(*(jnp.asarray(tree[name]) for name in names))
        memory = replicate(memory, lm.mesh)._replace(count=memory.count)
        ends = np.cumsum(np.asarray(tree["lengths"], np.int64))
        prompts = np.split(np.asarray(tree["prompts"]), ends[:-1]) if len(ends) else []
        past = tuple(
            Past(tuple(prompt.tolist()), int(group))
            for prompt, group in zip(prompts, tree["groups"], strict=True)
        )
        counters = map(int, tree["counters"])
        return SideEdited(memory, *counters, past=past)
