"""Anchors: the tokens that two vocabularies have in common.

A model's words are described by how close they are to the anchors, which both models know
(Huang et al. 2024, DeePEn; OnceEdit, section 2.2). Two rules say what is in common:

`deepen` compares the vocabularies' strings, with "▁" for the "Ġ" of byte-level vocabularies, as
the published code does. Nothing is decoded, so that a byte-level token and a SentencePiece one
may be the same string and stand for different text ("æ" is a single byte on one side), and no
newline is ever in common. Where two tokens of one vocabulary come to the same string, the one
with a "Ġ" takes it: Llama's literal "Ġ" takes the place of "▁" (in the published code the order
of a hash table decides).

`bytes` compares the bytes that tokens stand for. A byte token ("<0x41>") stands for its byte
only where no other token does, as no encoding uses it otherwise. Special tokens have no bytes and
match special tokens of the same text.
"""

import functools
import hashlib
import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import tokenizers

from jaxedit.errors import UserError
from jaxedit.models.text import Tokenizer

RULES = ("deepen", "bytes")
SPACE = "▁"  # of SentencePiece vocabularies
BYTE_SPACE = "Ġ"  # of byte-level ones
BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


@dataclass(frozen=True, eq=False)
class Anchors:
    """Common tokens, by rising id in the main vocabulary; equal where their content is.

    Attributes:
      main: ids in the main model's vocabulary, [A] int32.
      plug: ids of the same tokens in the plug-in's, [A] int32.
      tokens: what they were matched by: the strings, or the bytes as text ("\\x0a" for what is
        no UTF-8 or cannot be seen).
      rule: "deepen" or "bytes".
    """

    main: np.ndarray
    plug: np.ndarray
    tokens: tuple[str, ...]
    rule: str

    @property
    def count(self) -> int:
        """A."""
        return len(self.main)

    @functools.cached_property
    def digest(self) -> str:
        """A hash of the content."""
        made = hashlib.sha256("\n".join((self.rule, *self.tokens)).encode())
        for ids in (self.main, self.plug):
            made.update(np.ascontiguousarray(ids, np.int32).tobytes())
        return made.hexdigest()

    def __eq__(self, other: object) -> bool:
        """By content, so that equal anchors compile once."""
        return isinstance(other, Anchors) and self.digest == other.digest

    def __hash__(self) -> int:
        """By content."""
        return hash(self.digest)


def find_anchors(main: Tokenizer, plug: Tokenizer, rule: str = "deepen") -> Anchors:
    """The tokens that both vocabularies have.

    Args:
      main: the target model's tokenizer.
      plug: the plug-in's.
      rule: "deepen" (the published rule) or "bytes" (exact).

    Raises:
      UserError: there is no such rule, or nothing is in common.
    """
    if rule not in RULES:
        raise UserError(f"anchors={rule!r} is no rule; choose {' or '.join(RULES)}")
    keys = _by_string if rule == "deepen" else _by_bytes
    ours, theirs = keys(main.pipeline), keys(plug.pipeline)
    common = sorted((token for token in ours if token in theirs), key=ours.__getitem__)
    if not common:
        raise UserError(
            f"the two tokenizers have no token in common (rule {rule!r}), so neither model's words "
            "can be told to the other; take a plug-in that covers the same language"
        )
    return Anchors(
        np.asarray([ours[token] for token in common], np.int32),
        np.asarray([theirs[token] for token in common], np.int32),
        tuple(map(_shown, common)),
        rule,
    )


def _by_string(pipeline: tokenizers.Tokenizer) -> dict[Hashable, int]:
    words = sorted(_vocabulary(pipeline), key=lambda item: BYTE_SPACE in item[0])
    return _last((token.replace(BYTE_SPACE, SPACE), i) for token, i in words)


def _by_bytes(pipeline: tokenizers.Tokenizer) -> dict[Hashable, int]:
    added = pipeline.get_added_tokens_decoder()
    alphabet = _alphabet() if _byte_level(pipeline) else None
    single, whole = [], []
    for token, i in _vocabulary(pipeline):
        found = BYTE_TOKEN.fullmatch(token) if alphabet is None else None
        if i in added:
            whole.append((token if added[i].special else token.encode(), i))
        elif found:
            single.append((bytes([int(found[1], 16)]), i))
        else:
            whole.append((_bytes(token, alphabet), i))
    return _last([*single, *whole])


def _vocabulary(pipeline: tokenizers.Tokenizer) -> list[tuple[str, int]]:
    """(token, id) by id: a vocabulary comes in another order in every process."""
    return sorted(pipeline.get_vocab(with_added_tokens=True).items(), key=lambda item: item[1])


def _last(pairs: Iterable[tuple[Hashable, int]]) -> dict[Hashable, int]:
    """A later token takes the place of an earlier one with the same key."""
    return dict(pairs)


def _byte_level(pipeline: tokenizers.Tokenizer) -> bool:
    decoder = pipeline.decoder
    return decoder is not None and decoder.decode([BYTE_SPACE]) == " "


def _bytes(token: str, alphabet: Mapping[str, int] | None) -> bytes:
    if alphabet is None:
        return token.replace(SPACE, " ").encode()
    if all(character in alphabet for character in token):
        return bytes(alphabet[character] for character in token)
    return token.encode()


@functools.cache
def _alphabet() -> dict[str, int]:
    """The character that a byte-level vocabulary writes for each byte (GPT-2).

    Printable bytes of Latin-1 stand for themselves, the others are numbered from 256 on.
    """
    shown = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(0x100) if byte not in set(shown)]
    numbered = {chr(0x100 + i): byte for i, byte in enumerate(hidden)}
    return {chr(byte): byte for byte in shown} | numbered


def _shown(key: Hashable) -> str:
    if isinstance(key, bytes):
        text = key.decode("utf-8", errors="backslashreplace")
        return text if text.isprintable() else repr(text)[1:-1]
    return str(key)
