"""The family table against Hugging Face's configs, and against our own parameters."""

import dataclasses

import jax
import pytest

from jaxedit.models import families
from jaxedit.models.config import ModelConfig, RopeScaling
from jaxedit.models.forward import param_shapes
from tests.models.tiny import CONFIGS

LLAMA = {
    "model_type": "llama",
    "vocab_size": 10,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
}


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_every_leaf_has_one_stored_name(name: str) -> None:
    config = CONFIGS[name]
    leaves = jax.tree_util.tree_leaves_with_path(param_shapes(config))
    ours = sorted(tuple(key.key for key in path) for path, _ in leaves)
    table = families.weights(config)
    assert sorted(weight.path for weight in table) == ours
    parts = [(weight.name, weight.part) for weight in table]
    assert len(set(parts)) == len(parts)


@pytest.mark.parametrize("name", sorted(CONFIGS))
def test_a_written_config_reads_back(name: str) -> None:
    config = CONFIGS[name]
    assert families.read_config(families.write_config(config)) == config


@pytest.mark.parametrize(
    "scaling", [RopeScaling("linear", 2.0), RopeScaling("llama3", 8.0, 1.0, 4.0, 32)]
)
def test_rotary_scaling_reads_back(scaling: RopeScaling) -> None:
    config = dataclasses.replace(CONFIGS["llama"], rope_scaling=scaling, rope_theta=5e5)
    assert families.read_config(families.write_config(config)) == config


def test_both_generations_of_rotary_keys() -> None:
    scaling = {"factor": 2.0, "type": "linear"}
    old = families.read_config({**LLAMA, "rope_theta": 1e6, "rope_scaling": scaling})
    parameters = {"factor": 2.0, "rope_type": "linear", "rope_theta": 1e6}
    new = families.read_config({**LLAMA, "rope_parameters": parameters})
    assert old == new
    assert (new.rope_theta, new.rope_scaling) == (1e6, RopeScaling("linear", 2.0))


def test_what_a_family_adds() -> None:
    mistral = families.read_config({**LLAMA, "model_type": "mistral"})
    assert mistral.sliding_window == 4096  # what an absent setting means to Hugging Face
    v03 = families.read_config({**LLAMA, "model_type": "mistral", "sliding_window": None})
    assert v03.sliding_window is None
    qwen = families.read_config({**LLAMA, "model_type": "qwen2", "tie_word_embeddings": True})
    assert (qwen.qkv_bias, qwen.o_bias, qwen.tied) == (True, False, True)
    assert families.read_config({**LLAMA, "eos_token_id": [3, 4]}).eos_ids == (3, 4)


GPT2 = {"model_type": "gpt2", "vocab_size": 9, "n_embd": 8, "n_head": 2, "n_layer": 1}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"model_type": "bert"}, "model_type 'bert' is none of gptj"),
        ({}, "model_type '' is none of"),
        ({**LLAMA, "hidden_act": "mish"}, "activation 'mish'"),
        ({**LLAMA, "rope_scaling": {"rope_type": "yarn", "factor": 2}}, "rotary scaling 'yarn'"),
        ({**LLAMA, "model_type": "qwen2", "use_sliding_window": True}, "some layers only"),
        ({**GPT2, "n_positions": 4, "scale_attn_by_inverse_layer_idx": True}, "scores are scaled"),
        ({**GPT2, "n_positions": 4, "add_cross_attention": True}, "cross-attention"),
        ({**GPT2, "model_type": "gptj", "n_positions": 4, "rotary_dim": None}, "rotary_dim"),
    ],
)
def test_what_is_not_computed_is_refused(raw: dict, message: str) -> None:
    with pytest.raises(families.Unsupported, match=message):
        families.read_config(raw)


def test_sizes_must_fit_together() -> None:
    with pytest.raises(ValueError, match="4 heads cannot share 3"):
        dataclasses.replace(CONFIGS["llama"], n_kv_heads=3)
    with pytest.raises(ValueError, match="rotary_dim 3"):
        dataclasses.replace(CONFIGS["llama"], rotary_dim=3)
    assert hash(CONFIGS["llama"]) == hash(dataclasses.replace(CONFIGS["llama"]))
    assert isinstance(CONFIGS["llama"], ModelConfig)
