"""The text that statistics are taken on: a file, a folder, the embedded world, or the model."""

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import jax

from jaxedit.data.factworld import World, corpus
from jaxedit.errors import UserError
from jaxedit.models.transformer import Transformer

EMBEDDED = "embedded"
MODEL = "model"
SAMPLED_TOKENS = 64  # new tokens of each text that a model writes
SAMPLED_ROWS = 64
IDENTITY_TEXTS = 2000  # generated texts that tell one version of the world from another


@dataclass(frozen=True)
class Corpus:
    """Where texts come from.

    Attributes:
      source: "embedded" (the embedded world's own sentences), "model" (text sampled from the
        model), or the path of a text file or a folder of them (.txt, .txt.gz), a line or,
        in a folder, a line of any file, being one document.
      seed: of what is generated.
    """

    source: str
    seed: int = 0

    def check(self) -> None:
        """Refuses a path that is not there.

        Raises:
          UserError: naming the path, and the way without one.
        """
        if self.source not in (EMBEDDED, MODEL) and not Path(self.source).exists():
            raise UserError(
                f"the corpus {self.source} does not exist; name a text file or a folder, or "
                "'model' for text sampled from the model itself"
            )

    def identity(self) -> str:
        """Changes whenever the texts may: part of the key of cached statistics."""
        if self.source == MODEL:
            return f"{self.source} {self.seed}"
        if self.source == EMBEDDED:
            sample = "\n".join(corpus(World(), IDENTITY_TEXTS, seed=self.seed))
            return f"{self.source} {self.seed} {hashlib.sha256(sample.encode()).hexdigest()}"
        digest = hashlib.sha256()
        for path in _files(Path(self.source)):
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def texts(self, lm: Transformer) -> Iterator[str]:
        """The documents, in a fixed order; without end where they are generated."""
        if self.source == EMBEDDED:
            for block in count():
                yield from corpus(World(), 1000, seed=self.seed + block)
        elif self.source == MODEL:
            yield from _sampled(lm, self.seed)
        else:
            for path in _files(Path(self.source)):
                yield from _lines(path)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return sorted(p for p in path.rglob("*") if p.name.endswith((".txt", ".txt.gz")))


def _lines(path: Path) -> Iterator[str]:
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8-sig", errors="replace") as file:
        for line in file:
            if line.strip():
                yield line.strip()


def _sampled(lm: Transformer, seed: int) -> Iterator[str]:
    """Text that the model writes from single letters on."""
    letters = [chr(ord("A") + i % 26) for i in range(SAMPLED_ROWS)]
    for block in count():
        key = jax.random.fold_in(jax.random.key(seed), block)
        new = lm.sample(letters, key, max_new_tokens=SAMPLED_TOKENS)
        yield from (letter + text for letter, text in zip(letters, new, strict=True))
