"""Tiny models of every family: Hugging Face's, with random weights, and ours of like shape."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tokenizers
from tokenizers import models, pre_tokenizers
from tokenizers.decoders import ByteLevel

from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import param_shapes
from jaxedit.models.text import Tokenizer
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import Mesh, make_mesh, replicate

VOCAB = 61
_GPT = {"vocab_size": VOCAB, "n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 64}
_LLAMA = {
    "vocab_size": VOCAB,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}

# name -> (class prefix in transformers, settings)
HF: Mapping[str, tuple[str, dict[str, Any]]] = {
    "gptj": ("GPTJ", {**_GPT, "rotary_dim": 4}),
    "gpt2": ("GPT2", _GPT),
    "gpt2_untied": ("GPT2", {**_GPT, "tie_word_embeddings": False, "n_inner": 40}),
    "llama2": ("Llama", {**_LLAMA, "num_key_value_heads": 4, "rms_norm_eps": 1e-5}),
    "llama2_biases": (
        "Llama",
        {**_LLAMA, "num_key_value_heads": 1, "attention_bias": True, "mlp_bias": True},
    ),
    "llama3": (
        "Llama",
        {**_LLAMA, "num_key_value_heads": 2, "head_dim": 16, "rope_parameters": _LLAMA3_ROPE},
    ),
    "mistral_v01": ("Mistral", {**_LLAMA, "num_key_value_heads": 2, "sliding_window": 4}),
    "mistral_v03": ("Mistral", {**_LLAMA, "num_key_value_heads": 2, "sliding_window": None}),
    "qwen25": ("Qwen2", {**_LLAMA, "num_key_value_heads": 2, "tie_word_embeddings": True}),
}


def hf_model(name: str, **more: Any) -> Any:
    """A torch model in float32 whose every parameter is random, norms and biases included."""
    import torch
    import transformers

    prefix, settings = HF[name]
    if prefix.startswith("GPT"):
        settings = {**settings, "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
        settings |= {"bos_token_id": 1, "eos_token_id": 2}
    config = getattr(transformers, f"{prefix}Config")(**settings, **more)
    suffix = "LMHeadModel" if prefix == "GPT2" else "ForCausalLM"
    model = getattr(transformers, f"{prefix}{suffix}")._from_config(
        config, attn_implementation="eager"
    )
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for key, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator)
            if p.ndim > 1:
                p.copy_(
                    noise * (0.5 if "embed" in key or "wte" in key else 1.5 * p.shape[0] ** -0.5)
                )
            else:
                p.copy_(noise * 0.2 + (0.0 if key.endswith("bias") else 1.0))
    return model.eval()


def save_hf_model(name: str, directory: Path, **more: Any) -> Any:
    """The torch model, after writing it to a directory."""
    model = hf_model(name)
    model.save_pretrained(directory, **more)
    return model


class Texts(NamedTuple):
    """Three random texts of unequal length, padded on one side."""

    ids: np.ndarray
    mask: np.ndarray
    positions: np.ndarray


def texts(side: str, vocab: int = VOCAB, length: int = 11) -> Texts:
    """Rows of 11, 7 and 4 tokens."""
    rng = np.random.default_rng(0)
    ids = rng.integers(3, vocab, (3, length)).astype(np.int32)
    mask = np.zeros((3, length), np.int32)
    for row, n in enumerate((length, 7, 4)):
        mask[row, slice(0, n) if side == "right" else slice(length - n, length)] = 1
    return Texts(ids, mask, np.maximum(mask.cumsum(1) - 1, 0).astype(np.int32))


_SIZES: dict[str, Any] = {
    "vocab_size": VOCAB,
    "d_model": 32,
    "n_layers": 3,
    "n_heads": 4,
    "n_kv_heads": 4,
    "head_dim": 8,
    "d_ff": 48,
    "max_positions": 64,
    "eos_ids": (2,),
}
CONFIGS: Mapping[str, ModelConfig] = {
    "gptj": ModelConfig(
        **_SIZES, family="gptj", hf_type="gptj", activation="gelu_new", rotary_dim=4, mlp_bias=True,
        head_bias=True,
    ),
    "gpt2": ModelConfig(
        **_SIZES, family="gpt2", hf_type="gpt2", activation="gelu_new", qkv_bias=True, o_bias=True,
        mlp_bias=True, tied=True,
    ),
    "llama": ModelConfig(
        **{**_SIZES, "n_kv_heads": 2}, family="llama", hf_type="llama", activation="silu",
        rotary_dim=8,
    ),
    "mistral": ModelConfig(
        **{**_SIZES, "n_kv_heads": 2}, family="llama", hf_type="mistral", activation="silu",
        rotary_dim=8, sliding_window=5,
    ),
}  # fmt: skip


def params_of(config: ModelConfig, dtype: Any = jnp.float32, seed: int = 0) -> dict[str, Any]:
    """Random parameters in which biases and gains matter, drawn without compiling anything."""
    rng = np.random.default_rng(seed)

    def draw(path: Any, leaf: Any) -> jax.Array:
        noise = rng.normal(size=leaf.shape)
        name = path[-1].key
        value = noise * 1.5 * leaf.shape[0] ** -0.5 if name == "kernel" else 0.3 * noise
        value = 1.0 + value if name == "scale" else value
        return jnp.asarray(value.astype(np.float32).astype(dtype))

    return jax.tree_util.tree_map_with_path(draw, param_shapes(config))


def word_tokenizer() -> Tokenizer:
    """Words and single letters, byte-level; BOS is put before every text."""
    pieces = ["<unk>", "<s>", "</s>", *"abcdefghijklmnopqrstuvwxyz", "Ġ", "."]
    pieces += ["Ġth", "Ġthe", "is", "Ġis", "of", "Ġof"]
    merges = [("Ġ", "t"), ("Ġt", "h"), ("Ġth", "e"), ("i", "s"), ("Ġ", "is"), ("o", "f")]
    pieces += ["Ġt"]
    merges += [("Ġ", "of")]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    pipeline = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>"))
    pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pipeline.decoder = ByteLevel()
    pipeline.add_special_tokens(["<unk>", "<s>", "</s>"])
    settings = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    return Tokenizer.of(pipeline, {**settings, "add_bos_token": True})


def tiny_lm(
    family: str = "llama", mesh: Mesh | None = None, dtype: Any = jnp.float32
) -> Transformer:
    """A random model with the word tokenizer, on all devices."""
    mesh = make_mesh() if mesh is None else mesh
    config = CONFIGS[family]
    params = replicate(params_of(config, dtype), mesh)
    return Transformer(config, params, word_tokenizer(), mesh, f"tiny-{family}")
