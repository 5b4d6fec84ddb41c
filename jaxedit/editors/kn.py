"""Knowledge neurons (Dai et al. 2022): find the neurons behind an answer, rewrite what they add.

Neurons are those whose integrated gradient (see `jaxedit.editors.attribution`) reaches a share of
the largest one, over all blocks. For each of them the row w_i of the down-projection, which
is what the neuron adds to the residual stream, is moved from the old answer to the new:

    original     w_i += lambda_2 |w_i| e_new / |e_new| - lambda_1 |w_i| e_old / |e_old|
    simplified   w_i += 2 e_new - 2 e_old

with e the embedding of the answer's token and |w_i| from before the update. The paper does the
first, on BERT and with one-token answers; the second is what published results on decoders ran.
Of several tokens the original takes the first, which is the one that is predicted where the
neurons were found, and the simplified adds each token's embedding once.

BERT's input embeddings are its output embeddings, too. A decoder's often are not, and an input
embedding added to its stream then makes no answer likelier: `embeddings="output"` takes the
columns of the LM head, as the paper's reasoning asks; "input" is what was published.

The paper keeps neurons that are shared by a fact's paraphrases (`refine`), which the decoder runs
leave out; paraphrases that a run is scored on are then seen by the method, though never with
their new answer. Its last filter, which drops neurons that are common to a relation's facts,
needs a relation and is not here.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.data.fact import Fact
from jaxedit.editors import weights
from jaxedit.editors.attribution import attributions
from jaxedit.editors.editor import Log
from jaxedit.editors.rows import Array, TargetRows, target_rows
from jaxedit.editors.weights import EditedLeaves, WritesLeaves, check_layers, leaf_names
from jaxedit.errors import UserError
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import fetch, replicate


class KnRows(NamedTuple):
    """Tokens of n facts, each asked in R ways.

    Attributes:
      asked: the prompts with the answer that is to go, arrays [n, R, ...].
      real: [n, R] bool; facts with fewer prompts are filled up.
      target: the new answer's tokens, [n, Q] int32.
      target_mask: [n, Q] bool.
    """

    asked: TargetRows
    real: Array
    target: Array
    target_mask: Array


@dataclasses.dataclass(frozen=True)
class Kn(WritesLeaves):
    """Knowledge neurons, one fact or one batch an update; updates add up.

    Attributes:
      layers: blocks whose neurons may be found, ascending; empty for all.
      threshold: share of the largest attribution that makes a knowledge neuron.
      steps: m of the integrated gradients.
      refine: keep the neurons that a fact's prompt and paraphrases share, else the prompt's.
      share: of the prompts that must have a neuron in common (with refine).
      min_prompts: and at least so many, or all where there are fewer (with refine).
      rule: of the change, "simplified" or "original"; see the module.
      embeddings: "input" or "output"; the same in models that tie them.
      remove: lambda_1, of the original edit.
      add: lambda_2, of the original edit.
    """

    layers: tuple[int, ...] = ()
    threshold: float = 0.2
    steps: int = 20
    refine: bool = False
    share: float = 0.7
    min_prompts: int = 3
    rule: Literal["simplified", "original"] = "simplified"
    embeddings: Literal["input", "output"] = "input"
    remove: float = 1.0
    add: float = 8.0
    values_ahead: bool = dataclasses.field(default=False, init=False)

    def where(self, lm: Transformer) -> tuple[int, ...]:
        """The blocks that are searched."""
        return self.layers or tuple(range(lm.config.n_layers))

    def places(self, lm: Transformer) -> tuple[str, ...]:
        """The down-projections of these blocks."""
        return leaf_names(lm, self.where(lm))

    def init(self, lm: Transformer) -> EditedLeaves:
        """The model's own kernels."""
        check_layers(lm, self.where(lm))
        return EditedLeaves(weights.leaves(lm, self.places(lm)), 0)

    def prepare(self, lm: Transformer, facts: Sequence[Fact]) -> KnRows:
        """Tokenises the facts.

        The answer that is to go is the fact's previous one, or else what the unedited model
        says: as many tokens as the new answer has.

        Raises:
          UserError: the model says nothing.
        """
        new = target_rows(lm.tokenizer, facts)
        old = _old_answers(lm, facts, new.target_mask.sum(-1))
        prompts = [(f.question, *(f.paraphrases if self.refine else ())) for f in facts]
        count = max(map(len, prompts))
        filled = [own + own[:1] * (count - len(own)) for own in prompts]
        # A whole prompt in the place of the subject: nothing here looks for the subject.
        each = [
            Fact("{}", text, answer)
            for own, answer in zip(filled, old, strict=True)
            for text in own
        ]
        rows = target_rows(lm.tokenizer, each)
        asked = jax.tree.map(lambda x: x.reshape((-1, count, *x.shape[1:])), rows)
        real = np.arange(count) < np.asarray([len(own) for own in prompts])[:, None]
        return KnRows(asked, real, new.target, new.target_mask)

    def edit(
        self, lm: Transformer, state: EditedLeaves, prepared: KnRows
    ) -> tuple[EditedLeaves, Log]:
        """Finds each fact's neurons on the model as it is, then rewrites them all."""
        now = self.bind(lm, state)
        kept, log = self.neurons(now, prepared)
        directions = self._directions(now, prepared)
        leaves = dict(state.leaves)
        for j, name in enumerate(self.places(lm)):
            if kept[:, j].any():
                change = _change(leaves[name], kept[:, j], directions, self.rule == "original")
                leaves[name] = replicate(change, lm.mesh)
        return EditedLeaves(leaves, state.edits + len(kept)), log

    def neurons(self, now: Transformer, rows: KnRows) -> tuple[np.ndarray, Log]:
        """The knowledge neurons of n facts, [n, layers, d_ff] bool, and how they were found.

        Raises:
          FloatingPointError: naming a fact's row and a layer.
        """
        layers = self.where(now)
        real = np.asarray(rows.real)
        some = jax.tree.map(lambda x: np.asarray(x)[real], rows.asked)  # [prompts, ...]
        found = attributions(now, some, layers, steps=self.steps)
        scores = np.asarray(found.scores)  # [prompts, L, F]
        fact = np.nonzero(real)[0]  # [prompts]
        _check_finite(scores, fact, layers)
        largest = scores.max((1, 2))  # over all layers
        # Where no neuron speaks for the answer there is nothing to take a share of.
        reached = (scores >= self.threshold * largest[:, None, None]) & (scores > 0)
        votes = np.zeros((len(real), *scores.shape[1:]), np.int32)
        np.add.at(votes, fact, reached)
        needed = self._needed(real.sum(1))
        kept = votes >= needed[:, None, None]
        first = np.searchsorted(fact, np.arange(len(real)))  # each fact's own prompt
        return kept, {
            "neurons": kept.sum((1, 2)).astype(np.int32),
            "largest": largest[first],
            "probability": np.asarray(found.probability)[first],
        }

    def _needed(self, prompts: np.ndarray) -> np.ndarray:
        """How many of so many prompts must have a neuron in common."""
        if not self.refine:
            return np.ones_like(prompts)
        return np.minimum(
            np.maximum(np.ceil(self.share * prompts - 1e-9), self.min_prompts), prompts
        )

    def _directions(self, now: Transformer, rows: KnRows) -> np.ndarray:
        """What each fact adds to a neuron's row, [n, D] (original: in units of |w_i|)."""
        old = jax.tree.map(lambda x: np.asarray(x)[:, 0], rows.asked)
        pairs = ((rows.target, rows.target_mask), (old.target, old.target_mask))
        new, gone = (self._direction(now, *pair) for pair in pairs)
        if self.rule == "original":
            return self.add * new - self.remove * gone
        return new - gone

    def _direction(self, now: Transformer, ids: Array, mask: Array) -> np.ndarray:
        """The direction of each answer, [n, D] float32; ids and mask [n, Q]."""
        apart = self.embeddings == "output" and not now.config.tied
        table = now.params["head"]["kernel"].T if apart else now.params["embed"]["tokens"]
        each = fetch(table[np.asarray(ids)]).astype(np.float32)  # [n, Q, D]
        if self.rule == "original":
            first = each[:, 0]
            return first / np.maximum(np.linalg.norm(first, axis=-1, keepdims=True), 1e-30)
        whole = np.where(np.asarray(mask)[..., None], each, 0).sum(1)
        return np.where(np.asarray(mask).sum(1) == 1, 2, 1)[:, None] * whole


