"""A language model that reads something before each question: facts, demonstrations."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from jaxedit.errors import UserError
from jaxedit.models.config import ModelConfig
from jaxedit.models.protocol import Advance, Continuation, Generates, Row, TeacherForced
from jaxedit.models.text import Tokenizer
from jaxedit.models.transformer import Transformer

Front = Callable[[Sequence[str]], list[str]]


@dataclasses.dataclass(frozen=True, eq=False)
class Prompted(Generates):
    """Implements ``LanguageModel``: each prompt is asked behind a text of its own.

    The two are one text to the tokenizer, with one BOS. A prompt that nothing stands before is
    asked as it is, so that the answer has the bits of the model's own. What is no question stays
    bare, too: the texts of ``loglikelihood``, and rows of which the first token alone is given.

    Attributes:
      lm: the model; its weights are nobody's to change.
      front: the text before each of these prompts, its own last space or line end included; ""
        for none.
    """

    lm: Transformer
    front: Front

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's."""
        return self.lm.tokenizer

    @property
    def config(self) -> ModelConfig:
        """The model's."""
        return self.lm.config

    @property
    def name(self) -> str:
        """The model's."""
        return self.lm.name

    def teacher_forced(
        self, prompts: Sequence[str], targets: Sequence[str], advance: Advance | None = None
    ) -> list[TeacherForced]:
        """Scores of each target's tokens behind its prompt.

        Raises UserError for an empty target, or a prompt that is too long with what is before it.
        """
        pairs = zip(self._whole(prompts), targets, strict=True)
        rows = [self.lm.pair_row(prompt, target) for prompt, target in pairs]
        self._check([ids[:-1] for ids, _ in rows])
        return self.lm.score_rows(rows, advance)

    def score_rows(
        self, rows: Sequence[Row], advance: Advance | None = None
    ) -> list[TeacherForced]:
        """For each (ids, n) the tokens ids[n:], given what stands before the question ids[:n].

        Raises UserError for a row that is too long with what is before it.
        """
        asked = [i for i, (_, n) in enumerate(rows) if n > 1]
        prompts = [self.tokenizer.opened_text(rows[i][0][: rows[i][1]]) for i in asked]
        made = list(rows)
        for i, prompt, before in zip(asked, prompts, self.front(prompts), strict=True):
            made[i] = self._behind(before, prompt, rows[i])
        self._check([ids[:-1] for ids, _ in made])
        return self.lm.score_rows(made, advance)

    def continuations(
        self,
        prompts: Sequence[str],
        max_new_tokens: int,
        stop: str | Sequence[str] | None = None,
        advance: Advance | None = None,
    ) -> list[Continuation]:
        """Greedy continuations, as ``Transformer.continuations`` ends and cuts them.

        Raises UserError for a prompt that is too long with what is before it.
        """
        whole = self._whole(prompts)
        self._check([self.lm.prompt_row(prompt) for prompt in whole])
        return self.lm.continuations(whole, max_new_tokens, stop, advance)

    def loglikelihood(self, texts: Sequence[str]) -> list[tuple[float, int]]:
        """The model's own of each text: no text is a question."""
        return self.lm.loglikelihood(texts)

    def _whole(self, prompts: Sequence[str]) -> list[str]:
        fronts = self.front(prompts)
        return [before + prompt for before, prompt in zip(fronts, prompts, strict=True)]

    def _behind(self, before: str, prompt: str, row: Row) -> Row:
        """The row behind a text; what is scored stays token for token."""
        ids, n = row
        if not before:
            return row
        given = list(ids[:n])
        if given == self.lm.prompt_row(prompt):
            given = self.lm.prompt_row(before + prompt)
        else:  # its end is cut as no text of its own would be
            opens = given[0] == self.tokenizer.bos_id
            given = [*self.lm.prompt_row(before), *given[opens:]]
        return [*given, *ids[n:]], len(given)

    def _check(self, fed: Sequence[Sequence[int]]) -> None:
        most = self.config.max_positions
        longest = max(fed, key=len, default=[])
        if len(longest) > most:
            end = self.tokenizer.decode(longest[-12:])
            raise UserError(
                f"the question that ends in {end!r} has {len(longest)} tokens with what is put "
                f"before it, but {self.name or 'the model'} takes {most}; let fewer facts or "
                "demonstrations be put there"
            )
