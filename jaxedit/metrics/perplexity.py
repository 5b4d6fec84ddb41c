"""Perplexity pooled over tokens: of targets given their prompts, and of held-out text.

The mean over facts of D4S equation 1 is the "per_target" measure of teacher forcing; rare tokens
dominate it. Here the same equation is taken over all tokens together.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from jaxedit.errors import UserError
from jaxedit.metrics.records import LOWEST, Answer, Setting, one_setting
from jaxedit.metrics.score import Score, mean_score

if TYPE_CHECKING:
    from jaxedit.models.protocol import LanguageModel


def target_perplexity(answers: Sequence[Answer], *, seed: int = 0) -> Score:
    """Perplexity of the edit questions' targets given their prompts, over all their tokens.

    Raises:
        UserError: if there are no edit answers, or they are of several settings.
    """
    chosen = [a for a in answers if a.asked.role == "edit" and a.logprobs]
    if not chosen:
        raise UserError("perplexity of targets needs answers to edit questions; there are none")
    edits = [a.edits for a in chosen]
    return _pooled(
        [(sum(a.logprobs), len(a.logprobs)) for a in chosen],
        one_setting(chosen),
        (min(edits), max(edits)),
        against="target",
        seed=seed,
    )


def heldout_perplexity(
    lm: LanguageModel, texts: Sequence[str], setting: Setting, *, edits: int, seed: int = 0
) -> Score:
    """Perplexity of texts that have nothing to do with the edits, over all their tokens.

    Args:
        lm: a model that defines log-likelihoods.
        texts: each is scored whole, on its own.
        setting: when, and of which model; its prompt format is not used.
        edits: number of edits the model has received.
        seed: of the bootstrap over texts.

    Raises:
        UserError: if no text has a token to predict.
    """
    sums = [(total, n) for total, n in lm.loglikelihood(list(texts)) if n > 0]
    if not sums:
        raise UserError("perplexity of held-out text needs texts of two tokens or more")
    return _pooled(sums, setting, (edits, edits), against="text", seed=seed)


def _pooled(
    sums: Sequence[tuple[float, int]],
    setting: Setting,
    edits: tuple[int, int],
    *,
    against: str,
    seed: int,
) -> Score:
    """``sums``: (sum of log probabilities, number of tokens) of each fact or text."""
    tokens = np.array([n for _, n in sums], dtype=np.float64)
    loss = -np.array([total for total, _ in sums], dtype=np.float64) / tokens
    return mean_score(
        np.where(loss < -LOWEST, loss, -LOWEST),  # [facts]; a broken model's is not a number
        setting,
        edits,
        metric="perplexity",
        decoding="teacher_forced",
        reading="pooled",
        against=against,
        weights=tokens,
        exponential=True,
        seed=seed,
    )