def _old_answers(lm: Transformer, facts: Sequence[Fact], tokens: np.ndarray) -> list[str]:
    answers = {i: fact.previous for i, fact in enumerate(facts) if fact.previous}
    for count in sorted({int(tokens[i]) for i in range(len(facts)) if i not in answers}):
        those = [i for i in range(len(facts)) if i not in answers and tokens[i] == count]
        said = lm.generate([facts[i].question for i in those], count)
        answers |= {i: text.strip() for i, text in zip(those, said, strict=True)}
    for i, fact in enumerate(facts):
        if not answers[i]:
            raise UserError(
                f"fact {fact.id or fact.question}: the model answers nothing that could be "
                "taken away; give the fact its previous answer"
            )
    return [answers[i] for i in range(len(facts))]


def _check_finite(scores: np.ndarray, fact: np.ndarray, layers: tuple[int, ...]) -> None:
    bad = np.argwhere(~np.isfinite(scores).all(-1))
    if len(bad):
        row, layer = bad[0]
        raise FloatingPointError(
            f"the attributions of fact {fact[row]} of this update are not finite "
            f"at layer {layers[layer]}"
        )


@jax.jit(static_argnums=3)
def _change(kernel: jax.Array, kept: jax.Array, directions: jax.Array, relative: bool) -> jax.Array:
    """Kernel [F, D] with the facts' directions [n, D] added to the rows of their neurons [n, F]."""
    added = jnp.einsum(
        "nf,nd->fd", kept.astype(kernel.dtype), directions, precision=jax.lax.Precision.HIGHEST
    )
    if relative:
        added = jnp.linalg.norm(kernel, axis=-1, keepdims=True) * added
    return kernel + added
