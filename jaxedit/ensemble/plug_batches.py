"""How a plug-in is trained, and which rows each step of that takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from jaxedit.data.fact import SLOT, Fact
from jaxedit.ensemble.plug_losses import Mean
from jaxedit.ensemble.plug_rows import (
    ROWS,
    Example,
    Row,
    Rows,
    example_rows,
    longest_target,
    stack,
)
from jaxedit.ensemble.plugin import Plugin
from jaxedit.ensemble.prompts import Unrelated, format_of
from jaxedit.errors import UserError

Optimiser = Literal["adam", "muon"]


@dataclass(frozen=True)
class Training:
    """How a plug-in is fine-tuned; the paper states the learning rate and lambda alone.

    Attributes:
        weight: lambda, of L_weight.
        optimiser: "adam", or "muon": Muon for matrices and Adam for the rest, which in small models
            takes far fewer steps and carries over to far more paraphrases; its learning rate is
            some five times Adam's.
        learning_rate: after the warm-up.
        epochs: over the edits.
        batch: edits a step.
        ratio: unrelated questions an edit.
        warmup: steps of linear growth of the learning rate from zero.
        final_share: of the learning rate, left when a cosine has brought it down; 1 leaves it.
        clip: largest norm of a gradient; None takes any.
        mean: L_gen over tokens, or over examples.
        end_of_text: targets end with the end-of-text token.
        learn_unrelated: train the answers to unrelated questions, too, so that the plug-in keeps
            what it knew; else they are for the gate alone.
        stop_below: ends training after an epoch whose mean L_gen and mean L_weight are both
            below it.
        format: what prompts are wrapped in, a name in `jaxedit.metrics.formats.FORMATS` or a text
            with one ``{}``; the target model's are to be wrapped likewise.
        seed: of the order.
    """

    weight: float = 0.8
    optimiser: Optimiser = "adam"
    learning_rate: float = 1e-4
    epochs: int = 40
    batch: int = 16
    ratio: float = 1.0
    warmup: int = 0
    final_share: float = 1.0
    clip: float | None = None
    mean: Mean = "token"
    end_of_text: bool = False
    learn_unrelated: bool = False
    stop_below: float | None = None
    format: str = SLOT
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what makes no sense.

        Raises:
            UserError: naming the setting.
        """
        format_of(self.format)
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise UserError(f"training.{name} is {getattr(self, name)}; at least 1 is needed")
        for name in ("weight", "ratio", "warmup", "final_share"):
            if getattr(self, name) < 0:
                raise UserError(f"training.{name} is {getattr(self, name)}; it cannot be negative")
        if self.learning_rate <= 0:
            raise UserError(f"training.learning_rate is {self.learning_rate}; give one above 0")
        for name, known in (("mean", Mean), ("optimiser", Optimiser)):
            if getattr(self, name) not in get_args(known):
                listed = " or ".join(map(repr, get_args(known)))
                raise UserError(f"training.{name} is {getattr(self, name)!r}; it is {listed}")


@dataclass(frozen=True)
class Batches:
    """The rows of each example, and which of them a step takes."""

    edits: list[list[Row]]
    unrelated: list[list[Row]]
    training: Training
    rows: int  # of a full batch
    multiple: int  # of the rows of a batch
    width: int  # target tokens of a row

    @classmethod
    def of(
        cls,
        plugin: Plugin,
        edits: Sequence[Fact],
        unrelated: Sequence[Unrelated],
        training: Training,
    ) -> Batches:
        """Tokenises everything once.

        Raises:
            UserError: there is nothing to train on, or a text is too long.
        """
        if not edits:
            raise UserError("there are no edits to train the plug-in on; give some")
        if training.ratio and not unrelated:
            raise UserError(
                "there are no unrelated questions, without which the gate cannot tell edits "
                "apart; give some, or set training.ratio=0"
            )
        form = format_of(training.format)

        def rows(prompt: str, target: str | None, edit: bool) -> list[Row]:
            wrapped = Example(form.replace(SLOT, prompt), target, edit)
            return list(example_rows(plugin, wrapped, training.end_of_text))

        ours = [rows(fact.question, fact.target, True) for fact in edits]
        others = [
            rows(item.prompt, item.answer if training.learn_unrelated else None, False)
            for item in unrelated
        ]
        batch = min(training.batch, len(ours))
        per_edit = 2 if plugin.reading == "appended" else 1
        per_other = 2 if plugin.reading == "appended" and training.learn_unrelated else 1
        return cls(
            ours,
            others,
            training,
            batch * per_edit + round(batch * training.ratio) * per_other,
            ROWS * plugin.lm.mesh.data,
            longest_target([row for each in (*ours, *others) for row in each]),
        )

    @property
    def epoch(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.edits) // self.training.batch)

    def at(self, step: int) -> Rows:
        """The batch of a step: a new order of the edits in every epoch, of the others in each of
        their own rounds."""
        epoch, place = divmod(step, self.epoch)
        start = place * self.training.batch
        order = self._order(0, epoch, len(self.edits))[start : start + self.training.batch]
        taken = [self.edits[i] for i in order]
        count = round(self.training.ratio * min(self.training.batch, len(self.edits)))
        for other in range(step * count, (step + 1) * count):
            turn, place = divmod(other, len(self.unrelated))
            taken.append(self.unrelated[self._order(1, turn, len(self.unrelated))[place]])
        rows = [row for each in taken for row in each]
        return stack(rows, width=self.width, least=self.rows, multiple=self.multiple)

    def _order(self, which: int, turn: int, count: int) -> np.ndarray:
        return np.random.default_rng((self.training.seed, which, turn)).permutation(count)
