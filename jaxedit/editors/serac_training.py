"""The steps of SERAC's training: questions are drawn, tokenised behind their edits, and learned."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxedit.editors.serac_losses import Batch, Objective, Said, Trained, Weights, losses, which
from jaxedit.editors.serac_records import (
    Asked,
    Drawn,
    Records,
    behind,
    draw,
    edit_text,
    laid_out,
)
from jaxedit.models.batches import check_lengths
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import data_parallel, data_parallel_sum


@dataclasses.dataclass(frozen=True, eq=False)
class Lessons:
    """What steps are made from.

    Attributes:
      base: the unedited model.
      other: the counterfactual model, for its config.
      records: all.
      learn: records that keys to be told apart from are drawn from.
      most: how many of these.
      objective: see `serac_losses`.
      weights: of the loss's parts.
      ending: ids behind every answer.
    """

    base: Transformer
    other: Transformer
    records: Records
    learn: np.ndarray
    most: int
    objective: Objective
    weights: Weights
    ending: tuple[int, ...] = ()

    def gradient(
        self, trained: Trained, places: np.ndarray, rng: np.random.Generator
    ) -> tuple[Trained, Mapping[str, Any]]:
        """Of the loss on some records, and its parts; for `meta_training.Problem`."""
        numbers, slope = self._run(trained, places, rng, gradient=True)
        return slope, numbers

    def losses(
        self, trained: Trained, places: np.ndarray, rng: np.random.Generator
    ) -> Mapping[str, Any]:
        """The loss and its parts."""
        return self._run(trained, places, rng, gradient=False)[0]

    def _run(
        self, trained: Trained, places: np.ndarray, rng: np.random.Generator, *, gradient: bool
    ) -> tuple[Mapping[str, Any], Any]:
        drawn = draw(self.records, places, self.learn, rng, self.most)
        keys = self.records.read(self.records.keys[i] for i in drawn.keys)
        call = data_parallel_sum(
            losses,
            self.base.mesh,
            base=self.base.config,
            other=self.other.config,
            objective=self.objective,
            weights=self.weights,
            gradient=gradient,
        )
        params = self.base.params if self.objective == "joint" else None
        return call((trained, keys, params), self._batch(trained, drawn, keys))

    def _batch(self, trained: Trained, drawn: Drawn, keys: np.ndarray) -> Batch:
        count = len(drawn.inside)
        own, none = np.arange(count, dtype=np.int32), np.full(count, -1, np.int32)
        told = list(zip(drawn.inside, drawn.answers, strict=True))
        inside = self._said(told, drawn.inside_apart, own)
        outside = self._said(drawn.outside, drawn.outside_apart, none)
        if self.objective == "apart":
            return Batch(self._behind(inside, told, drawn.edits), outside)
        edits = drawn.edits + [self._edit(int(i)) for i in drawn.keys[count:]]
        look = data_parallel(which, self.base.mesh)

        def nearest(said: Said) -> list[str]:
            found = look((trained.metric, keys), said._replace(base=(), other=()))
            return [edits[i] for i in np.asarray(found)]

        return Batch(
            self._behind(inside, told, nearest(inside)),
            self._behind(outside, drawn.outside, nearest(outside)),
        )

    def _said(self, asked: Sequence[Asked], apart: np.ndarray, own: np.ndarray) -> Said:
        features = self.records.read(prompt for prompt, _ in asked)
        each = np.full(len(asked), 1 / len(asked), np.float32)
        return Said(features, apart, own, None, None, each, each)

    def _behind(self, said: Said, asked: Sequence[Asked], edits: Sequence[str]) -> Said:
        """With the rows of both models: the counterfactual one's behind these edits."""
        pairs = [self.base.pair_row(*pair) for pair in asked]
        rows = [([*ids, *self.ending], n) for ids, n in pairs]
        read = [
            behind(self.other, edit, prompt, row)
            for edit, (prompt, _), row in zip(edits, asked, rows, strict=True)
        ]
        check_lengths([row[:-1] for row, _ in read], self.other.config.max_positions)
        other = laid_out(read)
        tokens = np.asarray(other.target_mask).sum()
        return said._replace(
            base=laid_out(rows) if self.objective == "joint" else None,
            other=other,
            token_weight=np.full(len(asked), 1 / tokens, np.float32),
        )

    def _edit(self, record: int) -> str:
        fact = self.records.facts[record]
        return edit_text(fact.question, fact.target)
