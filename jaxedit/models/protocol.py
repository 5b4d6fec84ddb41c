"""What metrics and entry points may ask of a language model, whatever it is made of."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from jaxedit.errors import UserError
from jaxedit.models.text import Tokenizer

Advance = Callable[[int], object]  # told how many rows were done since it was last called
Row = tuple[Sequence[int], int]  # ids, and how many of them are given: ids[n:] are asked for


class TeacherForced(NamedTuple):
    """What a model says of a target whose own tokens it is fed; each array has T entries."""

    target_ids: np.ndarray  # int32
    predicted_ids: np.ndarray  # int32, the most probable token at each place
    logprobs: np.ndarray  # float, log p of each target token in nats; empty if there are none


def total_logprob(forced: TeacherForced) -> float:
    """log p of the whole target, in nats.

    Raises:
        UserError: the model that said it defines no likelihoods.
    """
    if len(forced.logprobs) != len(forced.target_ids):
        raise UserError(
            "the model defines no likelihoods of given tokens (a mixture of two vocabularies has "
            "none), which this compares; evaluate one of its parts"
        )
    return float(np.sum(forced.logprobs, dtype=np.float64))


def has_likelihoods(lm: object) -> bool:
    """Whether a model says how probable given tokens are; ``likelihoods = False`` marks others."""
    return getattr(lm, "likelihoods", True)


class Continuation(NamedTuple):
    """What a model goes on with."""

    ids: tuple[int, ...]  # as generated, one that ends the text or holds a stop included
    text: str  # without them: cut before the end and before the first stop string


def stop_strings(stop: str | Sequence[str] | None) -> list[str]:
    """What ends a continuation, as a list."""
    return [stop] if isinstance(stop, str) else [text for text in stop or () if text]


class Generates(ABC):
    """What a language model says of itself once it has continuations."""

    @abstractmethod
    def continuations(
        self,
        prompts: Sequence[str],
        max_new_tokens: int,
        stop: str | Sequence[str] | None = None,
        advance: Advance | None = None,
    ) -> list[Continuation]:
        """See ``LanguageModel``."""

    def generate(
        self, prompts: Sequence[str], max_new_tokens: int, stop: str | Sequence[str] | None = None
    ) -> list[str]:
        """Greedy continuations, without their prompts: the texts of ``continuations``."""
        return [made.text for made in self.continuations(prompts, max_new_tokens, stop)]


class LanguageModel(Protocol):
    """A model that answers; ``Transformer`` is the usual one.

    ``advance`` is called after each batch with the number of rows in it.
    """

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the texts that it takes and gives."""
        ...

    def teacher_forced(
        self, prompts: Sequence[str], targets: Sequence[str], advance: Advance | None = None
    ) -> list[TeacherForced]:
        """How probable each target is behind its prompt, and what is said in its place."""
        ...

    def score_rows(
        self, rows: Sequence[Row], advance: Advance | None = None
    ) -> list[TeacherForced]:
        """For each (ids, n) the tokens ids[n:], each given all before it; n at least 1."""
        ...

    def generate(
        self,
        prompts: Sequence[str],
        max_new_tokens: int,
        stop: str | Sequence[str] | None = None,
    ) -> list[str]:
        """Greedy continuations without their prompts, cut before the first of ``stop``."""
        ...

    def continuations(
        self,
        prompts: Sequence[str],
        max_new_tokens: int,
        stop: str | Sequence[str] | None = None,
        advance: Advance | None = None,
    ) -> list[Continuation]:
        """The texts of ``generate``, and the ids that were generated."""
        ...

    def loglikelihood(self, texts: Sequence[str]) -> list[tuple[float, int]]:
        """(sum of log p in nats, number of tokens that were predicted) of each text."""
        ...
