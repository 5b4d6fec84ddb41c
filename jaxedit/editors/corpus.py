"""The text that statistics are taken on: a file, a folder, the embedded world, or the model."""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import IO

import jax

from jaxedit.data.factworld import World, corpus
from jaxedit.data.files import GZIP, kind, parse_json
from jaxedit.errors import UserError
from jaxedit.models.transformer import Transformer

EMBEDDED = "embedded"
MODEL = "model"
SAMPLED_TOKENS = 64  # new tokens of each text that a model writes
SAMPLED_ROWS = 64
EMBEDDED_BLOCK = 1000  # texts of the embedded world made at once
IDENTITY_TEXTS = 2000  # generated texts that tell one version of the world from another
ENDINGS = (".txt", ".txt.gz", ".jsonl", ".jsonl.gz")


@dataclass(frozen=True)
class Corpus:
    """Where texts come from.

    Attributes:
      source: "embedded" (the embedded world's own sentences), "model" (text sampled from the
        model), or the path of a file or of a folder of them. A line is a document: of text, or,
        in a .jsonl file, a JSON object with the document under "text". Files may be gzipped.
      seed: of what is generated.
    """

    source: str
    seed: int = 0

    def check(self) -> None:
        """Refuses a path that is not there, and a folder without texts.

        Raises:
          UserError: naming the path, and the way without one.
        """
        if self.source in (EMBEDDED, MODEL):
            return
        instead = "name a text file or a folder, or 'model' for text sampled from the model itself"
        if not Path(self.source).exists():
            raise UserError(f"the corpus {self.source} does not exist; {instead}")
        if not _files(Path(self.source)):
            raise UserError(
                f"the corpus {self.source} has no file that ends with {', '.join(ENDINGS)}; "
                f"{instead}"
            )

    def identity(self) -> str:
        """Changes whenever the texts may: part of the key of cached statistics."""
        if self.source == MODEL:
            return f"{self.source} {self.seed} {SAMPLED_ROWS}x{SAMPLED_TOKENS}"
        if self.source == EMBEDDED:
            sample = "\n".join(corpus(World(), IDENTITY_TEXTS, seed=self.seed))
            return f"{self.source} {self.seed} {hashlib.sha256(sample.encode()).hexdigest()}"
        digest = hashlib.sha256()
        for path in _files(Path(self.source)):
            with path.open("rb") as file:
                digest.update(b"json" if _is_json(path) else b"text")
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def texts(self, lm: Transformer, start: int = 0) -> Iterator[str]:
        """The documents from the one with number `start` on, in a fixed order.

        Without end where they are generated.

        Raises:
          UserError: a file is damaged, or a JSON line has no text; it is named.
        """
        if self.source == EMBEDDED:
            return _blocks(self._embedded, EMBEDDED_BLOCK, start)
        if self.source == MODEL:
            return _blocks(lambda block: _sampled(lm, self.seed, block), SAMPLED_ROWS, start)
        lines = (text for path in _files(Path(self.source)) for text in _lines(path))
        return islice(lines, start, None)

    def _embedded(self, block: int) -> list[str]:
        return corpus(World(), EMBEDDED_BLOCK, seed=self.seed + block)


def _blocks(make, size: int, start: int) -> Iterator[str]:
    """Texts made `size` at a time, from number `start` on; blocks before it are not made."""
    first, skip = divmod(start, size)
    for block in count(first):
        yield from make(block)[skip:]
        skip = 0


def _sampled(lm: Transformer, seed: int, block: int) -> list[str]:
    """Texts that the model writes from single letters on."""
    letters = [chr(ord("A") + i % 26) for i in range(SAMPLED_ROWS)]
    key = jax.random.fold_in(jax.random.key(seed), block)
    new = lm.sample(letters, key, max_new_tokens=SAMPLED_TOKENS)
    return [letter + text for letter, text in zip(letters, new, strict=True)]


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(p for p in path.rglob("*") if p.name.endswith(ENDINGS) and p.is_file())


def _is_json(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith(".jsonl")


def _lines(path: Path) -> Iterator[str]:
    """The documents of one file, those without text left out."""
    with _opened(path) as file:
        try:
            for number, line in enumerate(file, start=1):
                text = line.strip()
                if text and _is_json(path):
                    text = _text(text, path, number)
                if text:
                    yield text
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise UserError(f"{path}: the gzip file is damaged; fetch it again") from None


def _opened(path: Path) -> IO[str]:
    """For reading; gzipped or not is told by the content, not by the name."""
    with path.open("rb") as file:
        gzipped = file.read(len(GZIP)) == GZIP
    opened = gzip.open if gzipped else open
    return opened(path, "rt", encoding="utf-8-sig", errors="replace")


def _text(line: str, path: Path, number: int) -> str:
    """The document of a JSON line."""
    value = parse_json(line, str(path), number)
    if not isinstance(value, dict):
        raise UserError(f'{path}:{number}: {kind(value)} stands here; write {{"text": ...}} a line')
    if not isinstance(value.get("text"), str):
        raise UserError(f'{path}:{number}: no text under "text"; write {{"text": ...}} a line')
    return value["text"].strip()
