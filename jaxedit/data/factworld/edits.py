"""Counterfactual edits of the world, with everything that is asked after them."""

from __future__ import annotations

import random

from jaxedit.data.fact import Fact, Question
from jaxedit.data.factworld import forms
from jaxedit.data.factworld.rows import about_no_fact
from jaxedit.data.factworld.world import Triple, World

POOLS = 4
TUNING = 0
SHOWN = 1


def edits(world: World, n: int, seed: int = SHOWN, neighbours: int = 5) -> list[Fact]:
    """`n` counterfactual edits from the pool of `seed` (mod 4: the pools share no fact).

    Seed 0 is for choosing hyper-parameters, seed 1 for what is shown. No subject comes a second
    time before every subject of the pool has come once. The target is another object of the
    same relation. `paraphrases` are the relation's other phrasings, the one that this fact was
    never trained on first; `neighbours` are other subjects of the relation, those with the same
    answer first, asked in a phrasing that they were trained on; `portability` are the two-hop
    questions that begin with the new fact; `negations` deny the old answer and ask for the new;
    `openings` begin sentences about the subject that say something else of it.

    Raises:
        ValueError: if the pool has fewer than `n` facts.
    """
    pool = _pool(world, seed)
    if n > len(pool):
        raise ValueError(f"a pool has {len(pool)} facts, {n} were asked for")
    return [_edit(world, fact, seed, neighbours) for fact in pool[:n]]


def unrelated(world: World, n: int, seed: int = 0) -> list[str]:
    """`n` sentences that no edit touches, for the perplexity of all the rest.

    Every other one states a fact of the pools that are neither tuned on nor shown; the others are
    about no fact at all.
    """
    rng = random.Random(f"unrelated {seed}")
    facts = [
        fact for pool in range(POOLS) if pool not in (TUNING, SHOWN) for fact in _pool(world, pool)
    ]
    plain = about_no_fact(world, rng)
    found = []
    for i in range(n):
        fact = rng.choice(facts)
        phrasing = rng.choice(world.trained(fact))
        found.append((next(plain) if i % 2 else forms.statement(fact, phrasing)).text)
    return found


def other_edits(world: World) -> list[Fact]:
    """Edits of the pools that are neither tuned on nor shown, as `edits` would make them."""
    return [
        _edit(world, fact, pool, 0)
        for pool in range(POOLS)
        if pool not in (TUNING, SHOWN)
        for fact in _pool(world, pool)
    ]


def training_edits(world: World) -> list[Fact]:
    """Edits of every pool but the one that is shown, for methods that are trained once."""
    return [
        fact
        for pool in range(POOLS)
        if pool != SHOWN
        for fact in edits(world, len(_pool(world, pool)), pool)
    ]


def _pool(world: World, seed: int) -> list[Triple]:
    facts = list(world.facts)
    random.Random(f"pools {world.seed}").shuffle(facts)
    pool = facts[seed % POOLS :: POOLS]
    random.Random(f"order {seed}").shuffle(pool)
    seen: dict[str, int] = {}
    rank = []
    for fact in pool:
        seen[fact.subject] = seen.get(fact.subject, 0) + 1
        rank.append(seen[fact.subject])
    return [pool[i] for i in sorted(range(len(pool)), key=rank.__getitem__)]


def _edit(world: World, fact: Triple, seed: int, neighbours: int) -> Fact:
    rng = random.Random(f"edit {seed} {fact.subject} {fact.relation}")
    target = world.false_object(fact, rng)
    prompt = world.completion(fact)
    held = world.held_out(fact)
    others = [p for p in world.relations[fact.relation].phrasings if p not in (prompt, held)]
    changed = Triple(fact.subject, fact.relation, target)
    return Fact(
        prompt=prompt,
        subject=fact.subject,
        target=target,
        previous=fact.object,
        paraphrases=tuple(p.replace("{}", fact.subject) for p in (held, *others)),
        neighbours=tuple(_neighbours(world, fact, rng, neighbours)),
        portability=tuple(
            Question(hop.phrasing.replace("{}", fact.subject), world.truth[target, hop.second])
            for hop in forms.hops_of(world, changed)
        ),
        id=f"{fact.subject}/{fact.relation}",
        negations=(Question(forms.denial(world, fact, fact.object).prompt, target),),
        openings=tuple(
            world.completion(other).replace("{}", fact.subject)
            for other in world.by_subject[fact.subject]
            if other.relation != fact.relation
        ),
        group=fact.relation,
    )


def _neighbours(world: World, fact: Triple, rng: random.Random, n: int) -> list[Question]:
    others = [o for o in world.by_relation[fact.relation] if o.subject != fact.subject]
    rng.shuffle(others)
    others.sort(key=lambda other: other.object != fact.object)
    return [
        Question(world.completion(other).replace("{}", other.subject), other.object)
        for other in others[:n]
    ]
