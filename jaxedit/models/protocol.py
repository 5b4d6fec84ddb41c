"""What metrics and entry points may ask of a language model, whatever it is made of."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from jaxedit.models.text import Tokenizer


class TeacherForced(NamedTuple):
    """What a model says of a target whose own tokens it is fed; each array has T entries."""

    target_ids: np.ndarray  # int32
    predicted_ids: np.ndarray  # int32, the most probable token at each place
    logprobs: np.ndarray  # float, log p of each target token in nats


class LanguageModel(Protocol):
    """A model that answers; ``Transformer`` is the usual one."""

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the texts that it takes and gives."""
        ...

    def teacher_forced(self, prompts: Sequence[str], targets: Sequence[str]) -> list[TeacherForced]:
        """How probable each target is behind its prompt, and what is said in its place."""
        ...

    def generate(
        self, prompts: Sequence[str], max_new_tokens: int, stop: str | Sequence[str] | None = None
    ) -> list[str]:
        """Greedy continuations without their prompts, cut before the first of ``stop``."""
        ...

    def loglikelihood(self, texts: Sequence[str]) -> list[tuple[float, int]]:
        """(sum of log p in nats, number of tokens that were predicted) of each text."""
        ...
