"""The loop: one update after another, nothing compiled once every shape has been seen."""

from pathlib import Path

import jax
import numpy as np
import pytest

from jaxedit import driver
from jaxedit.editors import EDITORS
from jaxedit.editors.statistics import second_moments
from jaxedit.editors.values import ValueSettings
from jaxedit.errors import UserError
from jaxedit.metrics import Setting
from jaxedit.schedule import Block, schedule
from tests.tiny import SENTENCES, tiny_model
from tests.tiny_run import even_facts

LAYERS = (1, 2)


def editor(method: str):
    moments = second_moments(tiny_model(), LAYERS, list(SENTENCES) * 8, tokens=400)
    return EDITORS[method](
        layers=LAYERS,
        statistics=moments.matrices,
        contexts=(("{}",), ("The old harbour. {}",)),
        moment_weight=20.0,
        values=ValueSettings(steps=4, learning_rate=0.3),
    )


def asked(facts, generate=()):
    moments = ("immediate", "checkpoint")
    return driver.Asking(
        driver.by_fact(facts),
        {when: Setting(when=when, dtype="float32", max_new_tokens=4) for when in moments},
        frozenset(generate),
    )


@pytest.fixture
def compilations():
    """Counts programs that XLA builds."""
    seen: list[str] = []

    def listen(event: str, duration_secs: float, **_: str | int) -> None:
        if event.endswith("backend_compile_duration"):
            seen.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield seen
    jax.monitoring.unregister_event_duration_listener(listen)


@pytest.mark.parametrize("method", ["memit", "d4s"])
def test_steady_state_compiles_nothing(method: str, compilations: list[str]):
    facts, chosen = even_facts(54), editor(method)
    blocks = schedule(54, block=2, checkpoint_every=2, evaluate_at=(2,))
    updates = driver.edits(
        tiny_model(), chosen, facts, chosen.init(tiny_model()), blocks, asked(facts, ["immediate"])
    )
    for update in updates:
        if update.turn.stop == 4:
            compilations.clear()
    assert compilations == []


def test_each_update_tells_what_it_did():
    facts, chosen, lm = even_facts(4), editor("d4s"), tiny_model()
    before = jax.tree.map(np.asarray, lm.params)
    blocks = schedule(4, checkpoint_every=2, evaluate_every=3)
    updates = list(driver.edits(lm, chosen, facts, chosen.init(lm), blocks, asked(facts)))
    assert [update.turn.stop for update in updates] == [1, 2, 3, 4]
    assert [update.snapshot is not None for update in updates] == [False, True, False, True]
    for place, update in enumerate(updates):
        assert {answer.asked.fact for answer in update.immediate} == {place}
        assert {answer.setting.when for answer in update.immediate} == {"immediate"}
        assert set(update.norms) == {"layers_1/mlp.down", "layers_2/mlp.down"}
        assert len(update.log["loss"]) == 1
    assert {answer.asked.fact for answer in updates[2].so_far} == {0, 1, 2}
    assert not updates[1].so_far and not updates[3].so_far
    jax.tree.map(np.testing.assert_array_equal, before, lm.params)  # the model is as it was


def test_going_on_from_a_snapshot_gives_the_same(tmp_path: Path):
    facts, chosen, lm = even_facts(4), editor("d4s"), tiny_model()
    whole = schedule(4, checkpoint_every=2)
    updates = list(driver.edits(lm, chosen, facts, chosen.init(lm), whole, asked(facts)))
    rest = schedule(4, checkpoint_every=2, start=2)
    state = chosen.restore(lm, updates[1].snapshot)
    again = list(driver.edits(lm, chosen, facts, state, rest, asked(facts)))
    for one, other in zip(updates[2:], again, strict=True):
        assert one.norms == other.norms and one.immediate == other.immediate
    jax.tree.map(np.testing.assert_array_equal, updates[3].snapshot, again[1].snapshot)


def test_weights_that_are_not_finite_stop_the_run(monkeypatch: pytest.MonkeyPatch):
    facts, chosen, lm = even_facts(2), editor("d4s"), tiny_model()
    norms = driver.edited_norms(chosen, lm, lm)
    broken = {name: values._replace(l1=float("nan")) for name, values in norms.items()}
    monkeypatch.setattr(driver, "edited_norms", lambda *_: broken)
    updates = driver.edits(
        lm, chosen, facts, chosen.init(lm), schedule(2, checkpoint_every=2), asked(facts)
    )
    with pytest.raises(UserError, match=r"edit 1 \(fact tiny-0\): layers_1/mlp.down has weights"):
        next(updates)


def test_alone_every_update_starts_from_the_unedited_model():
    facts, chosen, lm = even_facts(3), editor("memit"), tiny_model()
    start = chosen.init(lm)
    together = schedule(3, checkpoint_every=3)
    alone = list(driver.edits(lm, chosen, facts, start, together, asked(facts), alone=True))
    assert [update.state.edits for update in alone] == [1, 1, 1]
    last = schedule(3, checkpoint_every=3)[0].turns[2:]
    fresh = driver.edits(lm, chosen, facts, start, [Block(last)], asked(facts))
    (other,) = list(fresh)
    jax.tree.map(np.testing.assert_array_equal, alone[2].state.leaves, other.state.leaves)
    assert alone[2].damage is not None and alone[0].damage is None
