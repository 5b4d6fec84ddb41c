"""The gate's row: where it stands, what it leaves alone, how it is read and kept."""

import json
from collections.abc import Sequence

import jax
import numpy as np
import pytest

from jaxedit.ensemble.plugin import (
    FILE,
    alpha,
    gate_logit,
    gate_logits,
    load_plugin,
    prompt_ids,
    save_plugin,
    with_gate,
    without_gate,
)
from jaxedit.errors import UserError
from jaxedit.models import families
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import forward, head, init_params
from jaxedit.models.loading import save_hf
from jaxedit.models.text import pad_batch
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import make_mesh
from tests.tiny import SENTENCES, tiny_model, tiny_tokenizer

PROMPTS = ["Mira Danto was born in", "The capital of Arden Hollow is", "Jovan"]


def small(kind: str, tied: bool = False) -> Transformer:
    """A random model of any family, one block of width 16."""
    family = {"mistral": "llama", "qwen2": "llama"}.get(kind, kind)
    gpt = family in ("gptj", "gpt2")
    config = ModelConfig(
        family=family,
        hf_type=kind,
        vocab_size=tiny_tokenizer().vocab_size,
        d_model=16,
        n_layers=1,
        n_heads=2,
        n_kv_heads=2,
        head_dim=8,
        d_ff=16,
        max_positions=64,
        activation="gelu_new" if gpt else "silu",
        rotary_dim={"gptj": 4, "gpt2": 0}.get(family, 8),
        qkv_bias=kind in ("gpt2", "qwen2"),
        o_bias=kind == "gpt2",
        mlp_bias=gpt,
        head_bias=kind == "gptj",
        tied=tied,
        eos_ids=(0,),
    )
    params = init_params(config, jax.random.key(0))
    return Transformer(config, params, tiny_tokenizer(), make_mesh(1), kind)


def last_logits(lm: Transformer, prompts: Sequence[list[int]]) -> np.ndarray:
    """[N, V], of all tokens at the ends of the prompts."""
    ids, mask = pad_batch(prompts, pad_id=0)
    logits = jax.jit(lambda params: forward(lm.config, params, ids, mask).logits)(lm.params)
    return np.asarray(logits)[np.arange(len(ids)), mask.sum(1) - 1]


@pytest.mark.parametrize(
    ("kind", "tied"),
    [(kind, kind == "gpt2") for kind in families.FAMILIES] + [("llama", True)],
)
def test_a_row_for_every_family(kind, tied, tmp_path):
    lm = small(kind, tied)
    plugin = with_gate(lm)
    assert plugin.gate == lm.config.vocab_size
    hidden = np.random.default_rng(0).normal(size=(5, 16)).astype(np.float32)
    logits = np.asarray(head(plugin.lm.config, plugin.lm.params, hidden))
    np.testing.assert_allclose(
        logits[:, :-1], head(lm.config, lm.params, hidden), rtol=1e-5, atol=1e-6
    )
    own = gate_logit(plugin.lm.config, plugin.lm.params, plugin.gate, hidden)
    np.testing.assert_allclose(own, logits[:, -1], rtol=1e-5, atol=1e-6)
    save_plugin(plugin, tmp_path)
    again = load_plugin(tmp_path, mesh=make_mesh(1))
    assert (again.gate, again.reading) == (plugin.gate, plugin.reading)
    assert again.lm.config == plugin.lm.config
    assert same(again.lm.params, plugin.lm.params)
    bare = without_gate(again)
    assert bare.config == lm.config and same(bare.params, lm.params)


def same(a, b) -> bool:
    return jax.tree.all(jax.tree.map(lambda x, y: bool((np.asarray(x) == y).all()), a, b))


def test_the_row_begins_where_it_says():
    lm = tiny_model()
    kernel, tokens = (
        np.asarray(x) for x in (lm.params["head"]["kernel"], lm.params["embed"]["tokens"])
    )
    for start in ("free", "mean"):
        params = with_gate(lm, start=start).lm.params
        np.testing.assert_allclose(params["embed"]["tokens"][-1], tokens.mean(0), atol=1e-6)
        row = np.asarray(params["head"]["kernel"])[:, -1]
        if start == "mean":
            np.testing.assert_allclose(row, kernel.mean(1), atol=1e-6)
            continue
        length = np.linalg.norm(row)
        assert length == pytest.approx(np.linalg.norm(kernel, axis=0).mean(), rel=1e-5)
        others = np.random.default_rng(0).normal(size=(100, len(row)))
        others /= np.linalg.norm(others, axis=1, keepdims=True)
        energy = np.linalg.norm(kernel.T @ (row / length))
        assert energy < np.linalg.norm(others @ kernel, axis=1).min()


def test_alpha_is_read_at_the_end_of_each_prompt():
    plugin = with_gate(tiny_model(n_layers=1))
    ids = [plugin.lm.tokenizer.encode(prompt) for prompt in PROMPTS]
    expected = 1 / (1 + np.exp(-last_logits(plugin.lm, ids)[:, plugin.gate]))
    np.testing.assert_allclose(alpha(plugin, PROMPTS), expected, rtol=1e-4)
    two = with_gate(tiny_model(devices=2, n_layers=1))
    np.testing.assert_allclose(alpha(two, PROMPTS), expected, rtol=1e-4)
    assert alpha(plugin, []).shape == (0,)
    assert prompt_ids(plugin, "") == [0]  # what opens a text


def test_an_appended_gate_is_read_one_token_later():
    plugin = with_gate(tiny_model(n_layers=1), reading="appended")
    ids = [*plugin.lm.tokenizer.encode(PROMPTS[0]), plugin.gate]
    assert prompt_ids(plugin, PROMPTS[0]) == ids
    logit = last_logits(plugin.lm, [ids])[:, plugin.gate]
    np.testing.assert_allclose(gate_logits(plugin, PROMPTS[:1]), logit, rtol=1e-4)


def test_no_text_gives_the_gate():
    plugin = with_gate(tiny_model())
    texts = (*SENTENCES, "[WEIGHT]", f"a [WEIGHT] b {plugin.gate}")
    assert all(plugin.gate not in plugin.lm.tokenizer.encode(text) for text in texts)


def test_what_is_no_plugin(tmp_path):
    save_hf(tiny_model(), tmp_path)
    with pytest.raises(UserError, match=r"no plug-in.*\[WEIGHT\]"):
        load_plugin(tmp_path)
    (tmp_path / FILE).write_text(json.dumps({"gate": 999, "reading": "component"}))
    with pytest.raises(UserError, match="row 999"):
        load_plugin(tmp_path)
    (tmp_path / FILE).write_text(json.dumps({"gate": 3, "reading": "loud"}))
    with pytest.raises(UserError, match="loud"):
        load_plugin(tmp_path)
    with pytest.raises(UserError, match="reading"):
        with_gate(tiny_model(), reading="loud")  # type: ignore[arg-type]
    with pytest.raises(UserError, match="the model takes"):
        alpha(with_gate(tiny_model()), ["x " * 200])
