"""A tiny model, a network that is not the identity any more, and MEND's parts in numpy."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxedit.data.fact import Fact, Question
from jaxedit.editors.captures import Captured, capture
from jaxedit.editors.hyper_editor import HyperEditor
from jaxedit.editors.hyper_network import Trained, modules
from jaxedit.editors.normaliser import EPSILON
from jaxedit.models.transformer import Transformer
from tests.tiny import tiny_model
from tests.tiny_run import even_facts


def small_model() -> Transformer:
    return tiny_model(n_layers=2)


@functools.cache
def in_float64() -> Transformer:
    """One of a single block, to be used with float64 enabled."""
    with jax.enable_x64(True):
        lm = tiny_model(n_layers=1)
        return lm.with_params(
            jax.tree.map(lambda x: jnp.asarray(np.asarray(x, np.float64)), lm.params)
        )


def records(count: int = 4) -> list[Fact]:
    """Facts of one length; the second has neither neighbours nor other words."""
    facts = even_facts(count)
    bare = Fact(facts[1].prompt, facts[1].subject, facts[1].target, id=facts[1].id)
    more = Question("Is Vup QZ of", "Kux Q")
    facts = [Fact(**{**vars(f), "neighbours": (*f.neighbours, more)}) for f in facts]
    return [facts[0], bare, *facts[2:]]


def stirred(trained: Trained, dtype: Any = np.float32) -> Trained:
    """As if trained for long: everything away from where it began."""
    draw = np.random.default_rng(3)

    def moved(x: Any) -> np.ndarray:
        x = np.asarray(x, dtype)
        return x + 0.05 * draw.normal(size=x.shape).astype(dtype)

    network, rates, ridges = (jax.tree.map(moved, part) for part in trained[:3])
    scales = jax.tree.map(lambda x: np.asarray(x, dtype), trained.scales)
    return Trained(network, rates, ridges, scales)


def captured_by(editor: HyperEditor, lm: Transformer, facts: list[Fact]) -> Captured:
    """Of each fact by itself, with its own mean loss; float64."""
    rows = editor.prepare(lm, facts)
    found = jax.tree.map(np.asarray, capture(lm, rows, editor.places(lm), editor.tokens))
    mean = 1 / rows.target_mask.sum(1, dtype=np.float64)
    return Captured(
        {name: x.astype(np.float64) for name, x in found.keys.items()},
        {name: mean[:, None, None] * x for name, x in found.gradients.items()},
        found.loss * mean,
    )


def factors(
    editor: HyperEditor, trained: Trained, captured: Captured, name: str
) -> tuple[np.ndarray, ...]:
    """u, u~ and delta~ of the tokens that count, one after another, float64."""
    u, delta = (x[name].reshape((-1, x[name].shape[-1])) for x in captured[:2])
    real = u.any(1) & delta.any(1)
    u, delta = u[real], delta[real]
    shapes = {
        n: (captured.keys[n].shape[-1], captured.gradients[n].shape[-1]) for n in captured.keys
    }
    [(shape, own)] = [item for item in modules(shapes).items() if name in item[1]]
    network = jax.tree.map(lambda x: np.asarray(x, np.float64), trained.network[shape])
    y = np.concatenate([u, delta], axis=1)
    y = (y - trained.scales[shape].mean) / (np.asarray(trained.scales[shape].std) + EPSILON)
    at = own.index(name)
    for block in range(len(network.down)):
        inner = y @ network.down[block] @ network.up[block] + network.bias[block]
        scale, shift = network.scale[block, at], network.shift[block, at]
        if type(editor).__name__ == "Mend":
            y = y + np.maximum(0, scale * inner + shift)
        else:
            y = y + scale * np.maximum(0, inner) + shift
    return u, y[:, : u.shape[1]], y[:, u.shape[1] :]


def changes(lm: Transformer, editor: HyperEditor, facts: list[Fact]) -> Mapping[str, np.ndarray]:
    """What one update with these facts does to each kernel."""
    state = editor.init(lm)
    after, _ = editor.edit(lm, state, editor.prepare(lm, facts))
    return {
        name: np.asarray(after.leaves[name], np.float64) - np.asarray(before, np.float64)
        for name, before in state.leaves.items()
    }


def close(found: Any, expected: Any, share: float) -> bool:
    """Within a share of the largest entry."""
    return bool(np.abs(np.asarray(found) - expected).max() <= share * np.abs(expected).max())
