"""A target model and an edited plug-in as one language model (OnceEdit, Ma et al. 2025)."""

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np

from jaxedit.ensemble import plugin as gating
from jaxedit.ensemble.certificate import bounds_of
from jaxedit.ensemble.decode import Parts, Rules, decode_ids
from jaxedit.ensemble.forced import Forced, predict
from jaxedit.ensemble.fusion import Fusion
from jaxedit.ensemble.plugin import Plugin
from jaxedit.ensemble.relative import Space
from jaxedit.ensemble.sync import Mode, Sync
from jaxedit.errors import UserError
from jaxedit.models.generate import generate_ids
from jaxedit.models.protocol import (
    Advance,
    Continuation,
    Generates,
    Row,
    TeacherForced,
    stop_strings,
)
from jaxedit.models.text import Tokenizer
from jaxedit.models.transformer import Transformer

GROUP = 512  # rows that are scored at a time: their hidden states are in memory together
NO_LIKELIHOODS = (
    "defines no likelihoods: its search ends at one token and leaves all others about equally "
    "probable, so perplexity, choices and sampling mean nothing; use measures of what it says "
    "(exact, token_accuracy, generation), or score the target or the plug-in alone"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Ensemble(Generates):
    """Says what the target says, corrected by the plug-in where that knows of an edit.

    It implements ``LanguageModel`` as far as greedy decoding defines it: what a target token's
    log probability is, it does not say (``TeacherForced.logprobs`` is empty). Nothing in it
    belongs to one plug-in and target more than the ``space`` does: another target is another
    ``Ensemble`` with the same plug-in.

    Attributes:
      target: the model whose vocabulary is spoken.
      plugin: the edited model; on the same devices as the target.
      space: what the two vocabularies have in common, and which other words the target spells.
      fusion: how the two distributions become one token.
      sync: how the target's tokens become the plug-in's text.
      alpha: the plug-in's share, for all prompts; None: the plug-in's gate says it.
      each_step: the gate is read at every token; by default once, at the prompt's end, so that an
        instance is edited or not as a whole.
      stop_with_plug: alpha from which on a text also ends where the plug-in would end it; None:
        never. What ends a text is often no anchor and can then not be said by the ensemble.
      certified: find the best anchor from as few rows of R as prove it (see certificate.py); the
        tokens are the same.
    """

    target: Transformer
    plugin: Plugin
    space: Space
    fusion: Fusion = dataclasses.field(default_factory=Fusion)
    sync: Mode = "decode"
    alpha: float | None = None
    each_step: bool = False
    stop_with_plug: float | None = None
    certified: bool = False

    def __post_init__(self) -> None:
        """Raises UserError for parts that do not go together."""
        if self.target.mesh != self.plugin.lm.mesh:
            raise UserError(
                "the target and the plug-in are on other devices; load both on one mesh"
            )
        if self.each_step and self.plugin.reading == "appended":
            raise UserError(
                'each_step reads the gate behind every token, but a gate of reading="appended" '
                'takes a token of its own; choose reading="component"'
            )
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise UserError(f"alpha={self.alpha} is no share; give a number from 0 to 1")

    @property
    def likelihoods(self) -> bool:
        """There are none; see `has_likelihoods`."""
        return False

    @property
    def tokenizer(self) -> Tokenizer:
        """The target's."""
        return self.target.tokenizer

    @property
    def name(self) -> str:
        """Of both models."""
        return f"{self.target.name} with {self.plugin.lm.name}"

    def with_plugin(self, plugin: Plugin, space: Space) -> "Ensemble":
        """The same target with another plug-in, or with the same one edited further."""
        return dataclasses.replace(self, plugin=plugin, space=space)

    @functools.cached_property
    def _parts(self) -> Parts:
        sync = Sync(self.tokenizer, self.plugin.lm.tokenizer, self.sync)
        bounds = bounds_of(self.space) if self.certified else None
        return Parts(self.target, self.plugin, self.space, self.fusion, sync, bounds)

    def alphas(self, prompts: Sequence[str]) -> np.ndarray:
        """[N] float32, the plug-in's share in what is said to each prompt."""
        if self.fusion.mode == "deepen":
            return np.full(len(prompts), self.fusion.weight, np.float32)
        if self.alpha is not None:
            return np.full(len(prompts), self.alpha, np.float32)
        distinct = list(dict.fromkeys(prompts))
        known = dict(zip(distinct, gating.alpha(self.plugin, distinct), strict=True))
        return np.array([known[prompt] for prompt in prompts], np.float32)

    def _guarded(self, alphas: np.ndarray) -> np.ndarray:
        """[N] bool: rows in which the target speaks alone, whatever the plug-in says."""
        if self.fusion.guard is None or self.fusion.mode == "deepen" or self.each_step:
            return np.zeros(len(alphas), bool)
        return alphas < self.fusion.guard

    def teacher_forced(
        self, prompts: Sequence[str], targets: Sequence[str], advance: Advance | None = None
    ) -> list[TeacherForced]:
        """What is said at each target token, given those before it; no log probabilities.

        Raises UserError for an empty target or a text that is too long.
        """
        rows = [self.target.pair_row(p, t) for p, t in zip(prompts, targets, strict=True)]
        return self._score(rows, prompts, self.alphas(prompts), advance)

    def score_rows(
        self, rows: Sequence[Row], advance: Advance | None = None
    ) -> list[TeacherForced]:
        """For each (ids, n) what is said in the place of ids[n:]; alpha is read behind ids[:n].

        Raises UserError for a row that is longer than the models' positions.
        """
        prompts = [self.tokenizer.opened_text(ids[:n]) for ids, n in rows]
        return self._score(rows, prompts, self.alphas(prompts), advance)

    def _score(
        self,
        rows: Sequence[Row],
        prompts: Sequence[str],
        alphas: np.ndarray,
        advance: Advance | None,
    ) -> list[TeacherForced]:
        alone = self._guarded(alphas)
        said: dict[int, np.ndarray] = {}
        apart = np.flatnonzero(alone).tolist()
        for i, forced in zip(
            apart, self.target.score_rows([rows[i] for i in apart], advance), strict=True
        ):
            said[i] = forced.predicted_ids
        joint = np.flatnonzero(~alone).tolist()
        for start in range(0, len(joint), GROUP):
            group = joint[start : start + GROUP]
            asked = [Forced(rows[i], self._opening(rows[i], prompts[i]), alphas[i]) for i in group]
            said |= zip(group, predict(self._parts, asked, each_step=self.each_step), strict=True)
            if advance is not None:
                advance(len(group))
        nothing = np.zeros(0, np.float32)
        return [
            TeacherForced(np.asarray(ids[n:], np.int32), said[i], nothing)
            for i, (ids, n) in enumerate(rows)
        ]

    def _opening(self, row: Row, prompt: str) -> str:
        """The text of ids[:n]: the prompt's own unless its last token is cut otherwise with it."""
        ids, n = row
        whole = list(ids[:n]) == self.target.prompt_row(prompt)
        return prompt if whole else self.tokenizer.opened_text(ids[:n])

    def continuations(
        self,
        prompts: Sequence[str],
        max_new_tokens: int,
        stop: str | Sequence[str] | None = None,
        advance: Advance | None = None,
    ) -> list[Continuation]:
        """Greedy continuations, ended and cut as ``Transformer.continuations`` does.

        Prompts with an alpha below the guard are the target's alone: the plug-in does not run.
        """
        stops = stop_strings(stop)
        rows = [self.target.prompt_row(prompt) for prompt in prompts]
        ends = self.target.ending_ids(stops)
        alphas = self.alphas(prompts)
        alone = self._guarded(alphas)
        apart, joint = np.flatnonzero(alone).tolist(), np.flatnonzero(~alone).tolist()
        made = generate_ids(
            self.target.config,
            self.target.params,
            self.target.mesh,
            [rows[i] for i in apart],
            max_new_tokens,
            ends=ends,
            advance=advance,
        )
        new = dict(zip(apart, made, strict=True))
        rules = Rules(ends.tolist(), max_new_tokens, self.stop_with_plug, self.each_step)
        made = decode_ids(
            self._parts,
            [prompts[i] for i in joint],
            [rows[i] for i in joint],
            alphas[joint],
            rules,
            advance,
        )
        new |= zip(joint, made, strict=True)
        return [self.target.continuation(row, new[i], stops) for i, row in enumerate(rows)]

    def loglikelihood(self, texts: Sequence[str]) -> list[tuple[float, int]]:
        """Raises UserError: there are none."""
        raise UserError(f"an ensemble of two vocabularies {NO_LIKELIHOODS}")
