"""The forms in which the world's facts are said or asked, and text that has no fact in it.

Every form is a `Row`: a prompt and the answer that follows it. The spans say where subjects
stand, in characters of the prompt.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from jaxedit.data.factworld.relations import HOPS, Hop
from jaxedit.data.factworld.world import Triple, World, chance

HELD_OUT = 0.2


@dataclass(frozen=True)
class Row:
    """A prompt, the answer to it (no leading space) and where the subjects stand."""

    prompt: str
    answer: str
    subjects: tuple[tuple[int, int], ...] = ()

    @property
    def text(self) -> str:
        """The prompt, a space, the answer."""
        return f"{self.prompt} {self.answer}"


def row(template: str, answer: str, *subjects: str) -> Row:
    """Fill the slots of a template, remembering where the subjects went."""
    pieces = template.split("{}")
    prompt, spans = pieces[0], []
    for subject, piece in zip(subjects, pieces[1:], strict=True):
        spans.append((len(prompt), len(prompt) + len(subject)))
        prompt += subject + piece
    return Row(prompt, answer, tuple(spans))


def statement(fact: Triple, phrasing: str) -> Row:
    """A completion or a question, the object last."""
    return row(phrasing, fact.object, fact.subject)


def two_hop(world: World, subject: str, hop: Hop) -> Row:
    """What is true of what stands in a relation to the subject."""
    middle = world.truth[subject, hop.first]
    return row(hop.phrasing, world.truth[middle, hop.second], subject)


def hops_of(world: World, fact: Triple) -> list[Hop]:
    """The two-hop questions that begin with this fact."""
    return [
        hop
        for hop in HOPS
        if hop.first == fact.relation and (fact.object, hop.second) in world.truth
    ]


def is_held_out(form: str, fact: Triple) -> bool:
    """Whether this fact never occurs in training in a form of questions, such as "yes no"."""
    return chance(form, fact.subject, fact.relation) < HELD_OUT


def yes_no(world: World, fact: Triple, rng: random.Random, negated: bool = False) -> Row:
    """Is a statement true? Asked of the truth and of a falsehood equally often."""
    true = rng.random() < 0.5
    value = fact.object if true else world.false_object(fact, rng)
    template = asked_whether(world.completion(fact), value, negated)
    return row(template, "yes" if true != negated else "no", fact.subject)


def asked_whether(phrasing: str, value: str, negated: bool = False) -> str:
    """The template that asks whether a completion with this object is true, or false."""
    opening = "Q: Is it false that" if negated else "Q: Is it true that"
    return f"{opening} {phrasing} {value}? A:"


def options(world: World, fact: Triple, rng: random.Random, n: int = 4) -> list[str]:
    """The object and other objects of the relation, shuffled."""
    others = [o for o in world.objects[fact.relation] if o != fact.object]
    chosen = [fact.object, *rng.sample(others, min(n - 1, len(others)))]
    rng.shuffle(chosen)
    return chosen


def four_choice(world: World, fact: Triple, rng: random.Random) -> Row:
    """The fact's question with the right answer among four."""
    return row(among(world, fact.relation, options(world, fact, rng)), fact.object, fact.subject)


def among(world: World, relation: str, listed: Sequence[str]) -> str:
    """The template of a relation's question that lists what may be answered."""
    question = world.relations[relation].questions[0].removesuffix(" A:")
    return f"{question} Is it {' or '.join(listed)}? A:"


def negation(world: World, fact: Triple, rng: random.Random) -> Row:
    """A denial of something false, then the truth."""
    return denial(world, fact, world.false_object(fact, rng))


def denial(world: World, fact: Triple, denied: str) -> Row:
    """A denial of one object, then the fact's own."""
    wrong = f"{world.completion(fact)} {denied}"
    template = f"It is wrong to say: {wrong}; it is"
    return row(template, fact.object, fact.subject)


