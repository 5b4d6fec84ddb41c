"""Small models that somebody trained: they load, speak and sort."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.models.forward import forward
from jaxedit.models.generate import generate_ids
from jaxedit.models.loading import load_model
from jaxedit.models.text import pad_batch
from jaxedit.sharding import make_mesh
from tests.shared import GOLDEN, SHARED, needs_golden, needs_shared

MESH = make_mesh(1)


def shared_model(name: str):
    assert SHARED is not None
    return load_model(SHARED / "models" / name, mesh=MESH)


@needs_shared
def test_stories() -> None:
    lm = shared_model("stories260K")
    (text,) = lm.generate(["Once upon a time"], 40)
    assert text.startswith(", there was a little girl named Lily. She loved to play outside")
    good, bad = lm.loglikelihood(
        ["Once upon a time, there was a little girl.", "Girl little a was there, time a upon once."]
    )
    assert good[0] > bad[0] + 30
    (forced,) = lm.teacher_forced(["Once upon a"], ["time"])
    assert np.exp(forced.logprobs.sum()) > 0.99


@needs_shared
def test_dreams() -> None:
    lm = shared_model("aidreams260K")
    (text,) = lm.generate(["The"], 30)
    words = text.split()
    assert len(words) > 5
    assert len(set(words)) > 5
    assert text.isascii()


@needs_shared
def test_a_gpt_that_sorts() -> None:
    lm = shared_model("gpt-nano-sort")
    rows = np.random.default_rng(0).integers(0, 3, (100, 6))
    made = generate_ids(lm.config, lm.params, lm.mesh, rows.tolist(), 20)
    assert all(len(row) == 6 for row in made)  # its eleven positions are then used up
    np.testing.assert_array_equal(np.asarray(made), np.sort(rows, axis=1))


@needs_golden
@pytest.mark.parametrize("name", ["tiny-gpt-j", "tiny-llama-2"])
def test_golden_models_say_what_the_reference_did(name: str) -> None:
    """Logits before editing, as the authors' code saw them (float64 runs, see the folder)."""
    root = GOLDEN / "locate_then_edit"
    stem = {"tiny-gpt-j": "gptj__d4s", "tiny-llama-2": "llama__d4s"}[name]
    arrays = np.load(root / "arrays" / f"{stem}__float64.npz")
    probes = json.loads((root / "data" / "probe_prompts.json").read_text())
    with jax.enable_x64(True):
        lm = load_model(root / "data" / name, "float64", MESH)
        run = jax.jit(forward, static_argnums=0)
        rows = [lm.tokenizer.encode(probe) for probe in probes]
        for row, expected in zip(rows, arrays["logits_before"], strict=True):
            ids, mask = (jnp.asarray(x) for x in pad_batch([row], pad_id=0, length=32))
            logits = run(lm.config, lm.params, ids, mask).logits
            assert logits is not None
            got, expected = np.asarray(logits[0, : len(row)]), expected[: len(row)]
            assert np.abs(got - expected).max() < 1e-9 * np.abs(expected).max()
