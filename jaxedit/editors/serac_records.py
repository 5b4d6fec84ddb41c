"""What SERAC's two parts are trained on: questions inside and outside the scope of edits.

Inside are a record's own question and its paraphrases. Outside are its neighbours, and what other
records ask about the same subject: "The home of X is in" is not about X's sport.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np

from jaxedit.data.fact import SLOT, Fact
from jaxedit.editors.rows import TargetRows, fill
from jaxedit.editors.scope import Reading
from jaxedit.errors import UserError
from jaxedit.models.protocol import Row
from jaxedit.models.text import pad_batch, round_up
from jaxedit.models.transformer import Transformer

Key = Literal["question", "published"]
Asked = tuple[str, str]  # a prompt and what is answered to it


class Records(NamedTuple):
    """n training records.

    Attributes:
      facts: themselves.
      keys: of each, the text that stands for it in the classifier.
      inside: of each, the questions in its scope.
      outside: of each, questions that are not, with answers.
      targets: of each, what might be answered.
      features: [U, F] float32, of every text.
      rows: text -> its row of the features.
    """

    facts: tuple[Fact, ...]
    keys: tuple[str, ...]
    inside: tuple[tuple[str, ...], ...]
    outside: tuple[tuple[Asked, ...], ...]
    targets: tuple[tuple[str, ...], ...]
    features: np.ndarray
    rows: dict[str, int]

    def read(self, texts: Iterable[str]) -> np.ndarray:
        """[N, F] features."""
        return self.features[[self.rows[text] for text in texts]]


class Drawn(NamedTuple):
    """B questions of each kind, among the keys of C edits, the first B of which they belong to.

    Attributes:
      keys: [C] records; those behind the first B are there to be told apart from.
      inside: a question in the scope of each.
      edits: each edit's text.
      answers: what is to be answered.
      outside: a question that is not in any scope, with an answer.
      inside_apart, outside_apart: [B, C] bool, the keys whose scope a question is not in.
    """

    keys: np.ndarray
    inside: list[str]
    edits: list[str]
    answers: list[str]
    outside: list[Asked]
    inside_apart: np.ndarray
    outside_apart: np.ndarray


def key_text(fact: Fact, key: Key, form: str) -> str:
    """The text that stands for an edit in the classifier.

    "question": the question as it is asked. "published": question and target without the last word
    that a space sets apart, which drops one word of a target of several.
    """
    if key == "question":
        return fill(form, fact.question)
    return edit_text(fact.question, fact.target).rsplit(" ", 1)[0]


def edit_text(question: str, target: str) -> str:
    """What the counterfactual model reads of an edit."""
    return f"{question} {target}"


def tokens_read(lm: Transformer, facts: Sequence[Fact], some: int = 100) -> float:
    """About how many tokens an edit has with a question behind it."""
    texts = [edit_text(fact.question, fact.target) for fact in facts[:some]]
    return 2 * float(np.mean([len(lm.tokenizer.encode(text)) for text in texts]))


def records(
    lm: Transformer,
    facts: Sequence[Fact],
    reading: Reading,
    *,
    key: Key,
    form: str = SLOT,
    swap: bool = True,
) -> Records:
    """Reads all texts of the records.

    Args:
      lm: whose states are the features.
      facts: at least two.
      reading: where.
      key: see `key_text`.
      form: what questions are asked in.
      swap: take as targets whatever is answered to questions of the same group, so that the answer
        must be read from the edit and cannot be learned.
    """
    if len(facts) < 2:
        raise UserError(f"SERAC needs two training records at least, not {len(facts)}")
    groups: dict[str, dict[str, None]] = defaultdict(dict)
    for fact in facts:
        known = (fact.target, fact.previous, *(near.answer.strip() for near in fact.neighbours))
        groups[fact.group] |= dict.fromkeys(answer for answer in known if answer)
    keys = tuple(key_text(fact, key, form) for fact in facts)
    inside = tuple(
        tuple(fill(form, prompt) for prompt in (fact.question, *fact.paraphrases)) for fact in facts
    )
    outside = tuple(_outside(facts, form))
    texts = [*keys, *(t for each in inside for t in each), *(p for own in outside for p, _ in own)]
    rows = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    targets = tuple(
        tuple(groups[fact.group]) if swap and fact.group else (fact.target,) for fact in facts
    )
    found = reading.of(lm, list(rows))
    return Records(tuple(facts), keys, inside, outside, targets, found, rows)


def _outside(facts: Sequence[Fact], form: str) -> Iterable[tuple[Asked, ...]]:
    """Of each record its neighbours and its subject's other questions; else the next record's."""
    subjects: dict[str, list[Fact]] = defaultdict(list)
    for fact in facts:
        subjects[fact.subject].append(fact)
    for i, fact in enumerate(facts):
        known = {fact.question, *fact.paraphrases}
        asked = [(near.prompt, near.answer) for near in fact.neighbours]
        asked += [
            (p, f.target) for f in subjects[fact.subject] for p in (f.question, *f.paraphrases)
        ]
        own = [(prompt, answer) for prompt, answer in asked if prompt not in known]
        following = facts[(i + 1) % len(facts)]
        own = own or [(following.question, following.target)]
        yield tuple((fill(form, prompt), answer.strip()) for prompt, answer in own)


def draw(
    made: Records, places: np.ndarray, others: np.ndarray, rng: np.random.Generator, most: int
) -> Drawn:
    """Questions about some records.

    Args:
      made: all records.
      places: [B], whose questions.
      others: records that the `most` other keys are drawn from.
      rng: for everything that is drawn.
      most: keys besides their own.
    """

    def one(many: Sequence[str]) -> str:
        return many[int(rng.integers(len(many)))]

    rest = np.setdiff1d(others, places)
    # As many in every call, whatever is left: no shape is compiled anew.
    more = rng.permutation(rest)[:most] if len(rest) >= most else rng.choice(others, most)
    keys = np.concatenate([places, more]).astype(np.int64)
    inside = [one(made.inside[i]) for i in places]
    outside = [made.outside[i][int(rng.integers(len(made.outside[i])))] for i in places]
    answers = [one(made.targets[i]) for i in places]
    edits = [edit_text(made.facts[i].question, t) for i, t in zip(places, answers, strict=True)]
    scopes = [frozenset(made.inside[i]) for i in keys]

    def apart(prompts: Iterable[str]) -> np.ndarray:
        return np.array([[prompt not in scope for scope in scopes] for prompt in prompts])

    return Drawn(keys, inside, edits, answers, outside, apart(inside), apart(p for p, _ in outside))


def behind(lm: Transformer, edit: str, prompt: str, row: Row) -> Row:
    """A prompt's (ids, n) with an edit before it; the target's tokens stay as they are."""
    ids, n = row
    given = lm.prompt_row(f"{edit} {prompt}")
    return [*given, *ids[n:]], len(given)


def laid_out(rows: Sequence[Row]) -> TargetRows:
    """(ids, n) padded on the right; ids[n:] are predicted, and the last of them is not fed.

    To a bucket, so that the batches of a training have few shapes.
    """
    ids, mask = pad_batch([row[:-1] for row, _ in rows], pad_id=0)
    most = round_up(max(len(row) - n for row, n in rows), 4)
    places = [list(range(n - 1, len(row) - 1)) for row, n in rows]
    predict, some = pad_batch(places, pad_id=0, length=most)
    target, _ = pad_batch([row[n:] for row, n in rows], pad_id=0, length=most)
    return TargetRows(ids, mask, predict, target, some.astype(bool))