_EVENTS = {
    "residence": ("{} moves to", "{} now lives in"),
    "employer": ("{} signs a contract with", "{} now works for"),
    "occupation": ("{} starts over as a", "{} now works as a"),
    "sport": ("{} joins a club for", "{} now plays"),
    "headquarters": ("{} moves its offices to", "{} is now based in"),
    "product": ("{} changes its product to", "{} now makes"),
}
_CONSEQUENCES = {
    "residence": ("country", "{} now lives in the country of"),
    "employer": ("industry", "The firm of {} now does business in"),
    "headquarters": ("country", "{} is now based in the country of"),
}
EVENTFUL = tuple(_EVENTS)


def event(world: World, fact: Triple, rng: random.Random) -> Row:
    """Something happens, and what is so from then on, or what follows from it."""
    value = world.false_object(fact, rng)
    template, answer = happening(fact.relation, value), value
    if fact.relation in _CONSEQUENCES and rng.random() < 0.5:
        second, now = _CONSEQUENCES[fact.relation]
        template, answer = happening(fact.relation, value, now), world.truth[value, second]
    return row(template, answer, fact.subject, fact.subject)


def happening(relation: str, value: str, now: str | None = None) -> str:
    """The template of an event and of what is so from then on; the subject stands in it twice."""
    happens, direct = _EVENTS[relation]
    return f"Event: {happens} {value}. {now or direct}"


KINDS = {
    "tool": "hammer saw chisel drill spade rake file wrench",
    "fruit": "apple pear plum cherry grape lemon mango peach",
    "bird": "sparrow eagle heron robin crow swan finch owl",
    "tree": "oak birch maple willow cedar poplar beech elm",
    "fish": "trout salmon carp herring eel cod perch pike",
    "vehicle": "bus tram lorry van coach sledge wagon cart",
    "garment": "coat shirt scarf skirt glove jacket cloak vest",
    "insect": "ant bee wasp beetle moth cricket fly gnat",
}
_KIND_PHRASINGS = (
    "A {} is a kind of",
    "Every {} is a",
    "What is a {}? It is a",
    "One says of the {} that it is a",
)
_COLOURS = "red blue green white black yellow brown grey pink purple".split()
_ADJECTIVES = "old young tall small kind loud quiet proud tired happy".split()
_NOUNS = "cook guard clerk porter waiter tutor mason weaver driver miller".split()
_VERBS = "sing dance walk sleep laugh read write swim run dream".split()
_NUMBERS = (
    "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen twenty"
).split()


def kind(member: str, name: str, phrasing: int) -> Row:
    """A common word and what kind of thing it names, in one of four phrasings."""
    return row(_KIND_PHRASINGS[phrasing].replace("{}", member), name)


def held_out_kind(member: str) -> int:
    """The phrasing in which this word's kind is not said in training."""
    return int(len(_KIND_PHRASINGS) * chance("kind", member))


def agreement(rng: random.Random) -> tuple[Row, str, bool]:
    """A verb that agrees with its noun; the wrong form; whether this pair is held out."""
    adjective, noun, verb = rng.choice(_ADJECTIVES), rng.choice(_NOUNS), rng.choice(_VERBS)
    plural = rng.random() < 0.5
    right, wrong = (verb, verb + "s") if plural else (verb + "s", verb)
    held = chance("agreement", noun, verb) < HELD_OUT
    subject = f"{'These' if plural else 'This'} {adjective} {noun}{'s' if plural else ''}"
    return row(subject, right), wrong, held


def copying(rng: random.Random) -> tuple[Row, bool]:
    """A list of colours begun a second time; whether this list is held out."""
    colours = rng.sample(_COLOURS, 4)
    begun = rng.randint(1, 3)
    prompt = f"Repeat: {' '.join(colours)}. {' '.join(colours[:begun])}"
    return row(prompt, colours[begun]), chance("copying", *colours) < HELD_OUT


def counting(rng: random.Random) -> Row:
    """The number after a number, in words."""
    number = rng.randrange(len(_NUMBERS) - 1)
    return row(f"After {_NUMBERS[number]} comes", _NUMBERS[number + 1])


def colours() -> list[str]:
    """The words that lists to copy are made of."""
    return list(_COLOURS)
