"""Parity with the arrays of the authors' public code, for every run that lies in the folder.

`locate_then_edit/arrays/{model}__{method}__{dtype}.npz` with their settings beside them in JSON,
and `locate_then_edit/data/` with the models. A folder with other models runs without a change.
"""

import contextlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.data.fact import Fact
from jaxedit.editors import D4S, Memit
from jaxedit.editors.editor import take
from jaxedit.editors.rows import Contexts, value_rows
from jaxedit.editors.values import ValueSettings, optimise_values
from jaxedit.editors.weights import kernel
from jaxedit.models.forward import forward
from jaxedit.models.loading import load_model
from jaxedit.models.text import pad_batch
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import make_mesh, replicate
from tests.shared import GOLDEN, needs_golden

ROOT = GOLDEN / "locate_then_edit"
METHODS = {"d4s": D4S, "memit": Memit, "memit_c4": Memit, "ee_memit": Memit}


class Tolerance(NamedTuple):
    """Largest error, relative to the largest entry of the array."""

    path: float
    value: float
    key: float
    delta: float
    logits: float


TOLERANCES = {
    "float64": Tolerance(path=1e-9, value=1e-9, key=1e-9, delta=1e-8, logits=1e-9),
    "float32": Tolerance(path=1e-4, value=1e-4, key=2e-5, delta=3e-4, logits=1e-4),
}
RUNS = sorted(
    path.stem
    for path in ROOT.glob("arrays/*__*__*.npz")
    if path.stem.split("__")[1] in METHODS and path.stem.split("__")[2] in TOLERANCES
)
pytestmark = [
    needs_golden,
    pytest.mark.skipif(not RUNS, reason=f"no D4S or MEMIT arrays in {ROOT}"),
]


class Golden(NamedTuple):
    """One run of the authors' code, and the same set-up for ours."""

    arrays: dict[str, np.ndarray]
    lm: Transformer
    facts: list[Fact]
    editor: Any
    legacy: bool
    tolerance: Tolerance
    dtype: str


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def model_directory(kind: str) -> Path:
    for path in sorted((ROOT / "data").glob("*/config.json")):
        if read(path)["model_type"] == kind:
            return path.parent
    raise FileNotFoundError(f"no model of type {kind} in {ROOT / 'data'}")


def contexts() -> Contexts:
    return tuple(map(tuple, read(ROOT / "data" / "context_templates.json")["memit"]))


def requests(ids: list[int]) -> list[Fact]:
    known = {}
    for path in (ROOT / "data").glob("requests*.json"):
        known.update({item["case_id"]: item for item in read(path)})
    return [
        Fact(known[i]["prompt"], known[i]["subject"], known[i]["target_new"], id=str(i))
        for i in ids
    ]


def golden(run: str) -> Golden:
    """Call inside the right precision."""
    kind, method, dtype = run.split("__")
    info = read(ROOT / "arrays" / f"{run}.json")
    settings = info["hparams"]
    directory = model_directory(kind)
    lm = load_model(str(directory), mesh=make_mesh(1))
    lm = lm.with_params(jax.tree.map(lambda x: jnp.asarray(x, dtype), lm.params))
    with np.load(directory / "cov.npz") as moments:
        statistics = {j: moments[f"layer_{j}"].astype(np.float64) for j in settings["layers"]}
    # The published code encodes " target" by itself; with a Llama-2 tokenizer that adds a "▁".
    editor = METHODS[method](
        layers=tuple(settings["layers"]),
        statistics=statistics,
        contexts=contexts(),
        moment_weight=settings["mom2_update_weight"],
        values=ValueSettings(
            steps=settings["v_num_grad_steps"],
            learning_rate=settings["v_lr"],
            weight_decay=settings["v_weight_decay"],
            clamp_norm_factor=settings["clamp_norm_factor"],
            kl_factor=settings["kl_factor"],
        ),
        legacy_targets=True,
    )
    with np.load(ROOT / "arrays" / f"{run}.npz") as stored:
        arrays = dict(stored)
    facts = requests(info["requests_used"])
    return Golden(arrays, lm, facts, editor, True, TOLERANCES[dtype], dtype)


def precision(run: str) -> Any:
    return jax.enable_x64(True) if run.endswith("float64") else contextlib.nullcontext()


def close(ours: Any, theirs: np.ndarray, tolerance: float, what: str) -> None:
    ours = np.asarray(ours)
    assert ours.shape == theirs.shape, what
    error = np.abs(ours - theirs).max() / np.abs(theirs).max()
    assert error < tolerance, f"{what}: {error:.2e} against {tolerance:.0e}"


def as_stored(delta: Any, theirs: np.ndarray) -> np.ndarray:
    """Ours [u, v] in the layout of the stored weight (transposed for GPT-2)."""
    delta = np.asarray(delta)
    return delta if delta.shape == theirs.shape else delta.T


def weight_change(g: Golden, edited: Transformer, layer: int) -> np.ndarray:
    """W - W_original, [u, v]."""
    return np.asarray(kernel(edited, layer) - kernel(g.lm, layer)).T


@pytest.mark.parametrize("run", RUNS)
def test_rows_are_the_published_ones(run: str):
    with precision(run):
        g = golden(run)
    rows = value_rows(g.lm.tokenizer, g.facts, g.editor.contexts, legacy_targets=g.legacy)
    for i in range(len(g.facts)):
        mask = g.arrays[f"zin_mask_{i}"].astype(bool)
        assert (rows.mask[i].sum(-1) == mask.sum(-1)).all()
        for ours, theirs, kept in zip(rows.ids[i], g.arrays[f"zin_ids_{i}"], mask, strict=True):
            assert (ours[: kept.sum()] == theirs[kept]).all()
        assert (rows.lookup[i] == g.arrays[f"zin_lookup_{i}"]).all()


