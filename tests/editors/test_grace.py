"""GRACE: the rule of its radii, where its values stand, and that nothing else ever moves."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxedit.data.fact import Fact
from jaxedit.editors.codebook import OUTSIDE, Codebook
from jaxedit.editors.codebook_entries import Entries
from jaxedit.editors.codebook_values import row_given
from jaxedit.editors.editor import take
from jaxedit.editors.grace import ADD, APART, EXPAND, KEEP, REVISE, SPLIT, Grace, GraceState
from jaxedit.errors import UserError
from jaxedit.models.protocol import Row
from jaxedit.models.sites import Context
from tests.tiny import tiny_model

EDITOR = Grace((0,), radius=0.1, steps=30, stop_below=3.3, capacity=4)
NEW = 6


def small_model() -> Any:
    return tiny_model(n_layers=2)


def a_fact(subject: str, target: str, prompt: str = "{} was born in") -> Fact:
    return Fact(prompt, subject, target, id=subject)


def run(editor: Grace, facts: list[Fact], state: Any = None) -> tuple[GraceState, Any]:
    lm = small_model()
    state = editor.init(lm) if state is None else state
    prepared = editor.prepare(lm, facts)
    logs = []
    for i in range(len(facts)):
        state, log = editor.edit(lm, state, take(prepared, i, i + 1))
        logs.append(log)
    return state, {name: np.concatenate([log[name] for log in logs]) for name in logs[0]}


@pytest.fixture(scope="module")
def facts() -> list[Fact]:
    return [  # each ends otherwise, so that keys of a first layer lie apart
        a_fact("Mira Danto", "of"),
        a_fact("Tolan Verrick", "in", "{} works as a"),
        a_fact("Ester Halloran", "is", "{} lives in the city of"),
        a_fact("Jovan Osei", "cap", "The mother tongue of {} is"),
        a_fact("Arden Hollow", "a", "Rivella and {}"),
    ]


@pytest.fixture(scope="module")
def edited(facts: list[Fact]) -> tuple[GraceState, Any]:
    return run(EDITOR, facts)


def prompts_of(facts: list[Fact]) -> list[str]:
    return [fact.question for fact in facts]


def same(ours: Any, theirs: Any) -> bool:
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def logprobs(lm: Any, rows: list[Row]) -> list[np.ndarray]:
    return [forced.logprobs for forced in lm.score_rows(rows)]


# The rule.


def test_the_radii_of_a_scripted_series_of_keys():
    """Each line: the input of an edit, its target, what the rule does, all radii after it."""
    lm, editor = small_model(), dataclasses.replace(EDITOR, radius=1.0, slack=0.0, steps=1)
    series = [
        ((0.0, 0.0), "of", ADD, [1.0]),
        ((3.0, 0.0), "is", ADD, [1.0, 1.0]),  # 3 from the first: beyond 1 + 1
        ((1.2, 0.0), "of", EXPAND, [1.2, 1.0]),  # 1.2 from the first, of its label
        ((2.0, 0.0), "a", SPLIT, [1.2, 0.5 - APART, 0.5]),  # 1 from the second
        ((3.2, 0.0), "is", KEEP, [1.2, 0.5 - APART, 0.5]),
        ((0.0, 1.7), "of", EXPAND, [1.7, 0.5 - APART, 0.5]),  # within 1 + 1.2
        ((0.0, 4.0), "of", ADD, [1.7, 0.5 - APART, 0.5, 1.0]),  # its label, but beyond 1 + 1.7
        ((3.0, 1.4), "of", SPLIT, [1.7, 0.7 - APART, 0.5, 1.0, 0.7]),  # widens, as published
    ]
    labelled = [a_fact(f"Zub {i}", target) for i, (_, target, _, _) in enumerate(series)]
    prepared = editor.prepare(lm, labelled)
    keys = np.zeros_like(prepared.trained.query)
    keys[:, :2] = [place for place, _, _, _ in series]
    prepared = prepared._replace(trained=prepared.trained._replace(query=keys))
    state = editor.init(lm)
    for i, (_, _, kind, radii) in enumerate(series):
        state, log = editor.edit(lm, state, take(prepared, i, i + 1))
        assert log["change"] == kind
        assert state.book.count == log["entries"] == len(radii)
        np.testing.assert_allclose(state.book.radii[: len(radii)], radii, atol=1e-6)
    kept = [keys[i] for i, (_, _, kind, _) in enumerate(series) if kind in (ADD, SPLIT)]
    np.testing.assert_array_equal(state.book.keys[:5], kept)
    cities = ["of", "is", "a", "of", "of"]
    labels = [lm.tokenizer.decode(state.book.label(i)).strip() for i in range(5)]
    assert labels == cities  # in the order of the keys


def a_book(labels: list[list[int]]) -> Entries:
    book = Entries.none(2, 2, np.float32).with_room(4, small_model().mesh)
    for i, label in enumerate(labels):
        book = book.named(i, np.asarray([7, 8]), np.asarray(label))
        book = book.written(i, np.zeros(2), 1.0, key=np.asarray([3.0 * i, 0.0]))
    return book


def test_labels_are_compared_token_by_token_unless_as_published():
    book, query, prompt = a_book([[5, 7], [9, 9]]), np.asarray([0.5, 0.0]), np.asarray([3, 4])
    legacy = dataclasses.replace(EDITOR, legacy_labels=True, radius=1.0)
    ours = dataclasses.replace(legacy, legacy_labels=False)

    def kind(editor: Grace, label: list[int]) -> int:
        return editor.change(book, book.find(query), prompt, np.asarray(label)).kind

    assert [kind(ours, label) for label in ([5, 7], [6, 6], [9, 9])] == [KEEP, SPLIT, SPLIT]
    # The published code takes the first key's label for the last one's, and its mean for it.
    assert [kind(legacy, label) for label in ([5, 7], [9, 9], [8, 10])] == [SPLIT, KEEP, KEEP]


def test_a_revision_gives_the_entry_its_new_value(facts: list[Fact], edited: Any):
    lm, revised = small_model(), dataclasses.replace(facts[1], target="c")
    state, log = run(EDITOR, [revised], edited[0])
    assert log["change"] == REVISE
    assert state.book.count == len(facts)
    forced = EDITOR.bind(lm, state).teacher_forced([revised.question], [revised.target])[0]
    assert (forced.predicted_ids == forced.target_ids).all()
    assert lm.tokenizer.decode(state.book.label(1)).strip() == "c"


# The adapter.


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from(["last", "prompt", "all"]))
def test_values_stand_where_a_key_is_near_and_nowhere_else(seed: int, replace: Any):
    """Rows at every distance from the keys, prompts of every length, pads on either side."""
    draw = np.random.default_rng(seed)
    keys, values = draw.normal(size=(3, 4)), draw.normal(size=(3, 5))
    radii = draw.uniform(0.5, 2.0, size=3)
    keys[2] = 0  # beyond the count: an entry that is not there
    numbers = [jnp.asarray(x, jnp.float32) for x in (keys, values, radii, np.float32(2))]
    book = Codebook(numbers[0], numbers[1], numbers[2], numbers[3], replace)
    start, given_, stop = np.sort(draw.integers(0, 7, size=(6, 3)), axis=1).T
    steps, given_ = np.arange(8), np.maximum(given_, start + 1)
    mask = (steps >= start[:, None]) & (steps < np.maximum(stop, given_)[:, None])
    prompt = mask & (steps < given_[:, None])
    x, y = draw.normal(size=(6, 8, 4)).astype("f"), draw.normal(size=(6, 8, 5)).astype("f")
    arrays = [jnp.asarray(a) for a in (mask, np.zeros_like(mask, int), prompt)]
    made, entries = book(jnp.asarray(x), jnp.asarray(y), Context(1, *arrays))
    for row in range(6):
        distance = np.linalg.norm(keys[:2] - x[row, given_[row] - 1], axis=1)
        entry = int(distance.argmin())
        near = distance[entry] <= radii[entry]
        assert entries[row] == (entry if near else OUTSIDE)
        here = {"last": steps == given_[row] - 1, "prompt": prompt[row], "all": mask[row]}[replace]
        expected = np.where((here & near)[:, None], values[entry].astype("f"), y[row])
        np.testing.assert_array_equal(made[row], expected)


def test_an_empty_codebook_and_questions_far_from_every_key_leave_every_bit(facts, edited):
    lm, (state, _) = small_model(), edited
    others = ["Mira Danto was born", "Tolan Verrick works", "The mother", "Jovan Osei lives"]
    rows = [lm.pair_row(prompt, "is") for prompt in others]
    empty = dataclasses.replace(EDITOR, capacity=8).init(lm)
    behind = [EDITOR.bind(lm, one) for one in (state, empty)]
    edit = lm.pair_row(facts[0].question, "is")
    plain = lm.with_adapters({})  # rows laid out as behind an adapter, and none
    for row in (*rows, edit):
        near, far, unedited = (logprobs(model, [row])[0] for model in (*behind, plain))
        np.testing.assert_array_equal(far, unedited)
        assert (near == unedited).all() == (row != edit)
    texts = [model.generate(others, NEW) for model in (*behind, lm)]
    assert texts[0] == texts[1] == texts[2]


# The whole.


def test_edits_are_said_one_by_one_as_in_a_batch(facts, edited):
    lm, (state, log) = small_model(), edited
    assert (log["loss"] < 3.3).all() and (log["initial_loss"] > 4).all()
    assert (log["updates"] > 0).all() and (log["updates"] < EDITOR.steps).all()
    model = EDITOR.bind(lm, state)
    rows = [lm.pair_row(fact.question, fact.target) for fact in facts]
    together = model.score_rows(rows)
    for row, forced in zip(rows, together, strict=True):
        assert (forced.predicted_ids == forced.target_ids).all()
        (alone,) = model.score_rows([row])
        np.testing.assert_allclose(alone.logprobs, forced.logprobs, atol=1e-5)
    made = model.generate(prompts_of(facts), NEW)
    assert all(text.strip().startswith(fact.target) for text, fact in zip(made, facts, strict=True))


@pytest.mark.parametrize("replace", ["last", "all"])
def test_what_is_generated_is_what_teacher_forcing_expects(replace: Any, facts, edited):
    """What was found at the prompt holds over cached steps."""
    lm, (state, _) = small_model(), edited
    model = dataclasses.replace(EDITOR, replace=replace).bind(lm, state)
    prompts = [model.prompt_row(prompt) for prompt in prompts_of(facts)]
    made = model.continuations(prompts_of(facts), NEW)
    rows = [([*prompt, *new.ids], len(prompt)) for prompt, new in zip(prompts, made, strict=True)]
    for forced in model.score_rows(rows):
        np.testing.assert_array_equal(forced.predicted_ids, forced.target_ids)


def test_warm_values_begin_as_the_linears_own_and_may_stand_at_all_tokens(facts, edited):
    """What training says of a loss is what the model behind its codebook then has."""
    lm = small_model()
    asked = prompts_of(facts), [fact.target for fact in facts]
    unedited = [-forced.logprobs.mean() for forced in lm.teacher_forced(*asked)]
    editor = dataclasses.replace(EDITOR, replace="all", start="warm", steps=3, stop_below=0.0)
    state, log = run(editor, facts)
    behind = editor.bind(lm, state).teacher_forced(*asked)
    np.testing.assert_allclose([-x.logprobs.mean() for x in behind], log["loss"], rtol=1e-3)
    _, last = run(dataclasses.replace(editor, replace="last", steps=0), facts)
    np.testing.assert_allclose(last["initial_loss"], unedited, rtol=1e-3)
    np.testing.assert_array_equal(last["loss"], last["initial_loss"])
    assert (log["loss"] < unedited).all() and (last["updates"] == 0).all()


def test_expanded_entries_go_on_from_their_value(facts, edited):
    """A paraphrase with the same target joins its entry, which then serves both."""
    editor = dataclasses.replace(EDITOR, radius=1e3)
    first, _ = run(editor, facts[:1])
    joined, log = run(editor, [a_fact("Zub Tessan", facts[0].target, "{} is near")], first)
    assert log["change"] == KEEP and joined.book.count == 1
    _, log = run(editor, facts[:1], joined)
    assert log["change"] == KEEP and log["initial_loss"] < 4
    narrow = first._replace(book=first.book._replace(radii=jnp.full_like(first.book.radii, 1e-3)))
    wide, log = run(editor, [a_fact("Zub Tessan", facts[0].target, "{} is near")], narrow)
    assert log["change"] == EXPAND
    np.testing.assert_allclose(wide.book.radii[0], log["distance"][0] * (1 + 1e-4), rtol=1e-6)


def test_a_state_goes_on_from_its_snapshot_and_grows_without_a_trace(facts, edited):
    lm, (state, _) = small_model(), edited
    assert state.edits == 5 and len(state.book.radii) == 8  # 4 at first, doubled
    kept = jax.tree.map(np.asarray, EDITOR.snapshot(state))
    assert len(kept["keys"]) == len(kept["labels"]) == 5
    roomy, _ = run(dataclasses.replace(EDITOR, capacity=8), facts)
    assert same(EDITOR.restore(lm, kept), state) and same(roomy, state)
    more = [a_fact("Kesterly Sarn", "of", "{} is near")]
    after = [run(EDITOR, more, start)[0] for start in (state, EDITOR.restore(lm, kept))]
    assert same(*after) and after[0].book.count == 6
    assert state.edits == 5 and state.book.count == 5  # the old state is still good


def test_one_update_of_several_facts_is_their_edits_in_order(facts, edited):
    lm, (state, log) = small_model(), edited
    whole, together = EDITOR.edit(lm, EDITOR.init(lm), EDITOR.prepare(lm, facts))
    assert same(whole, state)
    assert all((together[name] == log[name]).all() for name in log)


def test_edits_compile_nothing_within_a_capacity(facts, edited):
    lm, editor = small_model(), dataclasses.replace(EDITOR, capacity=8)
    prepared = editor.prepare(lm, facts)

    def all_of(state: GraceState) -> GraceState:
        for i in range(len(facts)):
            state, _ = editor.edit(lm, state, take(prepared, i, i + 1))
            editor.bind(lm, state).score_rows([lm.pair_row(facts[i].question, facts[i].target)])
        return state

    all_of(editor.init(lm))
    traced: list[str] = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: traced.append(event) if "compile" in event else None
    )
    try:
        all_of(editor.init(lm))
    finally:
        jax.monitoring.clear_event_listeners()
    assert not traced


def test_prompts_end_where_their_targets_are_predicted(facts):
    lm = small_model()
    rows = EDITOR.prepare(lm, facts).rows
    for ids, given_, fact in zip(rows.ids, row_given(rows), facts, strict=True):
        assert ids[given_].tolist() == lm.tokenizer.encode(fact.question)


def test_what_cannot_be_is_refused(facts):
    lm = small_model()
    with pytest.raises(UserError, match="one linear; name one layer"):
        dataclasses.replace(EDITOR, layers=(0, 1)).init(lm)
    with pytest.raises(UserError, match=r"no linear 'mlp\.gate'"):
        dataclasses.replace(EDITOR, module="mlp.gate").init(lm)
    bad = dataclasses.replace(EDITOR, learning_rate=float("nan"))
    state = bad.init(lm)
    with pytest.raises(FloatingPointError, match=r"layer 0: .*fact 0 .*not finite at step 1"):
        bad.edit(lm, state, bad.prepare(lm, facts[:1]))
    assert state.book.count == 0
