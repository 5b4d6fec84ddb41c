"""Text to token ids and back, by a tokenizer.json's own pipeline, and padded batches of them.

The pipeline of the file is used as it is. Libraries that rebuild a tokenizer from its class name
can give other ids (a Llama file's " Paris" is two tokens, a bare word mark first).
"""

import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from jaxedit.errors import UserError

Span = tuple[int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class Tokenizer:
    """One model's tokenizer.

    ``settings`` is the content of tokenizer_config.json: the special tokens' texts and, where
    stated, ``add_bos_token``, which then decides over the pipeline. ``pad_id`` falls back to
    ``eos_id``, then to 0: padding is masked, so any id will do.
    """

    pipeline: tokenizers.Tokenizer
    settings: Mapping[str, Any]
    bos_id: int | None
    eos_id: int | None
    unk_id: int | None
    pad_id: int

    @classmethod
    def of(cls, pipeline: tokenizers.Tokenizer, settings: Mapping[str, Any]) -> "Tokenizer":
        """From a pipeline and a dict with ``bos_token``, ``eos_token``, ... (texts) or None."""
        pipeline = tokenizers.Tokenizer.from_str(pipeline.to_str())
        pipeline.no_truncation()
        pipeline.no_padding()

        def special(name: str) -> int | None:
            token = settings.get(f"{name}_token")
            token = token.get("content") if isinstance(token, dict) else token
            return None if token is None else pipeline.token_to_id(token)

        bos, eos, unk, pad = (special(name) for name in ("bos", "eos", "unk", "pad"))
        fallback = 0 if eos is None else eos
        return cls(pipeline, dict(settings), bos, eos, unk, fallback if pad is None else pad)

    @classmethod
    def from_dir(cls, directory: str | Path) -> "Tokenizer":
        """From a directory's tokenizer.json and, if there, tokenizer_config.json.

        Raises UserError if a file is missing or cannot be read.
        """
        path = Path(directory) / "tokenizer.json"
        if not path.is_file():
            raise UserError(
                f"{path} does not exist; save the model's fast tokenizer there "
                "(save_pretrained of a fast tokenizer writes it)"
            )
        try:
            pipeline = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the tokenizers library raises plain Exception
            raise UserError(f"{path} is not a readable tokenizer.json ({error})") from error
        settings: dict[str, Any] = {}
        for name in ("special_tokens_map.json", "tokenizer_config.json"):
            settings |= read_json(path.with_name(name)) if path.with_name(name).is_file() else {}
        return cls.of(pipeline, settings)

    def save(self, directory: str | Path) -> None:
        """Write tokenizer.json and tokenizer_config.json."""
        directory = Path(directory)
        self.pipeline.save(str(directory / "tokenizer.json"))
        text = json.dumps(dict(self.settings), indent=2, ensure_ascii=False)
        (directory / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")

    @functools.cached_property
    def vocab_size(self) -> int:
        """One more than the largest id that the pipeline can give."""
        return 1 + max(self.pipeline.get_vocab(with_added_tokens=True).values())

    def encode(self, text: str) -> list[int]:
        """Ids of a whole text, BOS once if the file or its config says so."""
        ids = list(self._encoded(text).ids)
        return ids[1:] if self._twice(ids) else [*self._missing(ids), *ids]

    def encode_with_offsets(self, text: str) -> tuple[list[int], list[Span]]:
        """Ids, and the characters [start, end) of ``text`` that each stands for.

        Whitespace that a token begins with is left out of its span; BOS has (0, 0); the pieces
        of a character that is split into bytes all have that character's span.
        """
        made = self._encoded(text)
        ids, spans = list(made.ids), [_trim(text, span) for span in made.offsets]
        if self._twice(ids):
            return ids[1:], spans[1:]
        missing = self._missing(ids)
        return [*missing, *ids], [(0, 0) for _ in missing] + spans

    def _encoded(self, text: str) -> tokenizers.Encoding:
        adds_bos = self.settings.get("add_bos_token")
        return self.pipeline.encode(text, add_special_tokens=adds_bos is not False)

    def _twice(self, ids: Sequence[int]) -> bool:
        """The text spells out a BOS of its own."""
        return self.bos_id is not None and list(ids[:2]) == [self.bos_id, self.bos_id]

    def _missing(self, ids: Sequence[int]) -> list[int]:
        """The BOS that the config asks for and the pipeline did not put."""
        if self.bos_id is None or not self.settings.get("add_bos_token"):
            return []
        return [] if list(ids[:1]) == [self.bos_id] else [self.bos_id]

    def encode_bare(self, text: str) -> list[int]:
        """Ids of a text by itself, no special token added."""
        return list(self.pipeline.encode(text, add_special_tokens=False).ids)

    def decode(self, ids: Sequence[int], skip_special: bool = True) -> str:
        """Text of ids; bytes that are no UTF-8 become U+FFFD."""
        return self.pipeline.decode([int(i) for i in ids], skip_special_tokens=skip_special)

    def opened_text(self, ids: Sequence[int]) -> str:
        """The text of ids from a text's beginning, without BOS or what stands in its place."""
        opens = len(ids) > 0 and ids[0] in {self.bos_id, self.eos_id} - {None}
        return self.decode(ids[1:] if opens else ids, skip_special=False)

    @functools.cached_property
    def pieces(self) -> list[str]:
        """The text of every id by itself; a lone byte of a longer character is U+FFFD."""
        each = [[i] for i in range(self.vocab_size)]
        return self.pipeline.decode_batch(each, skip_special_tokens=True)

    def continuation(self, ids: Sequence[int], new: Sequence[int]) -> str:
        """Text that ``new`` adds after ``ids``, its leading space included."""
        before, whole = self.decode(ids), self.decode([*ids, *new])
        return whole[len(before) :] if whole.startswith(before) else self.decode(new)

    def encode_pair(
        self, prompt: str, target: str, legacy_targets: bool = False
    ) -> tuple[list[int], int]:
        """Ids of prompt + " " + target, and how many of them belong to the prompt.

        Prompt and whole are each encoded in one piece; the target's tokens are those after
        their common prefix. No space is put in if the prompt is empty or ends with one.

        ``legacy_targets`` encodes " " + target by itself instead and drops its BOS or UNK, as
        the published editing code does: a Llama target then starts with a bare word mark.

        Raises UserError if the target has no token.
        """
        ids = self.encode(prompt)
        if legacy_targets:
            own = self.encode(" " + target)
            own = own[1:] if own and own[0] in (self.bos_id, self.unk_id) else own
            whole, shared = ids + own, len(ids)
        else:
            space = "" if not prompt or prompt[-1].isspace() else " "
            whole = self.encode(prompt + space + target)
            shared = common_prefix(ids, whole)
        if not target.strip() or shared == len(whole):
            raise UserError(f"the target {target!r} after {prompt!r} has no token; give a text")
        return whole, shared


def _trim(text: str, span: Span) -> Span:
    start, end = span
    while start < end and text[start].isspace():
        start += 1
    return start, end


def common_prefix(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest prefix that two id sequences share."""
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


def bucket(n: int) -> int:
    """The padded length of n tokens, 16 at least.

    Steps of 8 to 32, 16 to 64, 32 to 256, 128 to 1024, then 512.

    One rule everywhere, so that few shapes are ever compiled.
    """
    step = 8 if n <= 32 else 16 if n <= 64 else 32 if n <= 256 else 128 if n <= 1024 else 512
    return max(16, round_up(n, step))


def round_up(n: int, step: int) -> int:
    """The next multiple of `step` from n on."""
    return -(-n // step) * step


def pad_batch(
    rows: Sequence[Sequence[int]], *, pad_id: int, side: str = "right", length: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """ids [B, T] int32 and mask [B, T] bool; T is ``length`` or the longest row's bucket.

    Raises ValueError if a row is longer than ``length``.
    """
    length = bucket(max(map(len, rows), default=0)) if length is None else length
    ids = np.full((len(rows), length), pad_id, np.int32)
    mask = np.zeros((len(rows), length), bool)
    for i, row in enumerate(rows):
        if len(row) > length:
            raise ValueError(f"row {i} has {len(row)} tokens, more than {length}")
        place = slice(0, len(row)) if side == "right" else slice(length - len(row), length)
        ids[i, place] = row
        mask[i, place] = True
    return ids, mask


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; UserError naming the file if it is missing, broken or something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; it is part of a Hugging Face model") from None
    except (ValueError, OSError) as error:
        raise UserError(f"{path} cannot be read as JSON ({error}); fetch it again") from error
    if not isinstance(value, dict):
        raise UserError(f"{path} holds no JSON object; fetch it again")
    return value