def compare_values(g: Golden, initial: Any, delta: Any, updates: Any, path: Any, grad: Any) -> None:
    assert (np.asarray(updates) == g.arrays["opt_steps"]).all()
    close(np.asarray(initial) + np.asarray(delta), g.arrays["z"], g.tolerance.value, "z")
    if g.dtype == "float32":
        close(np.asarray(grad)[:, 0], g.arrays["opt_g"][:, 0], g.tolerance.path, "first gradient")
        return
    for name, ours in (("opt_x", path), ("opt_g", grad)):
        theirs = g.arrays[name]
        ours = np.asarray(ours)[:, : theirs.shape[1]]
        assert (np.isnan(ours) == np.isnan(theirs)).all(), name
        close(np.nan_to_num(ours), np.nan_to_num(theirs), g.tolerance.path, name)


@pytest.mark.parametrize("run", RUNS)
def test_values_follow_the_published_path(run: str):
    with precision(run):
        g = golden(run)
        rows = value_rows(g.lm.tokenizer, g.facts, g.editor.contexts, legacy_targets=g.legacy)
        found = optimise_values(g.lm, rows, g.editor.layers[-1], g.editor.values, trace=True)
        assert found.delta.dtype == g.dtype
        compare_values(g, found.initial, found.delta, found.updates, found.path, found.gradients)
        if "prob_first_last" in g.arrays:
            ours = np.stack([found.initial_probability, found.probability], axis=1)
            close(ours, g.arrays["prob_first_last"], g.tolerance.value, "probabilities")


@pytest.mark.parametrize("run", [run for run in RUNS if "d4s" not in run])
def test_memit_batch(run: str):
    with precision(run):
        g = golden(run)
        rows = g.editor.prepare(g.lm, g.facts)
        values = optimise_values(g.lm, rows.values, g.editor.layers[-1], g.editor.values)
        target = np.asarray(values.initial + values.delta)
        _, factors = g.editor.update(g.lm, rows.keys, target)
        layers = g.editor.layers
        for j, layer in enumerate(layers):
            share = len(layers) - j
            close(factors.keys[j], g.arrays[f"K_{layer}"], g.tolerance.key, f"K_{layer}")
            hidden = target - factors.residuals[j] * share
            close(hidden, g.arrays[f"cur_z_{layer}"], g.tolerance.value, f"cur_z_{layer}")
            if f"resid_{layer}" in g.arrays:
                theirs = g.arrays[f"resid_{layer}"].T
                close(factors.residuals[j], theirs, g.tolerance.delta, f"resid_{layer}")
        state, _ = g.editor.edit(g.lm, g.editor.init(g.lm), rows)
        edited = g.editor.bind(g.lm, state)
        for layer in layers:
            theirs = g.arrays[f"delta_{layer}"]
            ours = as_stored(weight_change(g, edited, layer), theirs)
            close(ours, theirs, g.tolerance.delta, f"delta_{layer}")
        compare_logits(g, edited, "logits_after")


@pytest.mark.parametrize("run", [run for run in RUNS if "d4s" in run])
def test_d4s_sequence(run: str):
    with precision(run):
        g = golden(run)
        compare_logits(g, g.lm, "logits_before")
        prepared = g.editor.prepare(g.lm, g.facts)
        state = g.editor.init(g.lm)
        keys: list[tuple[np.ndarray, ...]] = []
        for i in range(len(g.facts)):
            state, factors = g.editor.update(g.lm, state, take(prepared, i, i + 1))
            keys.append(factors.keys)
            if f"delta_{i}_{g.editor.layers[0]}" not in g.arrays:
                continue
            edited = g.editor.bind(g.lm, state)
            for layer in g.editor.layers:
                theirs = g.arrays[f"delta_{i}_{layer}"]
                ours = as_stored(weight_change(g, edited, layer), theirs)
                close(ours, theirs, g.tolerance.delta, f"delta_{i}_{layer}")
        close(prepared.target - prepared.residual, g.arrays["cur_z"], g.tolerance.value, "cur_z")
        for j, layer in enumerate(g.editor.layers):
            ours = np.concatenate([k[j] for k in keys])
            close(ours, g.arrays[f"K_{layer}"], g.tolerance.key, f"K_{layer}")
            sums = state.layers[j].sums
            if f"RKt_{layer}" in g.arrays:
                close(sums.rk, g.arrays[f"RKt_{layer}"], g.tolerance.delta, f"RKt_{layer}")
                close(sums.kk, g.arrays[f"KKt_{layer}"], g.tolerance.delta, f"KKt_{layer}")
        compare_logits(g, g.editor.bind(g.lm, state), "logits_after")


def compare_logits(g: Golden, lm: Transformer, name: str) -> None:
    if name not in g.arrays:
        return
    prompts = [lm.tokenizer.encode(p) for p in read(ROOT / "data" / "probe_prompts.json")]
    theirs = g.arrays[name]
    ids, mask = pad_batch(prompts, side="right", length=theirs.shape[1], pad_id=lm.tokenizer.pad_id)
    run = jax.jit(lambda params: forward(lm.config, params, ids, mask).logits)
    ours = np.asarray(run(replicate(lm.params, lm.mesh)))
    real = np.asarray(mask, bool)
    close(ours[real], theirs[real], g.tolerance.logits, name)
