"""How a method's network is trained, and which records each step of that takes."""

from __future__ import annotations

import dataclasses

import numpy as np
import optax

from jaxedit.errors import UserError


@dataclasses.dataclass(frozen=True)
class MetaTraining:
    """How a method's network is trained.

    Attributes:
      steps: updates, at most.
      batch: records that one gradient is taken on.
      accumulate: gradients an update, averaged.
      learning_rate: of the optimiser, after the warm-up.
      warmup: steps of linear growth of the learning rate from zero.
      final_share: of the learning rate, left when a cosine has brought it down; 1 leaves it.
      clip: largest norm of a gradient; None takes any.
      validation: share of the records, the last ones, that are never trained on.
      validate_every: steps between two looks at them.
      patience: steps without improvement there after which training ends.
      seed: of the order, and of whatever is drawn.
    """

    steps: int = 1000
    batch: int = 1
    accumulate: int = 1
    learning_rate: float = 1e-4
    warmup: int = 0
    final_share: float = 1.0
    clip: float | None = 100.0
    validation: float = 0.1
    validate_every: int = 100
    patience: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what makes no sense.

        Raises:
          UserError: naming the setting.
        """
        for name in ("steps", "batch", "accumulate", "validate_every", "patience"):
            if getattr(self, name) < 1:
                raise UserError(f"training.{name} is {getattr(self, name)}; at least 1 is needed")
        if self.learning_rate <= 0:
            raise UserError(f"training.learning_rate is {self.learning_rate}; give one above 0")
        if not 0 <= self.validation < 1:
            raise UserError(f"training.validation is {self.validation}; give a share below 1")

    @property
    def rate(self) -> optax.Schedule:
        """The learning rate by step."""
        if not self.warmup and self.final_share == 1:
            return optax.constant_schedule(self.learning_rate)
        return optax.warmup_cosine_decay_schedule(
            init_value=0.0 if self.warmup else self.learning_rate,
            peak_value=self.learning_rate,
            warmup_steps=self.warmup,
            decay_steps=max(self.steps, self.warmup + 1),
            end_value=self.learning_rate * self.final_share,
        )


def split(records: int, training: MetaTraining) -> tuple[np.ndarray, np.ndarray]:
    """Places of the records that are trained on, and of those kept apart: the last ones.

    Raises:
      UserError: there are too few records.
    """
    kept = round(records * training.validation)
    if training.validation and not kept:
        kept = 1
    if records - kept < training.batch:
        raise UserError(
            f"{records} training records are too few for batches of {training.batch}; "
            "give more, or a smaller training.batch"
        )
    return np.arange(records - kept), np.arange(records - kept, records)


def chosen(learn: np.ndarray, training: MetaTraining, call: int) -> np.ndarray:
    """Places of the records of the gradient number `call`: a new order every round, [batch]."""
    first = call * training.batch
    rounds, places = np.divmod(np.arange(first, first + training.batch), len(learn))
    orders = {
        turn: np.random.default_rng((training.seed, 0, turn)).permutation(len(learn))
        for turn in np.unique(rounds)
    }
    return np.asarray([learn[orders[turn][at]] for turn, at in zip(rounds, places, strict=True)])
