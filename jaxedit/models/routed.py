"""Two models, and a scope that says which of them a text is for (SERAC's form of a model).

Mitchell et al. 2022, "Memory-Based Model Editing at Scale", section 3: a text out of scope is the
base model's; one in scope goes to the counterfactual model, which reads an edit before it. The
weights of the base model are nobody's to change.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.errors import UserError
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import Params, head
from jaxedit.models.generate import generate_ids
from jaxedit.models.protocol import (
    Advance,
    Continuation,
    Generates,
    Row,
    TeacherForced,
    stop_strings,
)
from jaxedit.models.scoring import score_texts
from jaxedit.models.states import predicting, top
from jaxedit.models.text import Tokenizer, common_prefix
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import data_parallel

CHUNK = 256  # tokens whose two distributions are in memory at a time
GROUP = 512  # rows whose hidden states are in memory together


class Route(NamedTuple):
    """Where each of N texts goes.

    Attributes:
      scope: [N] float32, the probability that it is about an edit.
      edit: which one: the text that the counterfactual model reads before it.
    """

    scope: np.ndarray
    edit: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Routed(Generates):
    """Implements ``LanguageModel``; each text is routed by itself, whatever is asked with it.

    Under teacher forcing the two models are mixed by default, so that log probabilities are those
    of one distribution over the shared vocabulary,

        p(token) = (1 - s) p_base(token) + s p_counterfactual(token | edit),

    with one s a text. What is generated is one model's, as in the published code: the
    counterfactual model's where s is above the threshold. The scope of a question is read from its
    prompt. Where no question is asked (``loglikelihood``, and rows of which the first token alone
    is given) it is read from the whole text, and its log probability is what the mixture gives
    that text, not the sum of predictions of a model that has not seen its end.

    Attributes:
      base: the model that was edited.
      other: the counterfactual model: the same vocabulary, on the same devices.
      route: from texts to where they go.
      forced: "soft": the mixture; "hard": the same rule as in generation.
      reads: "prompt", or "text": the scope is read from prompt and target under teacher forcing,
        as in the published code, where a target that is given can so decide who predicts it.
      threshold: scope above which the counterfactual model speaks alone, where one of them does.
      floor: scope below which the base model does: then nothing else is run, and its answer has
        the bits of the base model's own. 0 mixes always, as published.
    """

    base: Transformer
    other: Transformer
    route: Callable[[Sequence[str]], Route]
    forced: Literal["soft", "hard"] = "soft"
    reads: Literal["prompt", "text"] = "prompt"
    threshold: float = 0.5
    floor: float = 1e-3

    def __post_init__(self) -> None:
        """Raises UserError for models that do not go together."""
        if self.base.mesh != self.other.mesh:
            raise UserError(
                "the base and the counterfactual model are on other devices; load both on one mesh"
            )
        check_vocabulary(self.base, self.other)

    @property
    def tokenizer(self) -> Tokenizer:
        """The base model's."""
        return self.base.tokenizer

    @property
    def config(self) -> ModelConfig:
        """The base model's."""
        return self.base.config

    @property
    def name(self) -> str:
        """The base model's."""
        return self.base.name

    def teacher_forced(
        self, prompts: Sequence[str], targets: Sequence[str], advance: Advance | None = None
    ) -> list[TeacherForced]:
        """Scores of each target's tokens behind its prompt.

        Raises UserError for an empty target or a text that is too long.
        """
        pairs = zip(prompts, targets, strict=True)
        return self.score_rows([self.base.pair_row(p, t) for p, t in pairs], advance)

    def score_rows(
        self, rows: Sequence[Row], advance: Advance | None = None
    ) -> list[TeacherForced]:
        """For each (ids, n) the tokens ids[n:], each given all before it; n at least 1.

        Raises UserError for a row that is longer than the base model's positions.
        """
        texts = [self._read(row) for row in rows]
        scope, edits = self.route(texts)
        apart = scope <= self.threshold if self.forced == "hard" else scope < self.floor
        made: dict[int, TeacherForced] = {}
        for lm, places in (
            (self.base, np.flatnonzero(apart).tolist()),
            (self.other, np.flatnonzero(~apart).tolist()),
        ):
            asked = [
                rows[i] if lm is self.base else self._behind(edits[i], rows[i]) for i in places
            ]
            if lm is self.base or self.forced == "hard":
                made |= zip(places, lm.score_rows(asked, advance), strict=True)
                continue
            for start in range(0, len(places), GROUP):
                group = places[start : start + GROUP]
                theirs = asked[start : start + GROUP]
                said = self._mixed([rows[i] for i in group], theirs, scope[group])
                made |= zip(group, said, strict=True)
                if advance is not None:
                    advance(len(group))
        return [made[i] for i in range(len(rows))]

    def _read(self, row: Row) -> str:
        """The text that decides where a row goes."""
        ids, n = row
        whole = n == 1 or self.reads == "text"
        return self.tokenizer.opened_text(ids if whole else ids[:n])

    def _behind(self, edit: str, row: Row, new: int = 0) -> Row:
        """The row as the counterfactual model reads it, with room for ``new`` tokens.

        What is scored stays token for token. Of a text that is too long the front is left out,
        never the edit.
        """
        ids, n = row
        before = self.other.prompt_row(edit)
        text = self.tokenizer.opened_text(ids[:n])
        given = self.other.prompt_row(f"{edit} {text}" if text else edit)
        most = self.other.config.max_positions
        room = min(max(most - new, most // 2), most) - max(0, len(ids) - n - 1)
        if len(given) > room:
            shared = common_prefix(before, given)
            kept = room - shared
            if kept < 1:
                raise UserError(
                    f"the edit {edit!r} and what is asked behind it have more tokens than the "
                    f"counterfactual model's {most}; shorten it, or name a model of more"
                )
            given = [*given[:shared], *given[-kept:]]
        return [*given, *ids[n:]], len(given)

    def _mixed(
        self, rows: Sequence[Row], theirs: Sequence[Row], scope: np.ndarray
    ) -> list[TeacherForced]:
        """Scores of the mixture."""
        counts = [len(ids) - n for ids, n in rows]
        labels = [np.asarray(ids[n:], np.int32) for ids, n in rows]
        run = data_parallel(
            _mix, self.base.mesh, chunk=CHUNK, base=self.base.config, other=self.other.config
        )
        both = _Both(
            np.concatenate(predicting(self.base, rows)),
            np.concatenate(predicting(self.other, theirs)),
            np.repeat(scope.astype(np.float32), counts),
            np.concatenate(labels),
        )
        best, logprobs = map(np.asarray, run((top(self.base), top(self.other)), both))
        ends = np.cumsum(counts)[:-1]
        found = zip(labels, np.split(best, ends), np.split(logprobs, ends), strict=True)
        return [TeacherForced(*said) for said in found]

    def loglikelihood(self, texts: Sequence[str]) -> list[tuple[float, int]]:
        """(sum of log p in nats, number of tokens) over each text's tokens but the first.

        Windows of a text that is too long are routed one by one.
        """
        rows = [self.tokenizer.encode(text) for text in texts]
        return score_texts(self.score_rows, rows, self.config.max_positions)

    def continuations(
        self,
        prompts: Sequence[str],
        max_new_tokens: int,
        stop: str | Sequence[str] | None = None,
        advance: Advance | None = None,
    ) -> list[Continuation]:
        """Greedy continuations, each one model's, ended and cut as the base model's are."""
        stops = stop_strings(stop)
        scope, edits = self.route(prompts)
        rows = [self.base.prompt_row(prompt) for prompt in prompts]
        there = scope > self.threshold
        for i in np.flatnonzero(there):
            row = rows[i]
            rows[i] = list(self._behind(edits[i], (row, len(row)), max_new_tokens)[0])
        made: dict[int, list[int]] = {}
        for lm, places in (
            (self.base, np.flatnonzero(~there)),
            (self.other, np.flatnonzero(there)),
        ):
            new = generate_ids(
                lm.config,
                lm.params,
                lm.mesh,
                [rows[i] for i in places],
                max_new_tokens,
                ends=lm.ending_ids(stops),
                advance=advance,
            )
            made |= zip(places.tolist(), new, strict=True)
        models = [self.other if one else self.base for one in there]
        return [
            lm.continuation(row, made[i], stops)
            for i, (lm, row) in enumerate(zip(models, rows, strict=True))
        ]


def check_vocabulary(base: Transformer, other: Transformer) -> None:
    """Raises UserError unless the same ids stand for the same tokens.

    A head may have more rows than there are tokens, and one of the two more than the other.
    """
    if base.tokenizer is other.tokenizer:
        return
    known = [lm.tokenizer.pipeline.get_vocab(with_added_tokens=True) for lm in (base, other)]
    if known[0] != known[1]:
        raise UserError(
            f"{other.name or 'the counterfactual model'} has another vocabulary than "
            f"{base.name or 'the base model'}; name one with the same tokenizer"
        )


def log_mixture(scope: jax.Array, base: jax.Array, other: jax.Array) -> jax.Array:
    """log((1 - s) softmax(base) + s softmax(other)), [..., V]; scope [...], logits [..., V].

    A vocabulary that is shorter is filled up with tokens of probability 0.
    """
    size = max(base.shape[-1], other.shape[-1])

    def log_p(logits: jax.Array) -> jax.Array:
        gap = [(0, 0)] * (logits.ndim - 1) + [(0, size - logits.shape[-1])]
        return jnp.pad(jax.nn.log_softmax(logits), gap, constant_values=-jnp.inf)

    s = scope[..., None]
    return jnp.logaddexp(jnp.log1p(-s) + log_p(base), jnp.log(s) + log_p(other))


class _Both(NamedTuple):
    """What is known of each token that is asked for, [N, ...]."""

    base: Any  # [N, D] the hidden state that the base model predicts it from
    other: Any  # [N, D']
    scope: Any  # [N]
    label: Any  # [N]


def _mix(
    heads: tuple[Params, Params], both: _Both, *, base: ModelConfig, other: ModelConfig
) -> tuple[jax.Array, jax.Array]:
    """Most probable tokens and log p of the labels, each [N]."""
    logits = head(base, heads[0], both.base), head(other, heads[1], both.other)
    log_p = log_mixture(both.scope, *logits)
    gold = jnp.take_along_axis(log_p, both.label[:, None], axis=-1)[:, 0]
    return jnp.argmax(log_p, axis=-1).astype(jnp.int32), gold
