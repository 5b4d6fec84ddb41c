"""Losses and gradients of the plug-in against PyTorch's, wherever the arrays lie."""

import dataclasses
import json
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.ensemble.plug_losses import losses
from jaxedit.ensemble.plug_rows import Row, stack
from jaxedit.ensemble.plugin import Plugin, Prompts, gate_logit, last_hidden
from jaxedit.models import families
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import make_mesh
from tests.shared import GOLDEN

ROOT = GOLDEN / "onceedit"
FILES = sorted(ROOT.glob("plug_training*.npz"))
RTOL = 1e-4


def plugin() -> Plugin:
    raw = json.loads((ROOT / "configs.json").read_text())
    config = families.read_config(raw["plug"])
    params: dict[str, Any] = {}
    with np.load(ROOT / "plug_params.npz") as stored:
        for weight in families.weights(config):
            node = params
            for key in weight.path[:-1]:
                node = node.setdefault(key, {})
            value = stored[weight.name]
            node[weight.path[-1]] = jnp.asarray(value.T if weight.transpose else value)
    lm = Transformer(config, params, None, make_mesh(1), "golden")
    return Plugin(lm, raw["weight_token_id"])


def rows(arrays: Any, reading: str, gate: int) -> list[Row]:
    """The stored token rows, as our own tokenisation would have made them."""
    made = []
    sizes = (arrays[name] for name in ("lengths", "prompt_lengths", "edit_label"))
    for ids, length, prompt, label in zip(arrays["input_ids"], *sizes, strict=True):
        whole, edit, appended = ids[:length].tolist(), bool(label), reading == "appended"
        if edit:
            read = -1 if appended else prompt - 1
            made.append(Row(whole[:-1], prompt - 1, whole[prompt:], read, True))
        if appended or not edit:
            bare = [*whole[:prompt], gate] if appended else whole[:prompt]
            made.append(Row(bare, 0, [], len(bare) - 1, edit))
    return made


@pytest.mark.skipif(not FILES, reason="no arrays of a plug-in's training")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize(("name", "reading"), [("A1", "component"), ("A2", "appended")])
def test_losses_and_gradients(path, name, reading):
    plug = dataclasses.replace(plugin(), reading=reading)
    config, params = plug.lm.config, plug.lm.params
    with np.load(path) as stored:
        arrays = dict(stored)
    batch = stack(rows(arrays, reading, plug.gate), width=8)
    objective = partial(
        losses, config, rows=batch, gate=plug.gate, reading=reading, weight=float(arrays["lam"])
    )
    with jax.default_matmul_precision("highest"):
        (total, made), gradient = jax.jit(jax.value_and_grad(objective, has_aux=True))(params)
        by_example = jax.jit(partial(objective, mean="example"))(params)[1].generation
    gated = np.asarray(made.gate)[np.asarray(batch.gated)]
    leaves = jax.tree.leaves(gradient)
    ours = {
        "logit_w": gated,
        "L_gen_token_mean": made.generation,
        "L_gen_example_mean": by_example,
        "L_weight": made.weight,
        "L": total,
        "grad_emb_W": gradient["embed"]["tokens"][plug.gate],
        "grad_head_W": gradient["head"]["kernel"][:, plug.gate],
        "grad_global_norm": np.sqrt(sum(float(jnp.square(leaf).sum()) for leaf in leaves)),
    }
    for what, value in ours.items():
        theirs = arrays[f"{name}/{what}"]
        tiny = 1e-6 * np.abs(theirs).max()  # for entries of a gradient that cancel to nearly 0
        np.testing.assert_allclose(value, theirs, rtol=RTOL, atol=tiny, err_msg=what)


@pytest.mark.skipif(not FILES, reason="no arrays of a plug-in's training")
def test_the_gate_is_read_from_the_bare_prompt():
    plug = plugin()
    with np.load(FILES[0]) as stored:
        arrays = dict(stored)
    ids, last = arrays["input_ids"], arrays["prompt_lengths"] - 1
    mask = np.arange(ids.shape[1]) <= last[:, None]
    config = plug.lm.config

    @jax.jit
    def read(params: Any) -> jax.Array:
        hidden = last_hidden(config, params, Prompts(ids, mask, last))
        return gate_logit(config, params, plug.gate, hidden)

    logit = read(plug.lm.params)
    np.testing.assert_allclose(logit, arrays["A1/logit_w"], rtol=RTOL)
