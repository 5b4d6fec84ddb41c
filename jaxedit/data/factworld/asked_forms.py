"""The world's edits in other forms: as questions, among options, as statements, behind events.

They are counterparts of the kinds of editing data that D4S compares: zsRE's questions (its figure
2), the closed forms of its MQD (section 3.2; the plain edits are the open one) and ELKEN's events
(figure 2). Facts, pools, order and, but for yes and no, the targets are those of `edits`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Literal, get_args

from jaxedit.data.fact import SLOT, Fact, Question, template
from jaxedit.data.factworld import forms
from jaxedit.data.factworld.edits import SHOWN, edit, near, pool
from jaxedit.data.factworld.world import Triple, World

Form = Literal["completion", "question", "choice", "statement", "event"]
FORMS: tuple[Form, ...] = get_args(Form)
YES, NO = "yes", "no"
ORDERS = 2  # other orders of the options, as paraphrases

Maker = Callable[[World, Triple, Fact, random.Random, int], Fact]


def askable(world: World, form: Form, seed: int = SHOWN) -> list[Triple]:
    """The facts of the pool of a seed that have this form, in the order of editing."""
    return [f for f in pool(world, seed) if form != "event" or f.relation in forms.EVENTFUL]


def asked_edit(
    world: World, form: Form, fact: Triple, seed: int = SHOWN, neighbours: int = 5
) -> Fact:
    """The edit of one fact of a pool in one form.

    "completion": as `edits` has it. "question": a question of the relation in its place. "choice":
    the fact's question with four options (three where the relation has no more objects), the truth
    and the target among them; paraphrases list them in other orders. "statement": is it true that
    ...? of the truth, to be denied, or of the plain edit's target, to be affirmed, about as often;
    paraphrases put it in the relation's other words, and the negation asks whether it is false.
    "event": something happens to the subject, and the target is neither what follows from it nor
    what was so before; the slot is where the subject stands last, the event before it is plain
    text. The world says that in one way alone, so there are no paraphrases.

    Neighbours are asked in the same form, those of the closed forms only about facts that were
    trained in it. The id is that of the plain edit.
    """
    if form in ("completion", "question"):
        say = World.question if form == "question" else World.completion
        return edit(world, fact, seed, neighbours, say=say)
    makers: dict[str, Maker] = {"choice": _choice, "statement": _statement, "event": _event}
    rng = random.Random(f"{form} {seed} {fact.subject} {fact.relation}")
    return makers[form](world, fact, edit(world, fact, seed, 0), rng, neighbours)


def _choice(world: World, fact: Triple, plain: Fact, rng: random.Random, n: int) -> Fact:
    wrong = [o for o in world.objects[fact.relation] if o not in (fact.object, plain.target)]
    listed = [fact.object, plain.target, *rng.sample(wrong, min(2, len(wrong)))]
    rng.shuffle(listed)
    others = [order for order in itertools.permutations(listed) if order != tuple(listed)]

    def ask(other: Triple) -> Question:
        options = forms.options(world, other, rng)
        prompt = _filled(forms.among(world, other.relation, options), other)
        return Question(prompt, other.object, choices=tuple(options))

    return replace(
        plain,
        prompt=forms.among(world, fact.relation, listed),
        paraphrases=tuple(
            _filled(forms.among(world, fact.relation, order), fact)
            for order in rng.sample(others, ORDERS)
        ),
        choices=tuple(listed),
        neighbours=_neighbours(world, fact, rng, n, ask, "four choice"),
    )


def _statement(world: World, fact: Triple, plain: Fact, rng: random.Random, n: int) -> Fact:
    affirmed = rng.random() < 0.5
    value = plain.target if affirmed else fact.object
    target, previous = (YES, NO) if affirmed else (NO, YES)
    own = world.completion(fact)
    others = [one for one in world.relations[fact.relation].completions if one != own]

    def ask(other: Triple) -> Question:
        row = forms.yes_no(world, other, rng)
        return Question(row.prompt, row.answer, choices=(YES, NO))

    denied = _filled(forms.asked_whether(own, value, negated=True), fact)
    return replace(
        plain,
        prompt=forms.asked_whether(own, value),
        target=target,
        previous=previous,
        paraphrases=tuple(_filled(forms.asked_whether(other, value), fact) for other in others),
        choices=(YES, NO),
        negations=(Question(denied, previous, choices=(YES, NO)),),
        portability=plain.portability if affirmed else (),
        neighbours=_neighbours(world, fact, rng, n, ask, "yes no"),
    )


def _event(world: World, fact: Triple, plain: Fact, rng: random.Random, n: int) -> Fact:
    others = [o for o in world.objects[fact.relation] if o not in (fact.object, plain.target)]
    value = rng.choice(others)

    def ask(other: Triple) -> Question:
        row = forms.event(world, other, rng)
        return Question(row.prompt, row.answer)

    return replace(
        plain,
        prompt=template(_filled(forms.happening(fact.relation, value), fact), fact.subject),
        previous=value,
        paraphrases=(),
        portability=(),
        negations=(),
        neighbours=_neighbours(world, fact, rng, n, ask),
    )


def _neighbours(
    world: World,
    fact: Triple,
    rng: random.Random,
    n: int,
    ask: Callable[[Triple], Question],
    form: str | None = None,
) -> tuple[Question, ...]:
    """About facts that were trained in the form; of a form without a name that is every fact."""
    others = near(world, fact, rng)
    trained = (other for other in others if form is None or not forms.is_held_out(form, other))
    return tuple(map(ask, itertools.islice(trained, n)))


def _filled(template: str, fact: Triple) -> str:
    return template.replace(SLOT, fact.subject)
