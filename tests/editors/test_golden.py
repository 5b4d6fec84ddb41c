"""Parity with the authors' public code, for every run that lies in the folder."""

from typing import Any

import jax
import numpy as np
import pytest

from jaxedit.editors.editor import take
from jaxedit.editors.weights import leaf_names, leaves
from tests.editors.golden import (
    close,
    compare_delta,
    compare_logits,
    compare_rows,
    compare_values,
    golden,
    precision,
    runs,
)
from tests.shared import needs_golden

pytestmark = needs_golden


@pytest.mark.parametrize("run", runs(["memit", "emmet", "pmet"]))
def test_a_batch_over_layers(run: str):
    with precision(run):
        g = golden(run)
        layers = g.editor.layers
        rows = g.editor.prepare(g.lm, g.facts)
        for i in range(len(g.facts)):
            compare_rows(g, rows.values, i, i)
        values = g.editor.found(g.lm, rows.values, trace=True)
        compare_values(g, values)
        edited, factors = g.editor.update(g.lm, g.editor.init(g.lm), rows.keys, values)
        for j, layer in enumerate(layers):
            share = getattr(g.editor, "share", float)(len(layers) - j)
            close(factors.keys[j], g.arrays[f"K_{layer}"], g.tolerance.key, f"K_{layer}")
            hidden = np.asarray(values.target) - factors.residuals[j] * share
            close(hidden, g.arrays[f"cur_z_{layer}"], g.tolerance.value, f"cur_z_{layer}")
            if f"resid_{layer}" in g.arrays:
                theirs = g.arrays[f"resid_{layer}"].T
                close(factors.residuals[j], theirs, g.tolerance.delta, f"resid_{layer}")
            compare_delta(g, edited, layer, f"delta_{layer}")
        compare_logits(g, edited, "logits_after")


@pytest.mark.parametrize("run", runs(["d4s"]))
def test_d4s_sequence(run: str):
    with precision(run):
        g = golden(run)
        compare_logits(g, g.lm, "logits_before")
        prepared = g.editor.prepare(g.lm, g.facts)
        compare_d4s_values(g)
        state = g.editor.init(g.lm)
        keys: list[tuple[np.ndarray, ...]] = []
        for i in range(len(g.facts)):
            state, factors = g.editor.update(g.lm, state, take(prepared, i, i + 1))
            keys.append(factors.keys)
            if f"delta_{i}_{g.editor.layers[0]}" not in g.arrays:
                continue
            edited = g.editor.bind(g.lm, state)
            for layer in g.editor.layers:
                compare_delta(g, edited, layer, f"delta_{i}_{layer}")
        close(prepared.target - prepared.residual, g.arrays["cur_z"], g.tolerance.value, "cur_z")
        for j, layer in enumerate(g.editor.layers):
            ours = np.concatenate([k[j] for k in keys])
            close(ours, g.arrays[f"K_{layer}"], g.tolerance.key, f"K_{layer}")
            sums = state.layers[j].sums
            if f"RKt_{layer}" in g.arrays:
                close(sums.rk, g.arrays[f"RKt_{layer}"], g.tolerance.delta, f"RKt_{layer}")
                close(sums.kk, g.arrays[f"KKt_{layer}"], g.tolerance.delta, f"KKt_{layer}")
        compare_logits(g, g.editor.bind(g.lm, state), "logits_after")


def compare_d4s_values(g: Any) -> None:
    rows = g.editor.value_rows(g.lm, g.facts)
    for i in range(len(g.facts)):
        compare_rows(g, rows, i, i)
    compare_values(g, g.editor.found(g.lm, rows, trace=True))


@pytest.mark.parametrize("run", runs(["rome", "r_rome"]))
def test_rome_edits_one_after_another(run: str):
    with precision(run):
        g = golden(run)
        layer = g.editor.layers[0]
        prepared = g.editor.prepare(g.lm, g.facts)
        state = g.editor.init(g.lm)
        for i in range(len(g.facts)):
            rows = take(prepared, i, i + 1)
            compare_rows(g, rows.values, i)
            now = g.editor.bind(g.lm, state)
            values = g.editor.found(now, rows.values, trace=True)
            compare_values(g, values, i)
            rank, _ = g.editor.rank(now, rows.keys, values)
            close(rank.right[:, 0], g.arrays["u"][i], g.tolerance.delta, f"u of edit {i}")
            close(rank.left[:, 0], g.arrays["v"][i], g.tolerance.delta, f"v of edit {i}")
            edited, _ = g.editor.update(now, state, rows.keys, values)
            state = g.editor.after(edited, state, rows)
        edited = g.editor.bind(g.lm, state)
        compare_delta(g, edited, layer, f"delta_{layer}")
        compare_logits(g, edited, "logits_after")


@pytest.mark.parametrize("run", runs(["alphaedit"]))
def test_alphaedit_batches(run: str):
    with precision(run):
        g = golden(run)
        layers = g.editor.layers
        for j, basis in enumerate(g.editor.bases if "P" in g.arrays else ()):
            with jax.enable_x64(True):
                close(basis @ basis.T, g.arrays["P"][j], g.tolerance.delta, f"P of {layers[j]}")
        batches = sum(
            1
            for name in g.arrays
            if name.startswith("delta_cum_") and name.endswith(f"_{layers[0]}")
        )
        size = len(g.facts) // batches
        state = g.editor.init(g.lm)
        for b in range(batches):
            rows = g.editor.prepare(g.lm, g.facts[b * size : (b + 1) * size])
            for i in range(size):
                compare_rows(g, rows.values, b * size + i, i)
            now = g.editor.bind(g.lm, state)
            values = g.editor.found(now, rows.values, trace=True)
            compare_values(g, values, b * size)
            edited, factors = g.editor.update(now, state, rows.keys, values)
            state = g.editor.after(edited, state, rows)
            fresh = g.editor.keys(edited, rows.keys)
            for j, layer in enumerate(layers):
                close(
                    factors.keys[j], g.arrays[f"K_{b}_{layer}"], g.tolerance.key, f"K_{b}_{layer}"
                )
                theirs = g.arrays[f"Kpost_{b}_{layer}"]
                close(fresh[j], theirs, g.tolerance.key, f"Kpost_{b}_{layer}")
                hidden = np.asarray(values.target) - factors.residuals[j] * (len(layers) - j)
                close(hidden, g.arrays[f"cur_z_{b}_{layer}"], g.tolerance.value, "cur_z")
                compare_delta(g, edited, layer, f"delta_cum_{b}_{layer}")
        compare_logits(g, g.editor.bind(g.lm, state), "logits_after")


@pytest.mark.parametrize("run", runs(["ft", "ft_l", "ft_m"]))
def test_fine_tuning_one_after_another(run: str):
    with precision(run):
        g = golden(run)
        layer = g.editor.layers[0]
        prepared = g.editor.prepare(g.lm, g.facts)
        state = g.editor.init(g.lm)
        for i in range(len(g.facts)):
            state, _ = g.editor.edit(g.lm, state, take(prepared, i, i + 1))
            edited = g.editor.bind(g.lm, state)
            compare_delta(g, edited, layer, f"delta_cum_{i}_{layer}", g.tolerance.tuned)
        if f"delta_bias_{layer}" in g.arrays:
            name = leaf_names(g.lm, [layer], biases=True)[1]
            ours = leaves(edited, [name])[name] - leaves(g.lm, [name])[name]
            close(ours, g.arrays[f"delta_bias_{layer}"], g.tolerance.tuned, "bias")
        compare_logits(g, edited, "logits_after", 10 * g.tolerance.logits)
