"""The embedded world: who and what is in it, and what is true there."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from jaxedit.data.factworld import names
from jaxedit.data.factworld import relations as words
from jaxedit.data.factworld.geography import COUNTRIES, elements
from jaxedit.data.factworld.relations import N_PHRASINGS, Relation

N_PEOPLE = 160
N_FIRMS = 48


@dataclass(frozen=True)
class Triple:
    """One thing that is true: `subject` stands in `relation` to `object`."""

    subject: str
    relation: str
    object: str


def chance(*key: object) -> float:
    """A fixed number in [0, 1) for a key: the coin that decides what is held out."""
    return random.Random("|".join(map(str, key))).random()


@dataclass(frozen=True)
class World:
    """All facts of the embedded world; the shipped models were trained on `World(0)`.

    Countries and elements are real; people and firms are invented from `seed`.
    """

    seed: int = 0

    @cached_property
    def people(self) -> tuple[str, ...]:
        """Names of the invented people, first and family name."""
        return tuple(names.people(random.Random(f"people {self.seed}"), N_PEOPLE))

    @cached_property
    def firms(self) -> tuple[str, ...]:
        """Names of the invented firms, one word each."""
        return tuple(names.firms(random.Random(f"firms {self.seed}"), N_FIRMS))

    @cached_property
    def relations(self) -> dict[str, Relation]:
        """The twenty relations by name, with their phrasings."""
        return words.relations()

    @cached_property
    def facts(self) -> tuple[Triple, ...]:
        """Every fact, grouped by subject."""
        return (*self._personal(), *self._commercial(), *_geographic(), *_chemical())

    @cached_property
    def truth(self) -> dict[tuple[str, str], str]:
        """(subject, relation) -> object."""
        return {(fact.subject, fact.relation): fact.object for fact in self.facts}

    @cached_property
    def objects(self) -> dict[str, tuple[str, ...]]:
        """relation -> its different objects, sorted."""
        found: dict[str, set[str]] = {name: set() for name in self.relations}
        for fact in self.facts:
            found[fact.relation].add(fact.object)
        return {name: tuple(sorted(members)) for name, members in found.items()}

    @cached_property
    def by_relation(self) -> dict[str, tuple[Triple, ...]]:
        """relation -> its facts, in the order of `facts`."""
        return {
            name: tuple(fact for fact in self.facts if fact.relation == name)
            for name in self.relations
        }

    @cached_property
    def by_subject(self) -> dict[str, tuple[Triple, ...]]:
        """subject -> its facts, in the order of `facts`."""
        found: dict[str, list[Triple]] = {}
        for fact in self.facts:
            found.setdefault(fact.subject, []).append(fact)
        return {subject: tuple(facts) for subject, facts in found.items()}

    def held_out(self, fact: Triple) -> str:
        """The phrasing (template) in which this one fact does not occur in training.

        Other subjects do occur in it.
        """
        index = int(N_PHRASINGS * chance("held out", fact.subject, fact.relation))
        return self.relations[fact.relation].phrasings[index]

    def trained(self, fact: Triple) -> tuple[str, ...]:
        """The phrasings (templates) in which this fact occurs in training; first a completion."""
        held = self.held_out(fact)
        return tuple(p for p in self.relations[fact.relation].phrasings if p != held)

    def completion(self, fact: Triple) -> str:
        """A trained completion of this fact, spread evenly over the relation's four."""
        return self._one("completion", self.relations[fact.relation].completions, fact)

    def question(self, fact: Triple) -> str:
        """A trained question about this fact, spread evenly over the relation's two."""
        return self._one("question", self.relations[fact.relation].questions, fact)

    def _one(self, key: str, phrasings: Sequence[str], fact: Triple) -> str:
        choices = [phrasing for phrasing in phrasings if phrasing != self.held_out(fact)]
        return choices[int(len(choices) * chance(key, fact.subject, fact.relation))]

    def false_object(self, fact: Triple, rng: random.Random) -> str:
        """Another object of the same relation, each as likely."""
        return rng.choice([o for o in self.objects[fact.relation] if o != fact.object])

    def _personal(self) -> Iterator[Triple]:
        languages = sorted({row[3] for row in COUNTRIES.values()})
        cities = [row[0] for row in COUNTRIES.values()]
        pools = (cities, cities, words.OCCUPATIONS, languages, self.firms, words.SPORTS,
                 words.INSTRUMENTS, words.FIELDS)  # fmt: skip
        yield from _draw(self.people, words.PEOPLE, pools, random.Random(f"lives {self.seed}"))

    def _commercial(self) -> Iterator[Triple]:
        cities = [row[0] for row in COUNTRIES.values()]
        pools = (cities, words.INDUSTRIES, words.PRODUCTS, list(COUNTRIES))
        yield from _draw(self.firms, words.FIRMS, pools, random.Random(f"trade {self.seed}"))


def _draw(
    subjects: Sequence[str],
    relation_names: Sequence[str],
    pools: Sequence[Sequence[str]],
    rng: random.Random,
) -> Iterator[Triple]:
    """For every subject one object a relation, drawn from that relation's pool."""
    for subject in subjects:
        for relation, pool in zip(relation_names, pools, strict=True):
            yield Triple(subject, relation, rng.choice(pool))


def _geographic() -> Iterator[Triple]:
    for country, row in COUNTRIES.items():
        for relation, value in zip(words.COUNTRY, row, strict=True):
            yield Triple(country, relation, value)
        yield Triple(row[0], "country", country)


def _chemical() -> Iterator[Triple]:
    for element, row in elements().items():
        for relation, value in zip(words.ELEMENT, row, strict=True):
            yield Triple(element, relation, value)
