"""Counterfactual edits of the world, with everything that is asked after them."""

from __future__ import annotations

import random
from collections.abc import Callable

from jaxedit.data.fact import Fact, Question
from jaxedit.data.factworld import forms
from jaxedit.data.factworld.rows import about_no_fact
from jaxedit.data.factworld.world import Triple, World

POOLS = 4
TUNING = 0
SHOWN = 1
OTHERS = tuple(seed for seed in range(POOLS) if seed not in (TUNING, SHOWN))


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
    own = pool(world, seed)
    if n > len(own):
        raise ValueError(f"a pool has {len(own)} facts, {n} were asked for")
    return [edit(world, fact, seed, neighbours) for fact in own[:n]]


def unrelated(world: World, n: int, seed: int = 0) -> list[str]:
    """`n` sentences that no edit touches, for the perplexity of all the rest.

    Every other one states a fact of the pools that are neither tuned on nor shown; the others are
    about no fact at all.
    """
    rng = random.Random(f"unrelated {seed}")
    facts = [fact for other in OTHERS for fact in pool(world, other)]
    plain = about_no_fact(world, rng)
    found = []
    for i in range(n):
        fact = rng.choice(facts)
        phrasing = rng.choice(world.trained(fact))
        found.append((next(plain) if i % 2 else forms.statement(fact, phrasing)).text)
    return found


def other_edits(world: World) -> list[Fact]:
    """Edits of the pools that are neither tuned on nor shown, as `edits` would make them."""
    return [edit(world, fact, other, 0) for other in OTHERS for fact in pool(world, other)]


def training_edits(world: World) -> list[Fact]:
    """Edits of every pool but the one that is shown, for methods that are trained once."""
    return [
        fact
        for seed in range(POOLS)
        if seed != SHOWN
        for fact in edits(world, len(pool(world, seed)), seed)
    ]


def pool(world: World, seed: int) -> list[Triple]:
    """The facts that a seed edits, in the order of editing; see `edits`."""
    facts = list(world.facts)
    random.Random(f"pools {world.seed}").shuffle(facts)
    drawn = facts[seed % POOLS :: POOLS]
    random.Random(f"order {seed}").shuffle(drawn)
    seen: dict[str, int] = {}
    rank = []
    for fact in drawn:
        seen[fact.subject] = seen.get(fact.subject, 0) + 1
        rank.append(seen[fact.subject])
    return [drawn[i] for i in sorted(range(len(drawn)), key=rank.__getitem__)]


def edit(
    world: World,
    fact: Triple,
    seed: int,
    neighbours: int,
    say: Callable[[World, Triple], str] = World.completion,
) -> Fact:
    """The edit of one fact; ``say`` chooses, for it and its neighbours, a trained phrasing."""
    rng = random.Random(f"edit {seed} {fact.subject} {fact.relation}")
    target = world.false_object(fact, rng)
    prompt = say(world, fact)
    held = world.held_out(fact)
    others = [p for p in world.relations[fact.relation].phrasings if p not in (prompt, held)]
    changed = Triple(fact.subject, fact.relation, target)
    return Fact(
        prompt=prompt,
        subject=fact.subject,
        target=target,
        previous=fact.object,
        paraphrases=tuple(p.replace("{}", fact.subject) for p in (held, *others)),
        neighbours=tuple(
            Question(say(world, other).replace("{}", other.subject), other.object)
            for other in near(world, fact, rng)[:neighbours]
        ),
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


def near(world: World, fact: Triple, rng: random.Random) -> list[Triple]:
    """Facts of the same relation about other subjects, shuffled, those of the same object first."""
    others = [o for o in world.by_relation[fact.relation] if o.subject != fact.subject]
    rng.shuffle(others)
    others.sort(key=lambda other: other.object != fact.object)
    return others
