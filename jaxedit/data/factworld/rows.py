"""What a model of the world is trained on: a seeded stream of rows, and sentences for statistics.

A training row is one sentence or several, each with its subjects and answer marked; about half
of the facts stand behind other sentences, so that a subject is known in any company.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from jaxedit.data.factworld import forms
from jaxedit.data.factworld.forms import HELD_OUT, KINDS, Row
from jaxedit.data.factworld.relations import HOPS
from jaxedit.data.factworld.world import World, chance


@dataclass(frozen=True)
class TrainingRow:
    """Sentences joined by ". "; spans are (start, end) characters of the text.

    `parts` are the whole sentences, `subjects` and `answers` their marked pieces, each with the
    index of its sentence first.
    """

    text: str
    parts: tuple[tuple[int, int], ...]
    subjects: tuple[tuple[int, int, int], ...]
    answers: tuple[tuple[int, int, int], ...]


def join(sentences: list[Row]) -> TrainingRow:
    """Sentences one after another, their spans moved along."""
    text, parts, subjects, answers = "", [], [], []
    for index, sentence in enumerate(sentences):
        start = len(text)
        subjects += [(index, start + a, start + b) for a, b in sentence.subjects]
        answers.append((index, start + len(sentence.prompt) + 1, start + len(sentence.text)))
        text += sentence.text
        parts.append((start, len(text)))
        text += ". " if index + 1 < len(sentences) else ""
    return TrainingRow(text, tuple(parts), tuple(subjects), tuple(answers))


def training_rows(
    world: World, seed: int, facts_share: float = 0.8, longest: int = 3
) -> Iterator[TrainingRow]:
    """An endless stream of rows; every trained (fact, phrasing) pair comes once an epoch.

    `facts_share` of the sentences are plain facts; a row has 1 to `longest` sentences, half of
    the rows one.
    """
    rng = random.Random(f"rows {seed}")
    facts = _epochs(world, rng)
    others = _others(world, rng)
    while True:
        size = 1 if rng.random() < 0.5 else rng.randint(2, longest)
        yield join([next(facts if rng.random() < facts_share else others) for _ in range(size)])


def _epochs(world: World, rng: random.Random) -> Iterator[Row]:
    pairs = [(fact, phrasing) for fact in world.facts for phrasing in world.trained(fact)]
    while True:
        rng.shuffle(pairs)
        yield from (forms.statement(*pair) for pair in pairs)


def _others(world: World, rng: random.Random) -> Iterator[Row]:
    makers: tuple[Callable[[World, random.Random], Row | None], ...] = (
        _two_hop, _two_hop, _yes_no, _yes_no, _four_choice, _negation, _event,
        _kind, _agreement, _copying, _counting,
    )  # fmt: skip
    while True:
        made = rng.choice(makers)(world, rng)
        if made is not None:
            yield made


def _two_hop(world: World, rng: random.Random) -> Row | None:
    hop = rng.choice(HOPS)
    fact = rng.choice(world.by_relation[hop.first])
    if chance("two hop", fact.subject, hop.phrasing) < HELD_OUT:
        return None
    return forms.two_hop(world, fact.subject, hop)


def _yes_no(world: World, rng: random.Random) -> Row | None:
    fact = rng.choice(world.facts)
    if forms.is_held_out("yes no", fact):
        return None
    return forms.yes_no(world, fact, rng, negated=rng.random() < 0.25)


def _four_choice(world: World, rng: random.Random) -> Row | None:
    fact = rng.choice(world.facts)
    if forms.is_held_out("four choice", fact):
        return None
    return forms.four_choice(world, fact, rng)


def _negation(world: World, rng: random.Random) -> Row:
    return forms.negation(world, rng.choice(world.facts), rng)


def _event(world: World, rng: random.Random) -> Row:
    relation = rng.choice(forms.EVENTFUL)
    return forms.event(world, rng.choice(world.by_relation[relation]), rng)


def _kind(world: World, rng: random.Random) -> Row:
    name = rng.choice(list(KINDS))
    member = rng.choice(KINDS[name].split())
    held = forms.held_out_kind(member)
    return forms.kind(member, name, rng.choice([p for p in range(4) if p != held]))


def _agreement(world: World, rng: random.Random) -> Row | None:
    made, _, held = forms.agreement(rng)
    return None if held else made


def _copying(world: World, rng: random.Random) -> Row | None:
    made, held = forms.copying(rng)
    return None if held else made


def _counting(world: World, rng: random.Random) -> Row:
    return forms.counting(rng)


def corpus(world: World, n: int, seed: int = 0) -> list[str]:
    """`n` texts of the world, for second-moment statistics (and perplexity)."""
    rows = training_rows(world, seed=1_000_003 + seed)
    return [next(rows).text for _ in range(n)]


def about_no_fact(world: World, rng: random.Random) -> Iterator[Row]:
    """Sentences without a subject of the world: kinds of things, verbs, lists, counting."""
    while True:
        for make in (_kind, _agreement, _copying, _counting):
            made = make(world, rng)
            if made is not None:
                yield made
