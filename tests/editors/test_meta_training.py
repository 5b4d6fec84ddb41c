"""The loop of what is trained once, on a problem whose answer is known; and where it is kept."""

import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jaxedit import partway
from jaxedit.data.disjoint import disjoint
from jaxedit.data.fact import Fact, Question
from jaxedit.editors.meta_batches import chosen, split
from jaxedit.editors.meta_training import MetaTraining, Problem, TrainedOnce, train
from jaxedit.editors.trained import fitted, key
from jaxedit.errors import NotFinite, UserError
from tests.tiny import tiny_facts, tiny_model

TRAINING = MetaTraining(
    steps=30, batch=3, accumulate=2, learning_rate=0.05, validate_every=7, validation=0.2
)


def means(records: int = 20, training: MetaTraining = TRAINING, wrong: bool = False) -> Problem:
    """Parameters that should become the mean of the records, which are drawn around 1."""
    data = np.random.default_rng(0).normal(1, 0.1, size=(records, 3)).astype(np.float32)

    @jax.jit
    def both(params: Any, some: Any) -> Any:
        return jax.value_and_grad(lambda p: jnp.square(p["a"] - some).mean())(params)

    def gradient(params: Any, places: np.ndarray, rng: np.random.Generator) -> Any:
        loss, slope = both(params, data[places] + 0.01 * rng.normal(size=(len(places), 3)))
        return slope, {"loss": jnp.nan if wrong else loss, "twice": 2 * loss}

    return Problem(
        "means",
        {"a": jnp.zeros(3)},
        optax.adam(training.rate),
        gradient,
        lambda params, places, rng: gradient(params, places, rng)[1],
        records,
        1e3,
    )


def same(one: Any, other: Any) -> bool:
    return jax.tree.all(jax.tree.map(np.array_equal, one, other))


def test_it_learns_and_looks_at_the_records_kept_apart():
    made = train(means(), TRAINING)
    assert made.losses[-1] < 0.2 * made.losses[0] and len(made.losses) == made.steps == 30
    assert [point.step for point in made.points] == [7, 14, 21, 28, 30]
    assert made.points[0].numbers["twice"] == pytest.approx(2 * made.points[0].numbers["loss"])


@pytest.mark.parametrize("stops", [(1,), (10, 11, 29), (30,)])
def test_a_training_broken_off_ends_with_the_same_numbers(tmp_path: Path, stops: tuple[int, ...]):
    whole = train(means(), TRAINING)
    for stop in stops:
        train(means(), TRAINING, directory=tmp_path, owner="me", until=stop)
    made = train(means(), TRAINING, directory=tmp_path, owner="me")
    assert same(made.params, whole.params) and made.points == whole.points
    assert np.array_equal(made.losses, whole.losses[stops[-1] :])
    with pytest.raises(UserError, match="another config"):
        train(means(), TRAINING, directory=tmp_path, owner="somebody else")


class Killed(BaseException):
    """As a kill: nothing is saved on the way out."""


@pytest.mark.parametrize("end", [Killed, KeyboardInterrupt])
def test_what_is_killed_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: type[BaseException]
):
    if end is Killed:  # so there is something from before
        monkeypatch.setattr(partway, "SECONDS_BETWEEN_SAVES", 0.0)
        monkeypatch.setattr(partway, "SAVING_SHARE", 0)
    problem, calls = means(), []

    def dies(*given: Any) -> Any:
        calls.append(given)
        if len(calls) > 9:
            raise end
        return problem.gradient(*given)

    with pytest.raises(end):
        train(problem._replace(gradient=dies), TRAINING, directory=tmp_path)
    made = train(problem, TRAINING, directory=tmp_path)
    assert len(made.losses) == 30 - 4  # two gradients a step; the fifth was in the making
    assert same(made.params, train(problem, TRAINING).params)


def test_what_did_best_is_given_and_patience_ends_it():
    """A learning rate that blows up: the best is an early point."""
    wild = dataclasses.replace(TRAINING, learning_rate=0.9, validate_every=1, patience=3, clip=None)
    made = train(means(training=wild), wild)
    losses = [point.numbers["loss"] for point in made.points]
    best = int(np.argmin(losses))
    assert made.steps == best + 1 + 3 < 30
    again = train(means(training=wild), wild, until=best + 1)
    assert same(made.params, again.params)


def test_every_record_comes_once_a_round():
    learn, held = split(20, TRAINING)
    assert (len(learn), held.tolist()) == (16, [16, 17, 18, 19])
    calls = np.concatenate([chosen(learn, TRAINING, call) for call in range(16)])  # three rounds
    for turn in range(3):
        assert sorted(calls[16 * turn : 16 * (turn + 1)]) == list(range(16))
    assert not np.array_equal(calls[:16], calls[16:32])


def test_a_step_is_the_mean_of_its_gradients():
    """Two batches of three, against one of six with the same records and plain descent."""
    problem = means()._replace(optimiser=optax.sgd(0.1))
    once = dataclasses.replace(TRAINING, steps=1, validation=0.0)
    seen = []

    def noted(params: Any, places: np.ndarray, rng: np.random.Generator) -> Any:
        seen.append(problem.gradient(params, places, rng)[0]["a"])
        return problem.gradient(params, places, np.random.default_rng(0))

    made = train(problem._replace(gradient=noted), once)
    expected = []
    for call in range(2):
        places = chosen(np.arange(20), once, call)
        expected.append(problem.gradient(problem.initial, places, np.random.default_rng(0))[0]["a"])
    assert np.allclose(made.params["a"], -0.1 * np.mean(expected, axis=0), rtol=1e-5)


def test_what_cannot_be_trained():
    with pytest.raises(NotFinite, match="not finite at step 1 of 30"):
        train(means(wrong=True), TRAINING)
    with pytest.raises(UserError, match="too few"):
        train(means(records=3), TRAINING)
    wrongs: list[dict[str, Any]] = [{"steps": 0}, {"learning_rate": 0.0}, {"validation": 1.0}]
    for wrong in wrongs:
        with pytest.raises(UserError, match=r"training\."):
            MetaTraining(**wrong)


@dataclasses.dataclass(frozen=True)
class Learner(TrainedOnce):
    """An editor as far as training goes."""

    size: int = 20
    training: MetaTraining = TRAINING
    trained: Any = None

    def problem(self, lm: Any, facts: Any) -> Problem:
        return means(self.size)


def test_what_is_trained_is_kept_and_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lm, facts, editor = tiny_model(), tiny_facts(4), Learner()
    made = fitted(editor, lm, facts, tmp_path)
    assert same(made.trained, editor.fit(lm, facts).trained)
    assert len(list((tmp_path / "trained").iterdir())) == 1
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "problem", None)  # it is not trained again
        again = fitted(editor, lm, facts, tmp_path)
    assert same(again.trained, made.trained)
    others = [(editor, facts[:3]), (Learner(size=21), facts)]
    keys = {key(editor, lm, facts), *(key(other, lm, some) for other, some in others)}
    assert len(keys) == 3
    assert key(made, lm, facts) == key(editor, lm, facts)


def test_records_that_are_asked_about_are_left_out():
    edit = Fact("{} is", "A", "x", neighbours=(Question("B is", "y"),), paraphrases=("Is A",))
    asked = Fact("{} is", "B", "z")
    reworded = Fact("{} was", "A", "z", paraphrases=("Is A", "Was A"))
    good = Fact("{} is", "C", "z", neighbours=(Question("B is", "y"), Question("D is", "y")))
    [left] = disjoint([asked, reworded, good], [edit])
    assert left == dataclasses.replace(good, neighbours=good.neighbours[1:])
