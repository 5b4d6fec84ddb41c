"""What a hyper-network is trained on: edits, what should follow from them, what should not move.

Every record is tokenised once and padded to one shape, so that a step only picks rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from jaxedit.data.fact import SLOT, Fact
from jaxedit.editors.rows import TargetRows, target_rows
from jaxedit.errors import UserError
from jaxedit.models.text import Tokenizer

Asked = Literal["paraphrase", "prompt", "either"]
"""Where an edit should show in training.

  "paraphrase"  on the fact in other words, as in MEND's and MALMEN's papers; on its own prompt
                where there are none.
  "prompt"      on the very prompt that is edited, as in EasyEdit's training.
  "either"      on any of them.
"""


class Exercises(NamedTuple):
    """n records; record i's questions are the rows first[i] to first[i + 1] - 1.

    Attributes:
      edit: what is edited, a row a record.
      asked: where the edit should show.
      asked_first: [n + 1].
      local: what should not change: neighbours and their true answers.
      local_first: [n + 1].
    """

    edit: TargetRows
    asked: TargetRows
    asked_first: np.ndarray
    local: TargetRows
    local_first: np.ndarray

    def draw(
        self, places: np.ndarray, rng: np.random.Generator
    ) -> tuple[TargetRows, TargetRows, TargetRows]:
        """Some records' edits, with one question each that they bear on, and one that they do not.

        A record without neighbours takes any other's.
        """
        asked = _one_of_each(self.asked_first, places, rng)
        local = _one_of_each(self.local_first, places, rng)
        return _rows(self.edit, places), _rows(self.asked, asked), _rows(self.local, local)


def exercises(
    tokenizer: Tokenizer, facts: Sequence[Fact], asked: Asked, *, label_bos: bool = False
) -> Exercises:
    """Tokenises training records.

    Args:
      tokenizer: the model's.
      facts: the records.
      asked: where an edit should show.
      label_bos: see `edit_rows`.

    Raises:
      UserError: no record has a neighbour.
    """
    prompts = [_asked(fact, asked) for fact in facts]
    local = [[(near.prompt, near.answer) for near in fact.neighbours] for fact in facts]
    if not any(local):
        raise UserError(
            "the training records have no neighbours, without which a network cannot learn what "
            "to leave alone; take records that have some"
        )
    follows = [
        [(prompt, fact.target) for prompt in own] for fact, own in zip(facts, prompts, strict=True)
    ]
    return Exercises(
        edit_rows(tokenizer, facts, label_bos=label_bos),
        _questions(tokenizer, follows),
        _firsts(follows),
        _questions(tokenizer, local),
        _firsts(local),
    )


def edit_rows(
    tokenizer: Tokenizer, facts: Sequence[Fact], *, label_bos: bool = False
) -> TargetRows:
    """Rows of the facts' own prompts and targets.

    Args:
      tokenizer: the model's.
      facts: n facts.
      label_bos: the BOS token is wanted before the target, where the tokenizer has one: the
        published code encodes targets by themselves and so asks Llama for it.
    """
    rows = target_rows(tokenizer, facts)
    if not label_bos or tokenizer.bos_id is None:
        return rows
    one = np.ones((len(facts), 1), np.int32)
    return rows._replace(
        predict=np.concatenate([np.maximum(rows.predict[:, :1] - 1, 0), rows.predict], axis=1),
        target=np.concatenate([one * tokenizer.bos_id, rows.target], axis=1),
        target_mask=np.concatenate([one.astype(bool), rows.target_mask], axis=1),
    )


def fill_up(rows: TargetRows, size: int) -> TargetRows:
    """With empty rows behind them, `size` in all; they weigh nothing anywhere."""

    def filled(x: Any) -> np.ndarray:
        x = np.asarray(x)
        return np.pad(x, ((0, size - len(x)), *((0, 0) for _ in x.shape[1:])))

    return jax.tree.map(filled, rows)


def _asked(fact: Fact, asked: Asked) -> tuple[str, ...]:
    if asked == "prompt" or not fact.paraphrases:
        return (fact.question,)
    return fact.paraphrases if asked == "paraphrase" else (fact.question, *fact.paraphrases)


def _questions(tokenizer: Tokenizer, each: Sequence[Sequence[tuple[str, str]]]) -> TargetRows:
    """Rows of all questions and their answers, one after another."""
    flat = [Fact(SLOT, prompt, answer.strip()) for own in each for prompt, answer in own]
    return target_rows(tokenizer, flat)


def _firsts(each: Sequence[Sequence[Any]]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum([len(own) for own in each])])


def _one_of_each(first: np.ndarray, places: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A row of each record; of any, where a record has none."""
    start, stop = first[places], first[places + 1]
    some = stop > start
    return rng.integers(np.where(some, start, 0), np.where(some, stop, first[-1]))


def _rows(rows: TargetRows, places: np.ndarray) -> TargetRows:
    return jax.tree.map(lambda x: np.asarray(x)[places], rows)
