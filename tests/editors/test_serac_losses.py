"""SERAC's two losses, recomputed from distances and from a routed model's words."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxedit.editors.meta_training import MetaTraining
from jaxedit.editors.scope import Metric
from jaxedit.editors.serac import Serac
from jaxedit.editors.serac_records import Asked, Drawn, Records, draw, edit_text, records
from jaxedit.models.routed import Route, Routed
from jaxedit.models.transformer import Transformer
from tests.tiny import tiny_facts, tiny_model

SERAC = Serac(depth=1, width=8, others=4, training=MetaTraining(steps=1, batch=4))
PLACES = np.arange(4)


def base_model() -> Transformer:
    return tiny_model(n_layers=2)


def drawn(editor: Serac) -> tuple[Metric, dict[str, Any], Records, Drawn]:
    """The first metric, the losses of a step, and what its generator draws."""
    lm, facts = base_model(), [dataclasses.replace(f, group="birthplace") for f in tiny_facts(10)]
    problem = editor.problem(lm, facts)
    said = problem.losses(problem.initial, PLACES, np.random.default_rng(3))
    order = np.random.default_rng(editor.training.seed).permutation(len(facts))
    made = records(lm, [facts[i] for i in order], editor.reading(lm), key="question")
    taken = draw(made, PLACES, np.arange(9), np.random.default_rng(3), editor.others)
    return problem.initial.metric, dict(said), made, taken


def apart(metric: Metric, made: Records, taken: Drawn) -> tuple[np.ndarray, np.ndarray]:
    """[B, C] squared distances of what is inside, and of what is outside, to every key."""

    def embed(texts: Any) -> np.ndarray:
        return made.read(texts) / metric.scale @ np.asarray(metric.matrix)

    keys = embed(made.keys[i] for i in taken.keys)
    asked = embed(taken.inside), embed(prompt for prompt, _ in taken.outside)
    inside, outside = (((x[:, None] - keys[None]) ** 2).sum(-1) for x in asked)
    return inside, np.where(taken.outside_apart, outside, np.inf)


def nll(pairs: Sequence[Asked], scope: np.ndarray, edits: Sequence[str]) -> float:
    """Mean over the answers' tokens, in a mixture with these scopes, behind these edits."""
    lm = base_model()
    params = {name: leaf for name, leaf in lm.params.items() if name != "layers_1"}
    other = dataclasses.replace(tiny_model(n_layers=1), params=params)
    route = Route(np.asarray(scope, np.float32), tuple(edits))
    said = Routed(lm, other, lambda texts: route).teacher_forced(
        [prompt for prompt, _ in pairs], [answer for _, answer in pairs]
    )
    return -float(np.concatenate([forced.logprobs for forced in said]).mean())


def test_apart():
    metric, said, made, taken = drawn(SERAC)
    inside, outside = apart(metric, made, taken)
    rival = np.where(taken.inside_apart, inside, np.inf).min(1)
    entropy = np.diagonal(inside) - np.log(-np.expm1(-rival)) - np.log(-np.expm1(-outside.min(1)))
    np.testing.assert_allclose(said["scope"], entropy.mean(), rtol=1e-4)
    pairs = list(zip(taken.inside, taken.answers, strict=True))
    np.testing.assert_allclose(said["nll"], nll(pairs, np.ones(4), taken.edits), rtol=1e-4)
    np.testing.assert_allclose(said["loss"], said["scope"] + said["nll"], rtol=1e-5)


def test_joint():
    metric, said, made, taken = drawn(
        dataclasses.replace(SERAC, objective="joint", inside_weight=0.1, outside_weight=2.0)
    )
    inside, _ = apart(metric, made, taken)
    counted = taken.inside_apart | np.eye(*inside.shape, dtype=bool)
    inside = np.where(counted, inside, np.inf)
    others = [edit_text(made.facts[i].question, made.facts[i].target) for i in taken.keys[4:]]
    edits = [[*taken.edits, *others][i] for i in inside.argmin(1)]
    pairs = list(zip(taken.inside, taken.answers, strict=True))
    expected = nll(pairs, np.exp(-inside.min(1)), edits)
    np.testing.assert_allclose(said["nll"], expected, rtol=1e-4)
    assert said["divergence"] > 0
    np.testing.assert_allclose(said["loss"], 0.1 * said["nll"] + 2 * said["divergence"], rtol=1e-5)
