"""The editing stage: what is fed and read where, that it learns, and that it can be broken off."""

import dataclasses

import jax
import numpy as np
import pytest

from jaxedit.ensemble.plug_batches import Batches, Training
from jaxedit.ensemble.plug_losses import losses
from jaxedit.ensemble.plug_rows import Example, example_rows, stack
from jaxedit.ensemble.plug_training import begin, bind, fit, restore, snapshot
from jaxedit.ensemble.plugin import alpha, gate_logits, with_gate, without_gate
from jaxedit.ensemble.prompts import Unrelated, unrelated_facts, unrelated_neighbours
from jaxedit.errors import UserError
from tests.tiny import tiny_facts, tiny_model
from tests.tiny_run import even_facts

OTHERS = [
    Unrelated("The capital of Arden Hollow is", "Rivella"),
    Unrelated("Jovan Osei lives", "so"),
]
# Two steps an epoch in all tests, so that one program serves them.
QUICK = Training(learning_rate=2e-2, epochs=20, batch=2, warmup=4, clip=1.0, final_share=0.1)
FACTS = even_facts(4)


def plugin(reading="component", devices=1):
    return with_gate(tiny_model(devices, n_layers=1), reading=reading)


def same(a, b) -> bool:
    return jax.tree.all(
        jax.tree.map(lambda x, y: bool((np.asarray(x) == np.asarray(y)).all()), a, b)
    )


def test_rows_hold_the_target_and_read_the_bare_prompt():
    plug = plugin()
    tokenizer = plug.lm.tokenizer
    prompt, target = "Mira Danto was born in", "Vantor"
    bare = tokenizer.encode(prompt)
    (row,) = example_rows(plug, Example(prompt, target, True), end_of_text=True)
    assert [*row.ids[: row.first + 1], *row.target] == [
        *bare, *tokenizer.encode(" " + target), tokenizer.eos_id,
    ]  # fmt: skip
    assert row.ids[row.first + 1 :] == row.target[:-1]
    assert row.read == len(bare) - 1 == row.first
    (other,) = example_rows(plug, Example(prompt, None, False), end_of_text=True)
    assert (other.ids, other.target, other.read) == (bare, [], len(bare) - 1)
    # A prompt whose end its target's beginning joins is read in a row of its own.
    apart = list(example_rows(plug, Example("Mira Danto ", "Vantor", True), end_of_text=False))
    assert [row.read >= 0 for row in apart] == [False, True]
    assert apart[1].ids == tokenizer.encode("Mira Danto ")
    appended = list(example_rows(plugin("appended"), Example(prompt, target, True), False))
    assert appended[1].ids == [*bare, plug.gate] and appended[1].read == len(bare)


def test_rows_that_fill_up_change_nothing():
    plug = plugin()
    rows = [
        row
        for fact in FACTS[:3]
        for row in example_rows(plug, Example(fact.question, fact.target, True), False)
    ]
    rows += example_rows(plug, Example(OTHERS[0].prompt, None, False), False)

    @jax.jit
    def score(rows):
        return [
            losses(plug.lm.config, plug.lm.params, rows, gate=plug.gate, mean=mean)[0]
            for mean in ("token", "example")
        ]

    few, many = (score(stack(rows, width=8, least=n)) for n in (0, 16))
    np.testing.assert_allclose(few, many, rtol=1e-6)
    assert np.isfinite(few).all()


def test_a_head_of_its_own_is_no_token():
    plug = plugin("head")
    head = jax.tree.map(lambda x: x.at[..., -1].set(9.0), plug.lm.params["head"])
    loud = plug.with_params({**plug.lm.params, "head": head})
    example = Example("Mira Danto was born in", "Vantor", True)
    rows = stack(list(example_rows(plug, example, False)), width=8)

    @jax.jit
    def said(params):
        return [
            losses(plug.lm.config, params, rows, gate=plug.gate, reading=reading)[1].generation
            for reading in ("head", "component")
        ]

    quiet, shouted = said(plug.lm.params), said(loud.lm.params)
    assert quiet[0] == shouted[0] and quiet[1] != shouted[1]


@pytest.mark.parametrize("reading", ["component", "appended", "muon"])
def test_edits_are_learned_and_told_apart(reading):
    settings = QUICK
    if reading == "muon":
        reading, settings = "component", dataclasses.replace(QUICK, optimiser="muon")
    plug = plugin(reading)
    state, log = fit(plug, FACTS, OTHERS, settings)
    assert len(log["weight"]) == 40 and log["generation"][-1] < 0.1
    edited, prompts = bind(plug, state), [fact.question for fact in FACTS]
    said = without_gate(edited).teacher_forced(prompts, [fact.target for fact in FACTS])
    assert all((one.predicted_ids == one.target_ids).all() for one in said)
    assert alpha(edited, prompts).min() > 0.8
    assert alpha(edited, [item.prompt for item in OTHERS]).max() < 0.2


