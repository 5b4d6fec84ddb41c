"""Facts before questions: which, in what words, and what is left alone."""

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

from jaxedit import api
from jaxedit.arm_settings import arm_settings
from jaxedit.config import base, run_config
from jaxedit.data.fact import Fact, Question
from jaxedit.editors.editor import take
from jaxedit.editors.ike import Ike, demonstration, kinds_of
from jaxedit.editors.in_context import Retrieval
from jaxedit.errors import UserError
from jaxedit.preflight import known_shape
from tests.tiny import tiny_facts, tiny_model

FAR = "Repeat: red blue green. red blue"
NEAR = 0.999


def edited(editor: Retrieval, facts: list[Fact], one_by_one: bool = False) -> Any:
    lm = tiny_model()
    prepared, state = editor.prepare(lm, facts), editor.init(lm)
    if not one_by_one:
        return editor.edit(lm, state, prepared)[0]
    for i in range(len(facts)):
        state, log = editor.edit(lm, state, take(prepared, i, i + 1))
        assert log["tokens"].shape == (1,)
    return state


def fronts(editor: Retrieval, state: Any, prompts: list[str]) -> list[str]:
    return editor.bind(tiny_model(), state).front(prompts)


def test_the_fact_that_is_asked_about_is_found_and_far_questions_are_bare():
    lm, facts, editor = tiny_model(), tiny_facts(4), Retrieval(threshold=NEAR)
    state = edited(editor, facts)
    asked = [fact.question for fact in facts]
    said = [f"New fact: {fact.question} {fact.target}.\n" for fact in facts]
    assert fronts(editor, state, [*asked, FAR]) == [*said, ""]
    model = editor.bind(lm, state)
    [ours], [bare] = model.teacher_forced([FAR], ["green"]), lm.teacher_forced([FAR], ["green"])
    assert ours.logprobs.tobytes() == bare.logprobs.tobytes()
    assert editor.places(lm) == editor.layers == ()


def test_before_any_edit_everything_is_bare():
    lm, editor = tiny_model(), Retrieval(threshold=None)
    assert fronts(editor, editor.init(lm), ["Mira Danto a was born in"]) == [""]


def test_a_batch_is_its_facts_one_by_one():
    facts = tiny_facts(5)
    asked = [fact.question for fact in facts] + [FAR]
    for editor in (Retrieval(threshold=None, most=2), Ike(shown=2, demonstrations=shown())):
        batch = fronts(editor, edited(editor, facts), asked)
        assert batch == fronts(editor, edited(editor, facts, one_by_one=True), asked)
        alone = [fronts(editor, edited(editor, facts), [prompt])[0] for prompt in asked]
        assert batch == alone


def test_a_revision_takes_the_place_of_the_fact():
    first, *others = tiny_facts(3)
    again = dataclasses.replace(first, target="Sarn", id="again")
    editor = Retrieval(threshold=NEAR, most=3, form="({})")
    state = edited(editor, [first, *others, again], one_by_one=True)
    assert fronts(editor, state, [first.question]) == [f"({first.question} Sarn)"]


@pytest.mark.parametrize("editor", [Retrieval(threshold=0.5), "ike"])
def test_it_goes_on_from_a_snapshot(editor: Any):
    lm, facts = tiny_model(), tiny_facts(6)
    editor = Ike(shown=3, demonstrations=shown()) if editor == "ike" else editor
    state = edited(editor, facts[:3], one_by_one=True)
    kept = jax.tree.map(np.asarray, editor.snapshot(state))
    live = editor.edit(lm, state, editor.prepare(lm, facts[3:]))[0]
    again = editor.restore(lm, kept)
    restarted = editor.edit(lm, again, editor.prepare(lm, facts[3:]))[0]
    assert restarted.facts == live.facts == tuple(facts)
    asked = [fact.question for fact in facts] + [FAR]
    assert fronts(editor, restarted, asked) == fronts(editor, live, asked)
    # The old state is still good, and a later snapshot holds all.
    assert fronts(editor, state, asked) == fronts(editor, again, asked)
    grown = editor.restore(lm, editor.snapshot(live))
    assert fronts(editor, grown, asked) == fronts(editor, live, asked)


def test_prompts_in_a_format_are_compared_in_it():
    editor = Retrieval(threshold=NEAR, format="Q: {} A:")
    fact = tiny_facts(1)[0]
    state = edited(editor, [fact])
    found = fronts(editor, state, [f"Q: {fact.question} A:", fact.question])
    assert found == [f"New fact: {fact.question} {fact.target}.\n", ""]


def shown() -> tuple[Fact, ...]:
    names = ("Abel Korr", "Bea Lund", "Cal Moy", "Dora Nix")
    return tuple(
        Fact(
            "{} was born in",
            name,
            f"City {i}",
            f"Town {i}",
            (f"Noise. More noise.\n{name}'s birthplace is",),
            (Question(f"{name} works as", "a cook"),),
            id=f"shown-{i}",
        )
        for i, name in enumerate(names)
    )


def test_kinds_in_the_published_ratio():
    counts = [[kinds_of(n).count(k) for k in ("copy", "update", "retain")] for n in (32, 8, 4)]
    assert counts == [[4, 12, 16], [1, 3, 4], [1, 1, 2]]


