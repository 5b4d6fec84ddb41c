"""OnceEdit as an editor: an update that is broken off goes on where it was."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxedit import partway
from jaxedit.editors import OnceEdit
from jaxedit.ensemble import plug_training
from jaxedit.ensemble.plug_batches import Training
from jaxedit.ensemble.plugin import with_gate
from jaxedit.ensemble.prompts import Unrelated
from tests.tiny import tiny_model
from tests.tiny_run import even_facts

OTHERS = (Unrelated("The capital of Arden Hollow is", "Rivella"), Unrelated("Jovan lives", "so"))
TRAINING = Training(learning_rate=2e-2, epochs=4, batch=2, warmup=4, stop_below=1e-3)
STEPS = 8  # of either update: four epochs of two, the second with two of the earlier facts
LM = with_gate(tiny_model(n_layers=1)).lm
FACTS = even_facts(6)


class Killed(BaseException):
    """As a kill: nothing is saved on the way out."""


def editor(directory: Path | None = None) -> OnceEdit:
    return OnceEdit(OTHERS, TRAINING, replay=2, partway=directory)


def updates(method: OnceEdit, state: Any, *parts: Sequence) -> Iterator[tuple[Any, Any]]:
    for facts in parts:
        state, log = method.edit(LM, state, method.prepare(LM, facts))
        yield state, log


def same(one: Any, other: Any) -> bool:
    return jax.tree.all(jax.tree.map(lambda a, b: np.array_equal(a, b), one, other))


def watched(monkeypatch: pytest.MonkeyPatch, call: int = 0, end: Any = None) -> list[int]:
    """The steps that training makes from now on; the `call`-th ends the process."""
    step, made = plug_training._step, []

    def dies(state: Any, *given: Any, **settings: Any) -> Any:
        made.append(int(state.step))
        if len(made) == call:
            raise end
        return step(state, *given, **settings)

    monkeypatch.setattr(plug_training, "_step", dies)
    return made


@pytest.fixture(scope="module")
def whole() -> list[tuple[Any, Any]]:
    return list(updates(editor(), editor().init(LM), FACTS[:4], FACTS[4:]))


@pytest.mark.parametrize(
    ("call", "end"),
    [(1, KeyboardInterrupt), (4, KeyboardInterrupt), (4, Killed), (STEPS + 3, Killed)],
)
def test_an_update_that_is_broken_off_ends_with_the_same_numbers(
    whole: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: Any, call: int
):
    method = editor(tmp_path)
    with monkeypatch.context() as patch:
        if end is Killed:  # so there is something from before
            patch.setattr(partway, "SECONDS_BETWEEN_SAVES", 0.0)
            patch.setattr(partway, "SAVING_SHARE", 0)
        watched(patch, call, end)
        with pytest.raises(end):
            list(updates(method, method.init(LM), FACTS[:4], FACTS[4:]))
    made = watched(monkeypatch)
    state, parts, left = method.init(LM), [FACTS[:4], FACTS[4:]], whole
    if call > STEPS:  # a checkpoint of the run holds the first update
        state, parts, left = method.restore(LM, method.snapshot(whole[0][0])), parts[1:], whole[1:]
    for (found, log), (expected, told) in zip(updates(method, state, *parts), left, strict=True):
        assert same(found.params, expected.params) and found.facts == expected.facts
        assert same(log, told)
    assert made[0] == (call - 1) % STEPS and made[-1] == STEPS - 1
    assert len(list(tmp_path.iterdir())) == 1  # what was kept of the first update is gone


def test_another_update_begins_anew(whole: list, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    method = editor(tmp_path)
    with monkeypatch.context() as patch:
        watched(patch, 4, KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            list(updates(method, method.init(LM), FACTS[:3]))
    made = watched(monkeypatch)
    [(found, _)] = updates(method, method.init(LM), FACTS[:4])
    assert same(found.params, whole[0][0].params) and made[0] == 0
