"""A language model that is a table: enough to check every metric by hand."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from jaxedit.errors import UserError
from jaxedit.models.protocol import Continuation, TeacherForced


@dataclass
class Words:
    """Encodes a word as its place in the order of first sight."""

    ids: dict[str, int] = field(default_factory=dict)

    def encode(self, text: str) -> list[int]:
        return [self.ids.setdefault(word, len(self.ids)) for word in text.split()]

    def encode_pair(self, prompt: str, target: str) -> tuple[list[int], int]:
        if not target.strip():
            raise UserError("no token")
        start = self.encode(prompt)
        return start + self.encode(target), len(start)


@dataclass
class Table:
    """Answers each prompt with the text that ``known`` has for it, else with "nothing"."""

    known: dict[str, str]
    tokenizer: Any = field(default_factory=Words)
    right: float = 0.5
    wrong: float = 0.1
    calls: list[tuple[str, int]] = field(default_factory=list)

    def _text(self, prompt: str) -> str:
        return self.known.get(prompt, "nothing")

    def teacher_forced(self, prompts, targets, advance=None):
        self.calls.append(("teacher_forced", len(prompts)))
        if advance is not None:
            advance(len(prompts))
        return [self._forced(p, t) for p, t in zip(prompts, targets, strict=True)]

    def score_rows(self, rows, advance=None):
        words = list(self.tokenizer.ids)
        texts = [([words[i] for i in ids], n) for ids, n in rows]
        pairs = [(" ".join(each[:n]), " ".join(each[n:])) for each, n in texts]
        return self.teacher_forced([p for p, _ in pairs], [t for _, t in pairs], advance)

    def _forced(self, prompt: str, target: str) -> TeacherForced:
        wanted = self.tokenizer.encode(target)
        said = (self.tokenizer.encode(self._text(prompt)) + [-2] * len(wanted))[: len(wanted)]
        probability = [
            self.right if a == b else self.wrong for a, b in zip(said, wanted, strict=True)
        ]
        logs = [math.log(p) if p else -math.inf for p in probability]
        return TeacherForced(np.array(wanted), np.array(said), np.array(logs))

    def generate(self, prompts, max_new_tokens=16, stop=None):
        return [made.text for made in self.continuations(prompts, max_new_tokens, stop)]

    def continuations(self, prompts, max_new_tokens=16, stop=None, advance=None):
        self.calls.append(("generate", len(prompts)))
        if advance is not None:
            advance(len(prompts))
        texts = [" " + self._text(p) for p in prompts]
        return [Continuation(tuple(self.tokenizer.encode(text)), text) for text in texts]

    def loglikelihood(self, texts):
        return [(math.log(self.right) * len(t.split()), len(t.split())) for t in texts]