def test_demonstrations_by_hand():
    fact, rng = shown()[1], np.random.default_rng(0)
    head = "New Fact: Bea Lund was born in City 1\nPrompt: "
    assert demonstration(fact, "copy", rng) == f"{head}Bea Lund was born in City 1\n\n"
    assert demonstration(fact, "update", rng) == f"{head}Bea Lund's birthplace is City 1\n\n"
    assert demonstration(fact, "retain", rng) == f"{head}Bea Lund works as a cook\n\n"
    bare = dataclasses.replace(fact, paraphrases=(), neighbours=())
    copied = demonstration(fact, "copy", rng)
    assert demonstration(bare, "update", rng) == demonstration(bare, "retain", rng) == copied


def test_ike_shows_the_nearest_last_then_the_fact_twice():
    class ByHand(Ike):
        def vectors(self, lm, prompts):
            del lm
            angle = [0.3 * "BDCA".index(p[0]) if p[0] in "ABCD" else 0.25 for p in prompts]
            return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)

    fact, editor = tiny_facts(1)[0], ByHand(shown=3, demonstrations=shown())
    state = edited(editor, [fact])
    [front] = fronts(editor, state, [fact.question])
    parts = front.split("\n\n")
    said = f"New Fact: {fact.question} {fact.target}\nPrompt: "
    names = [part.split()[2] for part in parts[:3]]
    assert names == ["Cal", "Bea", "Dora"]  # at .6, 0 and .3, seen from .25
    assert parts[3:] == [f"{said}{fact.question} {fact.target}", said]
    assert [front] == fronts(editor, state, [fact.question])
    none = ByHand(shown=0)
    assert fronts(none, edited(none, [fact]), ["x"]) == ["\n\n".join(parts[3:])]


def test_a_learned_threshold_is_that_of_the_demonstrations():
    names = [fact.subject for fact in shown()]

    def angle(prompt: str) -> float:
        """The facts lie at 0, 1, 2 and 3, their paraphrases .3 further, all neighbours at 3.5."""
        if "works" in prompt:
            return 3.5
        place = next(i for i, name in enumerate(names) if name in prompt)
        return place + (0.3 if "birthplace" in prompt else 0.0)

    class ByHand(Retrieval):
        def vectors(self, lm, prompts):
            del lm
            return np.array([[np.cos(angle(p)), np.sin(angle(p))] for p in prompts], np.float32)

    editor = ByHand(demonstrations=shown())
    state = editor.init(tiny_model())
    assert state.threshold == pytest.approx((np.cos(0.3) + np.cos(0.5)) / 2, abs=1e-6)
    kept = editor.restore(tiny_model(), editor.snapshot(state))
    assert kept.threshold == state.threshold


def test_three_lines(tmp_path):
    lm, facts = tiny_model(), tiny_facts(2)
    made: Any = api.edit(lm, facts, "retrieval", demonstrations=shown(), layer=1, threshold=NEAR)
    said = f"New fact: {facts[1].question} {facts[1].target}.\n"
    assert made.log["tokens"][1] == len(lm.tokenizer.encode(said))
    made.save(tmp_path / "saved")
    again: Any = api.restore(tmp_path / "saved", lm)
    asked = [facts[0].question, facts[1].question, FAR]
    assert again.model.front(asked) == made.model.front(asked)
    assert made.model.front(asked)[1:] == [said, ""]
    with pytest.raises(UserError, match="changes no weights"):
        made.export(tmp_path / "exported")


def test_a_run_needs_no_layers_and_wraps_facts_as_prompts():
    raw = base().to_dict() | {"model": "EleutherAI/gpt-j-6b"}
    raw["facts"]["source"] = "zsre"
    raw["arms"] = {"ike": {"method": "ike"}, "near": {"method": "retrieval", "threshold": 0.5}}
    config = run_config(raw)
    for arm in config.arms:
        settings = arm_settings(config, arm, known_shape(config.model))
        assert settings == {"layers": (), **arm.settings}
    raw["arms"]["near"]["layers"] = (99,)
    config = run_config(raw)
    assert arm_settings(config, config.arms[1], known_shape(config.model))["layers"] == ()
    raw["arms"] = {"ike": {"method": "ike", "format": "Q: {}"}}
    config = run_config(raw)
    with pytest.raises(UserError, match=r"arms\.ike\.format: no such setting"):
        arm_settings(config, config.arms[0], known_shape(config.model))


def test_what_makes_no_sense_is_refused():
    lm = tiny_model()
    for wrong, said in (
        (lambda: Retrieval(most=0), "most is 0"),
        (lambda: Retrieval(form="fact"), "form 'fact' needs exactly one"),
        (lambda: Retrieval(threshold="high"), 'give a number, "learned" or None'),  # type: ignore[arg-type]
        (lambda: Retrieval().init(lm), 'threshold="learned" needs demonstrations'),
        (lambda: Ike().init(lm), "ike needs demonstrations"),
        (lambda: Ike(shown=-1), "shown is -1"),
        (lambda: Ike(most=2), "ike puts one fact"),
        (lambda: Retrieval(layer=9, threshold=None).prepare(lm, tiny_facts(1)), "no layer 9"),
    ):
        with pytest.raises(UserError, match=said):
            wrong()
