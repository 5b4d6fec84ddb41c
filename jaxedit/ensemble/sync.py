"""One text, two tokenizers: what the plug-in reads while the target model writes.

The plug-in always reads the whole text tokenised anew (the ensemble of DeePEn, Huang et al. 2024,
does so at every step), since a new token may change how the text before it is cut. What its cache
keeps is what the old and the new tokenisation begin with alike.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Literal, NamedTuple

from jaxedit.models.text import Tokenizer, common_prefix

Mode = Literal["decode", "deepen_string"]
MODES: tuple[Mode, ...] = ("decode", "deepen_string")

_BROKEN = "\ufffd"  # what bytes that are no UTF-8 are decoded to
_WORD = "▁"  # the space of SentencePiece


class Reading(NamedTuple):
    """What the plug-in reads at one step."""

    text: str  # prompt and new text
    ids: tuple[int, ...]  # of the plug-in, at least one
    kept: int  # how many of the ids before these begin them; fewer than there are ids


@dataclasses.dataclass(frozen=True, eq=False)
class Sync:
    """Keeps a plug-in's text in step with a target's tokens.

    ``mode`` is how a target's tokens become text. "decode": all new ids together, so that a
    character of several tokens comes out whole, a tail of broken bytes held back until what
    follows settles it. "deepen_string": each token as its vocabulary spells it, a leading word
    mark as a space, as published; bytes then come out as "<0x41>" and the spaces of a byte-level
    tokenizer as another letter. It is there to compare with.
    """

    target: Tokenizer
    plug: Tokenizer
    mode: Mode = "decode"

    def read(self, prompt: str, new: Sequence[int], before: Sequence[int] = ()) -> Reading:
        """What stands after ``new`` target ids behind a prompt; ``before``: the last reading's ids.

        The last id is never among those kept, since the logits behind it are asked for.
        """
        return self.read_all([prompt], [new], [before])[0]

    def read_all(
        self,
        prompts: Sequence[str],
        new: Sequence[Sequence[int]],
        before: Sequence[Sequence[int]],
    ) -> list[Reading]:
        """`read` of many rows."""
        texts = [p + self.added(n) for p, n in zip(prompts, new, strict=True)]
        ids = [tuple(self.plug_ids(text)) for text in texts]
        return [
            Reading(text, now, min(common_prefix(old, now), len(now) - 1))
            for text, now, old in zip(texts, ids, before, strict=True)
        ]

    def added(self, new: Sequence[int]) -> str:
        """The text of new target ids, as far as it is settled; special tokens as they are spelt."""
        if self.mode == "deepen_string":
            pieces = (self.target.pipeline.id_to_token(int(i)) or "" for i in new)
            return "".join(" " + p[1:] if p.startswith(_WORD) else p for p in pieces)
        return text_after(self.target, self._anchor, new).rstrip(_BROKEN)

    def plug_ids(self, text: str) -> list[int]:
        """The plug-in's ids of a whole text; one that stands for nothing if it has none."""
        return self.plug.encode(text) or [opening(self.plug)]

    @functools.cached_property
    def _anchor(self) -> tuple[int, str]:
        return anchor(self.target)


def anchor(tokenizer: Tokenizer) -> tuple[int, str]:
    """A token to decode others behind, and its text.

    A SentencePiece decoder takes the first space of what it is given for its own and drops it; a
    letter before the new ids keeps it.
    """
    last = tokenizer.encode_bare("a")[-1]
    return last, tokenizer.decode([last], skip_special=False)


def text_after(tokenizer: Tokenizer, before: tuple[int, str], new: Sequence[int]) -> str:
    """The text that ids add behind any text, a leading space included; see `anchor`."""
    first, text = before
    return tokenizer.decode([first, *new], skip_special=False)[len(text) :]


def opening(tokenizer: Tokenizer) -> int:
    """What stands for a text of no tokens: BOS, or the end of the text before."""
    known = (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id)
    return next(token for token in known if token is not None)
