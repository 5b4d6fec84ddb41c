"""How long the forms are, beside what D4S prints of its own (sections 3.2 and 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from jaxedit.data.fact import Fact
from jaxedit.data.mqd.forms import Form
from jaxedit.models.text import Tokenizer


class Published(NamedTuple):
    """What the paper prints for a form: tokens on average, and the targets' perplexity."""

    input_tokens: float
    target_tokens: float
    perplexity: float


PAPER: Mapping[Form, Published] = {
    "generation": Published(13.38, 3.88, 12.3),
    "choice": Published(35.03, 1.0, 43.3),
    "statement": Published(23.44, 1.0, 297.4),
}
CONTRADICTION = (
    "The paper lists its perplexities for direct generation, multiple choice and true or false in "
    "this order, but says that direct generation does most damage and that a higher perplexity of "
    "the target does more: its text asks for the opposite order."
)


WORDS = (
    "The paper calls its lengths tokens, but by its own layout they fit words better: 13.38 for "
    "direct generation, if its target is counted in, and ten words of a question make the 23.44 "
    "of true or false."
)


class Words(NamedTuple):
    """Mean numbers of a form's words, which white space separates: of prompts, of targets."""

    input: float
    target: float


class Tokens(NamedTuple):
    """Numbers of a form's tokens by one tokenizer.

    Attributes:
        input: mean of the prompts, a BOS token included where the tokenizer puts one.
        target: mean of what follows them.
        longest: of prompt and target together, the most there are.
    """

    input: float
    target: float
    longest: int


def tokens(facts: Sequence[Fact], tokenizer: Tokenizer) -> Tokens:
    """Of these facts' prompts and targets; at least one fact."""
    pairs = [tokenizer.encode_pair(fact.question, fact.target) for fact in facts]
    inputs = np.array([start for _, start in pairs])  # [facts]
    totals = np.array([len(ids) for ids, _ in pairs])  # [facts]
    return Tokens(float(inputs.mean()), float((totals - inputs).mean()), int(totals.max()))


def words(facts: Sequence[Fact]) -> Words:
    """Of these facts' prompts and targets; at least one fact."""
    counts = np.array([(len(f.question.split()), len(f.target.split())) for f in facts])
    prompts, targets = counts.mean(axis=0)
    return Words(float(prompts), float(targets))
