"""The world's own downstream tests: multiple choice by likelihood, on items never trained on."""

from __future__ import annotations

import random
from dataclasses import dataclass

from jaxedit.data.factworld import forms
from jaxedit.data.factworld.forms import HELD_OUT, KINDS
from jaxedit.data.factworld.world import Triple, World, chance


@dataclass(frozen=True)
class Item:
    """The model should give `prompt + " " + choices[answer]` the highest likelihood."""

    prompt: str
    choices: tuple[str, ...]
    answer: int


def downstream(world: World, n: int = 50) -> dict[str, tuple[Item, ...]]:
    """Six tests of `n` items each, none of them seen in training in this form.

    facts: a statement in the phrasing held out for it, four objects. four_choice: facts held out
    of this form. two_hop: held-out two-hop questions, four answers. kinds: common words in the
    phrasing held out for them, four kinds. agreement: singular or plural verb, with the full stop
    behind it, since one is the beginning of the other. copying: the next word of a repeated list,
    four words.

    A guess gets a quarter of them, of `agreement` half. Whether a statement is true (`statements`)
    is asked apart: models as small as the shipped ones do not learn to tell.
    """
    rng = random.Random(f"downstream {world.seed}")
    return {
        "facts": tuple(_facts(world, rng, n)),
        "four_choice": tuple(_four_choice(world, rng, n)),
        "two_hop": tuple(_two_hop(world, rng, n)),
        "kinds": tuple(_kinds(rng, n)),
        "agreement": tuple(_agreement(rng, n)),
        "copying": tuple(_copying(rng, n)),
    }


def _held(world: World, form: str) -> list[Triple]:
    return [fact for fact in world.facts if forms.is_held_out(form, fact)]


def _item(prompt: str, choices: list[str], right: str) -> Item:
    return Item(prompt, tuple(choices), choices.index(right))


def _facts(world: World, rng: random.Random, n: int) -> list[Item]:
    return [
        _item(
            world.held_out(fact).replace("{}", fact.subject),
            forms.options(world, fact, rng),
            fact.object,
        )
        for fact in rng.sample(world.facts, n)
    ]


def statements(world: World, n: int = 50) -> tuple[Item, ...]:
    """`n` yes-or-no questions about facts held out of this form, as many true as false ones."""
    rng = random.Random(f"statements {world.seed}")
    wanted = {"yes": (n + 1) // 2, "no": n // 2}
    items = []
    for fact in rng.sample(_held(world, "yes no"), len(_held(world, "yes no"))):
        row = forms.yes_no(world, fact, rng)
        if wanted[row.answer]:
            wanted[row.answer] -= 1
            items.append(_item(row.prompt, ["yes", "no"], row.answer))
    return tuple(items)


def _four_choice(world: World, rng: random.Random, n: int) -> list[Item]:
    items = []
    for fact in rng.sample(_held(world, "four choice"), n):
        row = forms.four_choice(world, fact, rng)
        listed = row.prompt.rsplit(" Is it ", 1)[1].removesuffix("? A:").split(" or ")
        items.append(_item(row.prompt, listed, row.answer))
    return items


def _two_hop(world: World, rng: random.Random, n: int) -> list[Item]:
    candidates = [
        (fact, hop)
        for fact in world.facts
        for hop in forms.hops_of(world, fact)
        if chance("two hop", fact.subject, hop.phrasing) < HELD_OUT
    ]
    items = []
    for fact, hop in rng.sample(candidates, n):
        row = forms.two_hop(world, fact.subject, hop)
        shown = forms.options(world, Triple(fact.object, hop.second, row.answer), rng)
        items.append(_item(row.prompt, shown, row.answer))
    return items


def _kinds(rng: random.Random, n: int) -> list[Item]:
    members = [(member, name) for name in KINDS for member in KINDS[name].split()]
    items = []
    for member, name in rng.sample(members, n):
        shown = [name, *rng.sample([k for k in KINDS if k != name], 3)]
        rng.shuffle(shown)
        row = forms.kind(member, name, forms.held_out_kind(member))
        items.append(_item(row.prompt, shown, name))
    return items


def _agreement(rng: random.Random, n: int) -> list[Item]:
    items: list[Item] = []
    while len(items) < n:
        row, wrong, held = forms.agreement(rng)
        if held:
            shown = sorted([f"{row.answer}.", f"{wrong}."])
            items.append(_item(row.prompt, shown, f"{row.answer}."))
    return items


def _copying(rng: random.Random, n: int) -> list[Item]:
    items: list[Item] = []
    while len(items) < n:
        row, held = forms.copying(rng)
        if held:
            shown = [row.answer, *rng.sample([c for c in forms.colours() if c != row.answer], 3)]
            rng.shuffle(shown)
            items.append(_item(row.prompt, shown, row.answer))
    return items
