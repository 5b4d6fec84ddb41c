"""A language model as a value: config, parameters, tokenizer and the devices they are on."""

import dataclasses
from collections.abc import Mapping, Sequence

import jax
import numpy as np

from jaxedit.errors import UserError
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import Params
from jaxedit.models.generate import Sampling, generate_ids
from jaxedit.models.protocol import (
    Advance,
    Continuation,
    Generates,
    Row,
    TeacherForced,
    stop_strings,
)
from jaxedit.models.scoring import score_ids, score_texts
from jaxedit.models.sites import ADAPTERS, Adapter
from jaxedit.models.text import Tokenizer
from jaxedit.sharding import Mesh, replicate


@dataclasses.dataclass(frozen=True, eq=False)
class Transformer(Generates):
    """A model that runs, and implements ``LanguageModel``.

    ``params`` should be on the mesh already (``sharding.replicate``), as ``load_model`` puts
    them. ``text`` may be None: then only what takes no text works.
    """

    config: ModelConfig
    params: Params
    text: Tokenizer | None
    mesh: Mesh
    name: str = ""

    @property
    def tokenizer(self) -> Tokenizer:
        """Raises UserError if the model came without one."""
        if self.text is None:
            raise UserError(f"{self.name or 'the model'} has no tokenizer.json; add its own")
        return self.text

    def with_params(self, params: Params) -> "Transformer":
        """The same model with other parameters."""
        return dataclasses.replace(self, params=params)

    def with_adapters(self, adapters: Mapping[str, Adapter]) -> "Transformer":
        """The same model with adapters behind its linears, by name ("layers_3/mlp.down").

        They must be pytrees; they take the place of any that were there.
        """
        placed = replicate(dict(adapters), self.mesh)
        return self.with_params({**self.params, ADAPTERS: placed})

    def teacher_forced(
        self, prompts: Sequence[str], targets: Sequence[str], advance: Advance | None = None
    ) -> list[TeacherForced]:
        """Scores of each target's tokens behind its prompt (see ``Tokenizer.encode_pair``).

        A target that shares no token with its prompt's encoding is preceded by BOS, or by
        the end-of-text token. Raises UserError for an empty target or a text that is too long.
        """
        rows = [self.pair_row(p, t) for p, t in zip(prompts, targets, strict=True)]
        return self.score_rows(rows, advance)

    def pair_row(self, prompt: str, target: str) -> Row:
        """Ids of both, and how many are the prompt's; something always stands before a target."""
        ids, n = self.tokenizer.encode_pair(prompt, target)
        return (ids, n) if n else ([self._opening(), *ids], 1)

    def score_rows(
        self, rows: Sequence[Row], advance: Advance | None = None
    ) -> list[TeacherForced]:
        """For each (ids, n) the tokens ids[n:], each given all before it; n at least 1.

        Raises UserError for a row that is longer than the model's positions.
        """
        return score_ids(self.config, self.params, self.mesh, rows, advance)

    def loglikelihood(self, texts: Sequence[str]) -> list[tuple[float, int]]:
        """(sum of log p in nats, number of tokens) over each text's tokens but the first.

        The first is BOS where the tokenizer puts one, and otherwise has nothing before it. A text
        of more tokens than the model has positions is scored in windows, each beginning with the
        last token of the one before.
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
        """Greedy continuations, without their prompts.

        A continuation ends with an end-of-text token (not shown), before the first occurrence
        of one of the ``stop`` strings, after ``max_new_tokens``, or where the model's positions
        are used up. Its ids are those that were generated: an end-of-text token, and what goes
        beyond the cut, are among them.
        """
        return self._continue(prompts, max_new_tokens, stop, None, advance)

    def sample(
        self,
        prompts: Sequence[str],
        key: jax.Array,
        *,
        max_new_tokens: int,
        top_k: int | None = None,
        temperature: float = 1.0,
        stop: str | Sequence[str] | None = None,
    ) -> list[str]:
        """As ``generate``, drawing each token among the ``top_k`` most probable ones.

        The same key gives the same texts, however many devices there are.
        """
        sampling = Sampling(key, top_k, temperature)
        made = self._continue(prompts, max_new_tokens, stop, sampling, None)
        return [one.text for one in made]

    def _continue(
        self,
        prompts: Sequence[str],
        max_new_tokens: int,
        stop: str | Sequence[str] | None,
        sampling: Sampling | None,
        advance: Advance | None,
    ) -> list[Continuation]:
        stops = stop_strings(stop)
        rows = [self.prompt_row(prompt) for prompt in prompts]
        new = generate_ids(
            self.config,
            self.params,
            self.mesh,
            rows,
            max_new_tokens,
            ends=self.ending_ids(stops),
            sampling=sampling,
            advance=advance,
        )
        return [self.continuation(row, ids, stops) for row, ids in zip(rows, new, strict=True)]

    def prompt_row(self, prompt: str) -> list[int]:
        """A prompt's ids; something always stands before what is generated."""
        return self.tokenizer.encode(prompt) or [self._opening()]

    def continuation(
        self, row: Sequence[int], new: Sequence[int], stops: Sequence[str]
    ) -> Continuation:
        """New ids behind a row, and their text as it is shown."""
        shown = new[:-1] if new and new[-1] in self.final_ids() else new
        text = _cut(self.tokenizer.continuation(row, shown), stops)
        return Continuation(tuple(new), text)

    def ending_ids(self, stops: Sequence[str]) -> np.ndarray:
        """Ids after which a continuation ends: those that end a text, or hold a stop string."""
        return np.asarray(sorted(self.final_ids() | self._holding(stops)), np.int64)

    def final_ids(self) -> set[int]:
        """Ids that end a text, by any of the model's configs."""
        eos = self.tokenizer.eos_id
        return {*self.config.eos_ids, *(() if eos is None else (eos,))}

    def _holding(self, stops: Sequence[str]) -> set[int]:
        """Ids whose own text holds a stop string: there is no need to go on after them."""
        if not stops:
            return set()
        pieces = enumerate(self.tokenizer.pieces)
        return {i for i, piece in pieces if any(stop in piece for stop in stops)}

    def _opening(self) -> int:
        """What to put before a text that would otherwise begin with nothing to go by."""
        known = self.tokenizer.bos_id, self.tokenizer.eos_id
        for token in known:
            if token is not None:
                return token
        raise UserError("the prompt is empty and the tokenizer has no BOS or EOS; give a prompt")


def _cut(text: str, stops: Sequence[str]) -> str:
    """Text before the first occurrence of any of ``stops``."""
    found = [place for place in (text.find(stop) for stop in stops) if place >= 0]
    return text[: min(found)] if found else text
