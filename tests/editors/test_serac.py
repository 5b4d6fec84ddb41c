"""SERAC: scopes by hand, the two losses against what they say, a cache that is all an edit is."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxedit.data.fact import Fact, Question
from jaxedit.editors.editor import take
from jaxedit.editors.meta_training import MetaTraining, train
from jaxedit.editors.scope import Metric, Reading, Scope, embedded, memory_of, nearest
from jaxedit.editors.serac import Cached, Serac
from jaxedit.editors.serac_losses import Trained
from jaxedit.editors.serac_records import draw, edit_text, key_text, records
from jaxedit.errors import UserError
from jaxedit.models.loading import save_hf
from jaxedit.models.transformer import Transformer
from tests.tiny import tiny_facts, tiny_model

BLOCKS = 2  # of the base model
FAR = "red green blue red green"
TRAINING = MetaTraining(
    steps=6, batch=4, learning_rate=3e-3, validate_every=6, validation=0.2, clip=None
)
UNTRAINED = Serac(depth=1, width=8, others=4, training=TRAINING)


def base_model() -> Transformer:
    return tiny_model(n_layers=BLOCKS)


def lessons() -> list[Fact]:
    """Records of one relation, so that their targets may be swapped."""
    return [dataclasses.replace(fact, group="birthplace") for fact in tiny_facts(10)]


def serac(scale: float = 30.0, **changes: Any) -> Serac:
    """With a sharp metric and a random counterfactual model, in place of training."""
    lm = base_model()
    rng = np.random.default_rng(0)
    metric = Metric(np.ones(48, np.float32), scale * rng.normal(size=(48, 8)).astype(np.float32))
    params = tiny_model(n_layers=1).params
    assert lm.config.d_model == 24
    return dataclasses.replace(UNTRAINED, trained=Trained(metric, params), **changes)


def edited(editor: Serac, facts: list[Fact], one_by_one: bool = False) -> Cached:
    lm = base_model()
    prepared, state = editor.prepare(lm, facts), editor.init(lm)
    size = 1 if one_by_one else len(facts)
    for start in range(0, len(facts), size):
        state, log = editor.edit(lm, state, take(prepared, start, start + size))
        assert log["scope"].shape == (size,)
    return state


def asked(facts: list[Fact]) -> list[str]:
    return [*(fact.question for fact in facts), FAR]


def test_distances_and_scopes_by_hand():
    mesh = base_model().mesh
    metric = Metric(np.array([1, 2], np.float32), np.array([[2, 0], [0, 1]], np.float32))
    keys = embedded(metric, np.array([[0, 0], [1.5, 0]], np.float32), mesh)
    assert keys.tolist() == [[0, 0], [3, 0]]
    memory = memory_of(keys)
    assert memory.keys.shape == (16, 2)
    assert memory.count == 2
    texts = embedded(metric, np.array([[0, 1], [1, 0], [-9, 0]], np.float32), mesh)
    apart, which = nearest(memory, texts, mesh)
    assert apart.tolist() == [0.25, 1.0, 324.0]  # not to a row that is empty
    assert which.tolist() == [0, 1, 0]
    assert nearest(memory_of(keys[:0]), texts, mesh)[0].tolist() == [np.inf] * 3
    assert [len(memory_of(np.zeros((n, 2))).keys) for n in (16, 17, 33)] == [16, 32, 64]


def test_a_question_goes_to_the_edit_that_it_is_nearest_to():
    lm, facts, editor = base_model(), tiny_facts(4), serac()
    route = editor.bind(lm, edited(editor, facts)).route(asked(facts))
    assert route.edit[:4] == tuple(edit_text(fact.question, fact.target) for fact in facts)
    np.testing.assert_allclose(route.scope[:4], 1, atol=1e-3)
    assert route.scope[4] < editor.floor
    assert editor.places(lm) == editor.layers == ()


def test_far_from_all_edits_answers_have_the_bits_of_the_base_model():
    lm, editor = base_model(), serac()
    for state in (editor.init(lm), edited(editor, tiny_facts(4))):
        model = editor.bind(lm, state)
        [ours], [alone] = model.teacher_forced([FAR], ["blue"]), lm.teacher_forced([FAR], ["blue"])
        assert ours.logprobs.tobytes() == alone.logprobs.tobytes()
        assert model.continuations([FAR], 3) == lm.continuations([FAR], 3)


def test_a_batch_is_its_facts_one_by_one_and_a_restart_changes_nothing():
    lm, facts, editor = base_model(), tiny_facts(18), serac()
    whole, steps = edited(editor, facts), edited(editor, facts, one_by_one=True)
    tree = jax.tree.map(np.asarray, editor.snapshot(steps))
    again = editor.restore(lm, tree)
    assert again.facts == whole.facts == steps.facts
    np.testing.assert_array_equal(again.memory.keys, steps.memory.keys)
    assert len(again.memory.keys) == 32
    routes = [editor.bind(lm, state).route(asked(facts)) for state in (whole, steps, again)]
    assert routes[0].edit == routes[1].edit == routes[2].edit
    np.testing.assert_allclose(routes[0].scope, routes[1].scope, atol=1e-3)
    empty = editor.restore(lm, editor.snapshot(editor.init(lm)))
    assert empty.facts == ()


def test_a_question_that_is_edited_anew_has_one_answer():
    lm, editor = base_model(), serac()
    [first, second] = tiny_facts(2)
    changed = dataclasses.replace(first, target="Sarn")
    state = edited(editor, [first, second, changed])
    assert state.facts == (changed, second)
    assert state.memory.count == 2
    assert editor.bind(lm, state).route([first.question]).edit == (f"{first.question} Sarn",)
    prepared = editor.prepare(lm, [second])
    np.testing.assert_allclose(editor.edit(lm, state, prepared)[1]["scope"], 1, atol=1e-3)


def test_the_published_key_drops_one_word_of_the_target():
    fact = Fact("{} was born in", "Mira", "New Calder")
    assert key_text(fact, "published", "{}") == "Mira was born in New"
    assert key_text(fact, "question", "Q: {} A:") == "Q: Mira was born in A:"


def test_training_lowers_the_loss_and_never_moves_the_scale():
    problem = UNTRAINED.problem(base_model(), lessons())
    made = train(problem, TRAINING)
    before = problem.losses(problem.initial, np.arange(4), np.random.default_rng(0))
    after = problem.losses(made.params, np.arange(4), np.random.default_rng(0))
    assert after["loss"] < before["loss"] - 0.5
    assert after["nll"] < before["nll"]
    np.testing.assert_array_equal(made.params.metric.scale, problem.initial.metric.scale)
    kept = jax.tree.map(np.asarray, UNTRAINED.pack(made.params))
    back = UNTRAINED.unpack(base_model(), kept)
    assert jax.tree.structure(back) == jax.tree.structure(made.params)


def test_what_records_say_is_inside_and_outside():
    facts = [
        Fact("{} was born in", "Mira", "Vantor", paraphrases=("The home of Mira is",)),
        Fact("{} works as a", "Mira", "smith", neighbours=(Question("Ester works as a", "cook"),)),
        Fact("{} was born in", "Jovan", "Sarn"),
    ]
    made = records(base_model(), facts, Reading((1,), ()), key="question")
    assert made.inside[0] == ("Mira was born in", "The home of Mira is")
    assert made.outside[0] == (("Mira works as a", "smith"),)
    assert made.outside[1][:2] == (("Ester works as a", "cook"), ("Mira was born in", "Vantor"))
    assert made.outside[2] == (("Mira was born in", "Vantor"),)
    one = draw(made, np.array([0]), np.arange(3), np.random.default_rng(0), 2)
    assert one.inside_apart.tolist() == [[False, True, True]]
    assert one.outside_apart[0, 1 + one.keys[1:].tolist().index(1)] == np.False_


def test_the_classifier_may_read_another_models_states(tmp_path: Path):
    """The encoder is one of two blocks and other numbers; who answers stays the base model."""
    lm, facts = base_model(), tiny_facts(3)
    save_hf(tiny_model(n_layers=2, d_ff=32), tmp_path)
    editor = dataclasses.replace(serac(), encoder=str(tmp_path))
    read = editor.reader(lm)
    assert read.config.d_ff == 32 and editor.reading(read) == Reading((1,), (0,))
    route: Any = editor.bind(lm, editor.init(lm)).route
    assert route.lm is read and editor.bind(lm, editor.init(lm)).base is lm
    mine, theirs = (e.prepare(lm, facts).keys for e in (serac(), editor))
    assert mine.shape == theirs.shape and not np.allclose(mine, theirs)
    assert "encoder" in editor.trained_by() and "encoder" not in serac().trained_by()


def test_what_cannot_be_is_refused():
    lm, facts = base_model(), tiny_facts(2)
    with pytest.raises(UserError, match="trained once"):
        UNTRAINED.prepare(lm, facts)
    with pytest.raises(UserError, match="depth is 9"):
        dataclasses.replace(UNTRAINED, depth=9).problem(lm, facts)
    with pytest.raises(UserError, match="two training records"):
        UNTRAINED.problem(lm, facts[:1])
    assert isinstance(serac().bind(lm, serac().init(lm)).route, Scope)