def test_broken_off_and_taken_up_again():
    plug = plugin()
    whole, log = fit(plug, FACTS, OTHERS, QUICK, until=12)
    seen = []
    half, first = fit(plug, FACTS, OTHERS, QUICK, until=5, advance=seen.append)
    assert [(one.step, one.steps) for one in seen] == [(i, 40) for i in range(1, 6)]
    assert same(seen[-1].state, half)
    restored = restore(plug, QUICK, snapshot(half))
    again, second = fit(plug, FACTS, OTHERS, QUICK, restored, until=12)
    assert same(whole, again)
    for name, values in log.items():
        np.testing.assert_array_equal(values, np.concatenate([first[name], second[name]]))
    with pytest.raises(UserError, match="checkpoint is not of"):
        restore(plugin(), QUICK, snapshot(half)[1:])


def test_as_many_devices_as_there_are():
    one, log = fit(plugin(), FACTS, OTHERS, QUICK, until=3)
    two, other = fit(plugin(devices=2), FACTS, OTHERS, QUICK, until=3)
    np.testing.assert_allclose(log["weight"], other["weight"], rtol=1e-4)
    for a, b in zip(jax.tree.leaves(one.params), jax.tree.leaves(two.params), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-3)


def test_it_stops_when_both_losses_are_low():
    settings = dataclasses.replace(QUICK, stop_below=0.5)
    state, log = fit(plugin(), FACTS, OTHERS, settings)
    steps = len(log["weight"])
    assert bool(state.done) and steps < 40 and steps % 2 == 0
    assert log["generation"][-2:].mean() < 0.5 > log["weight"][-2:].mean()


def test_every_epoch_holds_every_edit_and_rounds_of_the_others():
    plug, facts = plugin(), even_facts(5)
    batches = Batches.of(plug, facts, OTHERS, Training(batch=2, ratio=1.5))
    steps = [batches.at(step) for step in range(batches.epoch)]
    assert batches.epoch == 3 and len({rows.ids.shape for rows in steps}) == 1
    edits = [tuple(r.ids[i][r.mask[i]]) for r in steps for i in np.flatnonzero(r.label)]
    assert len(edits) == len(set(edits)) == 5
    others = [
        tuple(r.ids[i][r.mask[i]]) for r in steps for i in np.flatnonzero(r.gated * (1 - r.label))
    ]
    assert len(others) == 9 and {others.count(one) for one in others} == {4, 5}


def test_earlier_edits_are_kept_by_replay():
    plug, old, new = plugin(), FACTS[:2], FACTS[2:]
    revised = dataclasses.replace(old[0], target=new[0].target)
    state, _ = fit(plug, [revised, *new], OTHERS, QUICK, replay=old)
    edited, prompts = bind(plug, state), [fact.question for fact in old]
    said = without_gate(edited).teacher_forced(prompts, [revised.target, old[1].target])
    assert all((one.predicted_ids == one.target_ids).all() for one in said)
    assert gate_logits(edited, prompts).min() > 0


def test_what_is_unrelated():
    facts = tiny_facts(4)
    others = unrelated_facts(facts, facts[:2])
    assert [item.prompt for item in others] == [fact.question for fact in facts[2:]]
    assert others[0].answer == facts[2].previous
    assert unrelated_neighbours(facts, facts[:1]) == ()
    assert unrelated_neighbours(facts) == (Unrelated("The capital of Arden Hollow is", "Rivella"),)
    # A neighbour of an edit is not to be trained on, however it is asked.
    question = dataclasses.replace(facts[0].neighbours[0], prompt=facts[2].paraphrases[0])
    edit = dataclasses.replace(facts[0], neighbours=(question,))
    assert [item.prompt for item in unrelated_facts(facts, [edit])] == [
        fact.question for fact in (facts[1], facts[3])
    ]


def test_what_cannot_be_trained():
    plug = plugin()
    with pytest.raises(UserError, match="no edits"):
        fit(plug, [], OTHERS, QUICK)
    with pytest.raises(UserError, match="ratio=0"):
        fit(plug, FACTS, [], QUICK)
    for wrong, match in (
        ({"epochs": 0}, "epochs"),
        ({"format": "{} {}"}, "format"),
        ({"mean": "x"}, "mean"),
    ):
        with pytest.raises(UserError, match=match):
            Training(**wrong)  # type: ignore[arg-type]
    broken = plug.with_params(jax.tree.map(lambda x: x * np.nan, plug.lm.params))
    with pytest.raises(FloatingPointError, match="step 1 of"):
        fit(broken, FACTS, OTHERS, QUICK)
    assert int(begin(plug, QUICK).step) == 0
