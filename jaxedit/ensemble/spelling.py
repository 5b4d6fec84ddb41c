"""The plug-in's words that are no anchors, spelt in the target's tokens. Beyond the paper.

Where one vocabulary has a word whole and the other in pieces, there is no anchor for it: R puts it
near others, and the ensemble says the nearest anchor instead ("lin" for "piano"). No map from
tokens to tokens can help, since the word is several tokens of the target's. So the table of
anchors to tokens is continued: each such word w of the plug-in has a column of its own, which
takes all of p_s(w) and nothing else,

    P_w = alpha p_s(w),

and where that column is the best, the target says the word's tokens one after the other. In the
meantime nothing else is chosen. Words with no text of their own (special tokens, single bytes of
a longer character) stay with R.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxedit.ensemble.anchors import Anchors
from jaxedit.ensemble.sync import anchor, text_after
from jaxedit.models.generate import NOTHING
from jaxedit.models.text import Tokenizer

BROKEN = "\ufffd"  # what bytes that are no UTF-8 are decoded to
BEFORE = "\n"  # no token goes on from it into a word

Run = tuple[int, ...]  # the target's tokens of one word


class Spelling(NamedTuple):
    """Words of the plug-in that the target spells.

    Attributes:
      words: their ids, rising, [U] int32.
      tokens: the target's for each, NOTHING behind the last, [U, L] int32.
    """

    words: Any
    tokens: Any


def spell(target: Tokenizer, plug: Tokenizer, anchors: Anchors) -> Spelling:
    """All words of the plug-in's that have a text, and no anchor.

    Args:
      target: the target model's tokenizer.
      plug: the plug-in's.
      anchors: what they have in common.
    """
    special = {i for i, token in plug.pipeline.get_added_tokens_decoder().items() if token.special}
    known = {*map(int, anchors.plug), *special, plug.unk_id}
    found = {
        word: run
        for word in range(plug.vocab_size)
        if word not in known and (run := _run(target, text_after(plug, anchor(plug), [word])))
    }
    tokens = np.full((len(found), max(map(len, found.values()), default=1)), NOTHING, np.int32)
    for row, run in zip(tokens, found.values(), strict=True):
        row[: len(run)] = run
    return Spelling(np.fromiter(found, np.int32, len(found)), tokens)


def _run(target: Tokenizer, text: str) -> Run:
    """The target's tokens of a text behind any other; none if they do not give it back."""
    if not text or BROKEN in text:
        return ()
    before = target.encode_bare(BEFORE)
    ids = target.encode_bare(BEFORE + text)
    run = ids[len(before) :]
    if ids[: len(before)] != before or text_after(target, anchor(target), run) != text:
        return ()
    return tuple(run)


class Speller(NamedTuple):
    """What columns of P stand for, on the host.

    Attributes:
      first: the first of the columns that stand for words; those before are anchors'.
      tokens: as `Spelling.tokens`; of no words where none are spelt.
    """

    first: int
    tokens: np.ndarray

    def run(self, column: int) -> Run:
        """The tokens of a column's word; none for an anchor's, and for the pair of ends."""
        row = column - self.first
        if not 0 <= row < len(self.tokens):
            return ()
        return tuple(int(i) for i in self.tokens[row] if i != NOTHING)

    def runs(self, columns: Any, fused: Any) -> list[Run]:
        """The same of each row, [B]; none where the ensemble does not speak."""
        if not len(self.tokens):
            return [()] * len(columns)
        both = zip(np.asarray(columns).tolist(), np.asarray(fused).tolist(), strict=True)
        return [self.run(column) if joint else () for column, joint in both]

    def behind(self, columns: Any, fused: Any, left: Sequence[Run]) -> list[Run]:
        """What rows have still to say of their words after a step.

        Args:
          columns: the step's best columns, [B].
          fused: whether the ensemble's token was said, [B].
          left: the same before the step, the token that it said included; of the first rows.
        """
        runs = self.runs(columns, fused)
        return [before[1:] if before else run[1:] for before, run in zip(left, runs, strict=False)]


def said_when_forced(gold: Sequence[int], free: Sequence[int], runs: Sequence[Run]) -> list[int]:
    """What is said in the place of each token of a text that is fed, whole words at a time.

    A word that was begun is gone on with as long as the text agrees.

    Args:
      gold: the text's tokens, [n].
      free: what would be said at each place if a word began there, [n].
      runs: the word that would begin there; none where it is one token.
    """
    said: list[int] = []
    while len(said) < len(gold):
        place = len(said)
        for token in runs[place] or (free[place],):
            said.append(int(token))
            if len(said) == len(gold) or token != gold[len(said) - 1]:
                break
    return said
