"""Logits, caches and greedy texts as Hugging Face's own implementation gives them."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxedit.models.cache import Cache
from jaxedit.models.forward import forward
from jaxedit.models.generate import generate_ids
from jaxedit.models.loading import load_model, save_hf
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import make_mesh
from tests.models.tiny import HF, save_hf_model, texts

torch = pytest.importorskip("torch", reason="torch, the other side of the comparison, is absent")
TOLERANCE = 1e-4
VARIANTS = ("gpt2_untied", "llama2_biases")  # other parameters, same attention and cache


class Pair(NamedTuple):
    name: str
    theirs: Any
    ours: Transformer


@pytest.fixture(scope="module", params=sorted(HF))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    directory = tmp_path_factory.mktemp(request.param)
    theirs = save_hf_model(request.param, directory)
    return Pair(request.param, theirs, load_model(directory, mesh=make_mesh(1)))


run = jax.jit(forward, static_argnums=0)


def reference(model: Any, batch: Any) -> np.ndarray:
    with torch.no_grad():
        out = model(
            torch.tensor(batch.ids, dtype=torch.long),
            attention_mask=torch.tensor(batch.mask, dtype=torch.long),
            position_ids=torch.tensor(batch.positions, dtype=torch.long),
        )
    return out.logits.numpy()


def worst(ours: Any, theirs: np.ndarray, mask: np.ndarray) -> float:
    return float(np.abs(np.asarray(ours) - theirs)[mask.astype(bool)].max())


@pytest.mark.parametrize("side", ["left", "right"])
def test_logits_are_those_of_hugging_face(pair: Pair, side: str) -> None:
    batch = texts(side)
    theirs = reference(pair.theirs, batch)
    ours = run(pair.ours.config, pair.ours.params, batch.ids, batch.mask).logits
    assert ours is not None
    assert np.abs(theirs).max() > 1  # the comparison has something to compare
    assert worst(ours, theirs, batch.mask) < TOLERANCE
    assert np.isfinite(np.asarray(ours)).all()  # at the pads too


@pytest.mark.parametrize("side", ["left", "right"])
def test_logits_with_a_cache_are_those_without(pair: Pair, side: str) -> None:
    if pair.name in VARIANTS:
        pytest.skip("its family's first model has shown it")
    batch = texts(side)
    theirs = reference(pair.theirs, batch)
    lm, half = pair.ours, 5
    positions = jnp.where(batch.mask, batch.positions, -1)
    cache = Cache.empty(lm.config, 3, 16, jnp.float32)
    step = jax.jit(forward, static_argnums=0)
    pieces = []
    for start, end in ((0, half), *((t, t + 1) for t in range(half, batch.ids.shape[1]))):
        out = step(
            lm.config,
            lm.params,
            batch.ids[:, start:end],
            batch.mask[:, start:end],
            positions=positions[:, start:end],
            cache=cache,
        )
        cache = cache.write(out.kv, positions[:, start:end], start)
        pieces.append(out.logits)
    assert worst(np.concatenate(pieces, axis=1), theirs, batch.mask) < TOLERANCE


def test_greedy_texts_are_the_same(pair: Pair) -> None:
    if pair.name in VARIANTS:
        pytest.skip("its family's first model has shown it")
    batch = texts("left")
    prompts = [
        row[mask.astype(bool)].tolist() for row, mask in zip(batch.ids, batch.mask, strict=True)
    ]
    new = 12
    with torch.no_grad():
        made = pair.theirs.generate(
            torch.tensor(batch.ids, dtype=torch.long),
            attention_mask=torch.tensor(batch.mask, dtype=torch.long),
            max_new_tokens=new,
            do_sample=False,
            pad_token_id=0,
            eos_token_id=2,
        )[:, batch.ids.shape[1] :].numpy()
    lm = pair.ours
    ours = generate_ids(lm.config, lm.params, lm.mesh, prompts, new, ends=(2,))
    for row, theirs in zip(ours, made, strict=True):
        assert row == theirs[: len(row)].tolist()
        assert len(row) == new or row[-1] == 2


def test_what_we_save_they_read(pair: Pair, tmp_path: Path) -> None:
    import transformers

    save_hf(pair.ours, tmp_path)
    again = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, attn_implementation="eager", local_files_only=True
    )
    batch = texts("right")
    np.testing.assert_array_equal(reference(again, batch), reference(pair.theirs, batch))
    assert load_model(tmp_path, mesh=make_mesh(1)).config == pair.ours.config


@pytest.fixture(scope="module", params=["gptj", "gpt2", "llama3"])
def one_a_block(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    directory = tmp_path_factory.mktemp(request.param)
    return save_hf_model(request.param, directory), directory


def test_bfloat16_is_near_float32(one_a_block: tuple[Any, Path]) -> None:
    model, directory = one_a_block
    lm = load_model(directory, dtype="bfloat16", mesh=make_mesh(1))
    batch = texts("right")
    out = run(lm.config, lm.params, batch.ids, batch.mask)
    assert out.hidden.dtype == jnp.bfloat16
    assert out.logits is not None
    assert out.logits.dtype == jnp.float32
    theirs = reference(model, batch)
    assert worst(out.logits, theirs, batch.mask) < 0.1 * np.abs(theirs).max()


def test_float64_agrees_to_float32s_rounding(one_a_block: tuple[Any, Path]) -> None:
    model, directory = one_a_block
    batch = texts("left")
    with jax.enable_x64(True):
        lm = load_model(directory, dtype="float64", mesh=make_mesh(1))
        out = run(lm.config, lm.params, batch.ids, batch.mask)
        assert all(leaf.dtype == np.float64 for leaf in jax.tree.leaves((out.logits, out.kv)))
        assert worst(out.logits, reference(model, batch), batch.mask) < TOLERANCE
