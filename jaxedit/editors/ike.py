"""IKE: the nearest fact behind demonstrations of what a fact changes and what it leaves alone.

Zheng et al. 2023, "Can We Edit Factual Knowledge by In-Context Learning?": each demonstration is
another fact with a question: its own ("copy"), another wording of it ("update"), or one that it
does not touch ("retain"), 1 : 3 : 4, those most like the fact, the one most like it last. Then the
fact itself, with its own question, and the fact again before what is asked.

Published IKE is told which fact a question is about. Here it is looked up, so a question about
something else may come behind a fact that does not concern it; an arm that edits alone, with
``threshold`` None, is the published oracle.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from jaxedit.data.fact import Fact
from jaxedit.editors.in_context import Remembered, Retrieval, Threshold, said
from jaxedit.errors import UserError
from jaxedit.models.features import cosines
from jaxedit.models.transformer import Transformer


@dataclasses.dataclass(frozen=True)
class Ike(Retrieval):
    """The nearest fact behind demonstrations.

    Attributes:
      shown: demonstrations, those most like the fact; 16 in EasyEdit, which has no quota.
      seed: which of a demonstration's questions is asked, and of which kind.
    """

    threshold: Threshold = None
    shown: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises UserError for a setting that makes no sense."""
        super().__post_init__()
        if self.most != 1 or self.form != Retrieval.form:
            raise UserError("ike puts one fact before a question, in its own form; leave both out")
        if self.shown < 0:
            raise UserError(f"shown is {self.shown}; give the number of demonstrations")

    @property
    def needs_demonstrations(self) -> bool:
        """Whether any are shown, or a threshold is learned from them."""
        return self.shown > 0 or super().needs_demonstrations

    def front(self, state: Remembered, places: Sequence[int], vectors: np.ndarray) -> str:
        """The demonstrations, the fact with its own question, and the fact before the next."""
        [place] = places
        fact = state.facts[place]
        count = min(self.shown, len(state.pool))
        order = np.argsort(cosines(vectors, state.pool)[0], kind="stable")
        rng = np.random.default_rng((self.seed, place))
        kinds = rng.permutation(kinds_of(count))
        shown = [
            demonstration(self.demonstrations[i], kind, rng)
            for i, kind in zip(order[len(order) - count :], kinds, strict=True)
        ]
        own = demonstration(fact, "copy", rng)
        return "".join([*shown, own, f"New Fact: {said(fact)}\nPrompt: "])

    def _pool(self, lm: Transformer) -> np.ndarray:
        facts = self._needed("ike") if self.shown else ()
        return self._features(lm, [fact.question for fact in facts])


def kinds_of(count: int) -> list[str]:
    """So many kinds of demonstrations: copy, update and retain in the ratio 1 : 3 : 4."""
    retain, update = count // 2, 3 * count // 8
    return ["retain"] * retain + ["update"] * update + ["copy"] * (count - retain - update)


def demonstration(fact: Fact, kind: str, rng: np.random.Generator) -> str:
    """A fact and a question of this kind with its answer; "copy" where the fact has no other."""
    prompt, answer = fact.question, fact.target
    if kind == "update" and fact.paraphrases:
        prompt = _own_sentence(fact.paraphrases[rng.integers(len(fact.paraphrases))], fact.subject)
    elif kind == "retain" and fact.neighbours:
        asked = fact.neighbours[rng.integers(len(fact.neighbours))]
        prompt, answer = asked.prompt, asked.answer
    return f"New Fact: {said(fact)}\nPrompt: {prompt} {answer}\n\n"


def _own_sentence(prompt: str, subject: str) -> str:
    """A paraphrase without what CounterFact's have before their subject's sentence."""
    before = prompt[: max(0, prompt.find(subject))]
    start = max(before.rfind(". "), before.rfind("\n")) + 1
    return prompt[start:].lstrip()
