"""The one place where models differ: Hugging Face configs and parameter names <-> ours.

To add a family: a row of :data:`FAMILIES` keyed by its ``model_type``, and a small file with
its block if none of those here does.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn

from jaxedit.models import gpt2, gptj, llama
from jaxedit.models.config import ModelConfig, RopeScaling
from jaxedit.models.layers import LayerNorm, RMSNorm
from jaxedit.models.sites import GATED, PLAIN

Path = tuple[str, ...]


class Unsupported(ValueError):
    """A Hugging Face config asks for something that is not computed here."""


@dataclasses.dataclass(frozen=True)
class Weight:
    """One of our leaves and the stored tensor that it is, or is a part of.

    ``transpose``: stored as [out, in]. ``part`` (i, n): the i-th of n equal parts of the
    stored tensor's last axis (GPT-2 keeps queries, keys and values as one). ``optional``:
    zeros if no layer of the checkpoint has it (GPT-2 trained without attention biases).
    """

    path: Path
    name: str
    transpose: bool = False
    part: tuple[int, int] | None = None
    optional: bool = False


@dataclasses.dataclass(frozen=True)
class Family:
    """How one ``model_type`` is read, run and written."""

    block: type[nn.Module]
    linears: tuple[str, ...]  # of one layer, as sites name them
    norm: Callable[..., nn.Module]
    prefix: str  # of stored names, in checkpoints with a language-model head; bare ones lack it
    read: Callable[[Mapping[str, Any]], ModelConfig]
    write: Callable[[ModelConfig], dict[str, Any]]
    names: Callable[[ModelConfig], tuple[Weight, ...]]


def read_config(raw: Mapping[str, Any]) -> ModelConfig:
    """ModelConfig of a parsed config.json.

    Raises:
      Unsupported: the model type, or one of its settings, is not computed here.
      KeyError: a setting is missing.
    """
    kind = raw.get("model_type", "")
    if kind not in FAMILIES:
        raise Unsupported(f"model_type {kind!r} is none of {', '.join(FAMILIES)}")
    return FAMILIES[kind].read(raw)


def write_config(config: ModelConfig) -> dict[str, Any]:
    """The config.json of a model, as Hugging Face's libraries read it."""
    eos = config.eos_ids[0] if len(config.eos_ids) == 1 else list(config.eos_ids) or None
    return {
        "model_type": config.hf_type,
        "vocab_size": config.vocab_size,
        "tie_word_embeddings": config.tied,
        "bos_token_id": config.bos_id,
        "eos_token_id": eos,
        **FAMILIES[config.hf_type].write(config),
    }


def weights(config: ModelConfig) -> tuple[Weight, ...]:
    """Every leaf of the model's parameters, with its stored name."""
    return FAMILIES[config.hf_type].names(config)


# ------------------------------------------------------------------------------- placement

# The axis of each leaf that the devices of a model axis share; the other leaves stand whole on
# each. What is split by outputs feeds what is split by inputs, so that attention and MLP need one
# sum over the devices each, and no parameter ever travels.
SPLIT: Mapping[str, int] = {
    "embed.tokens": 0,
    "attn.q.kernel": 1,
    "attn.q.bias": 0,
    "attn.k.kernel": 1,
    "attn.k.bias": 0,
    "attn.v.kernel": 1,
    "attn.v.bias": 0,
    "attn.o.kernel": 0,
    "mlp.up.kernel": 1,
    "mlp.up.bias": 0,
    "mlp.gate.kernel": 1,
    "mlp.gate.bias": 0,
    "mlp.down.kernel": 0,
    "head.kernel": 1,
    "head.bias": 0,
}


def split_axis(config: ModelConfig, path: Path, devices: int) -> int | None:
    """Axis along which so many devices share a leaf; None: each has all of it.

    Heads go whole: where they cannot be dealt out evenly, attention is not split. Nor is a
    vocabulary or a width that does not divide.
    """
    name = ".".join(key for key in path if not key.startswith("layers_"))
    sizes = {
        "attn": math.gcd(config.n_heads, config.n_kv_heads),
        "mlp": config.d_ff,
        "embed": config.vocab_size,
        "head": config.vocab_size,
    }
    divides = sizes.get(name.split(".")[0], 1) % devices == 0
    return SPLIT.get(name) if divides and devices > 1 else None


# ------------------------------------------------------------------------------- reading configs


def _common(raw: Mapping[str, Any], tied: bool) -> dict[str, Any]:
    eos = raw.get("eos_token_id")
    eos = () if eos is None else tuple(eos) if isinstance(eos, list) else (eos,)
    return {
        "hf_type": raw["model_type"],
        "vocab_size": raw["vocab_size"],
        "tied": raw.get("tie_word_embeddings", tied),
        "bos_id": raw.get("bos_token_id"),
        "eos_ids": eos,
    }


def _activation(name: str) -> Any:
    known = {"gelu_pytorch_tanh": "gelu_new", "swish": "silu"}
    name = known.get(name, name)
    if name not in ("gelu", "gelu_new", "relu", "silu"):
        raise Unsupported(f"activation {name!r} is none of gelu, gelu_new, relu, silu")
    return name


def _gpt_sizes(raw: Mapping[str, Any]) -> dict[str, Any]:
    d_model, heads = raw["n_embd"], raw["n_head"]
    return {
        "d_model": d_model,
        "n_layers": raw["n_layer"],
        "n_heads": heads,
        "n_kv_heads": heads,
        "head_dim": d_model // heads,
        "d_ff": raw.get("n_inner") or 4 * d_model,
        "max_positions": raw["n_positions"],
        "activation": _activation(raw.get("activation_function", "gelu_new")),
        "norm_eps": raw.get("layer_norm_epsilon", 1e-5),
        "mlp_bias": True,
    }


def _read_gptj(raw: Mapping[str, Any]) -> ModelConfig:
    if not raw.get("rotary_dim", 64):
        raise Unsupported("a GPT-J without rotary_dim")
    return ModelConfig(
        family="gptj",
        rotary_dim=raw.get("rotary_dim", 64),
        head_bias=True,
        **_common(raw, tied=False),
        **_gpt_sizes(raw),
    )


def _read_gpt2(raw: Mapping[str, Any]) -> ModelConfig:
    if raw.get("scale_attn_by_inverse_layer_idx") or not raw.get("scale_attn_weights", True):
        raise Unsupported("attention scores are scaled by 1/sqrt(head_dim) only")
    if raw.get("add_cross_attention"):
        raise Unsupported("cross-attention is not computed")
    return ModelConfig(
        family="gpt2",
        qkv_bias=True,
        o_bias=True,
        **_common(raw, tied=True),
        **_gpt_sizes(raw),
    )


def _read_llama(raw: Mapping[str, Any]) -> ModelConfig:
    heads = raw["num_attention_heads"]
    head_dim = raw.get("head_dim") or raw["hidden_size"] // heads
    theta, scaling = _read_rope(raw)
    bias = bool(raw.get("attention_bias", False))
    return ModelConfig(
        family="llama",
        d_model=raw["hidden_size"],
        n_layers=raw["num_hidden_layers"],
        n_heads=heads,
        n_kv_heads=raw.get("num_key_value_heads") or heads,
        head_dim=head_dim,
        d_ff=raw["intermediate_size"],
        max_positions=raw.get("max_position_embeddings", 2048),
        activation=_activation(raw.get("hidden_act", "silu")),
        norm_eps=raw.get("rms_norm_eps", 1e-6),
        rotary_dim=head_dim,
        rope_theta=theta,
        rope_scaling=scaling,
        qkv_bias=bias,
        o_bias=bias,
        mlp_bias=bool(raw.get("mlp_bias", False)),
        **_common(raw, tied=False),
    )


def _read_mistral(raw: Mapping[str, Any]) -> ModelConfig:
    return dataclasses.replace(_read_llama(raw), sliding_window=raw.get("sliding_window", 4096))


def _read_qwen2(raw: Mapping[str, Any]) -> ModelConfig:
    if raw.get("use_sliding_window"):
        raise Unsupported("a sliding window in some layers only (use_sliding_window)")
    return dataclasses.replace(_read_llama(raw), qkv_bias=True)


def _read_rope(raw: Mapping[str, Any]) -> tuple[float, RopeScaling | None]:
    """theta and scaling, from either generation of keys (rope_theta, or rope_parameters)."""
    scaling = {**(raw.get("rope_scaling") or {}), **(raw.get("rope_parameters") or {})}
    theta = float(scaling.get("rope_theta") or raw.get("rope_theta") or 10_000.0)
    kind = scaling.get("rope_type") or scaling.get("type") or "default"
    if kind == "default":
        return theta, None
    if kind == "linear":
        return theta, RopeScaling("linear", float(scaling["factor"]))
    if kind == "llama3":
        return theta, RopeScaling(
            "llama3",
            float(scaling["factor"]),
            float(scaling["low_freq_factor"]),
            float(scaling["high_freq_factor"]),
            int(scaling["original_max_position_embeddings"]),
        )
    raise Unsupported(f"rotary scaling {kind!r} is none of default, linear, llama3")


# ------------------------------------------------------------------------------- writing configs


def _write_gpt(config: ModelConfig, architecture: str) -> dict[str, Any]:
    return {
        "architectures": [architecture],
        "n_embd": config.d_model,
        "n_head": config.n_heads,
        "n_inner": config.d_ff,
        "n_layer": config.n_layers,
        "n_positions": config.max_positions,
        "activation_function": config.activation,
        "layer_norm_epsilon": config.norm_eps,
    }


def _write_gptj(config: ModelConfig) -> dict[str, Any]:
    return {**_write_gpt(config, "GPTJForCausalLM"), "rotary_dim": config.rotary_dim}


def _write_gpt2(config: ModelConfig) -> dict[str, Any]:
    return _write_gpt(config, "GPT2LMHeadModel")


def _write_llama(config: ModelConfig, architecture: str = "LlamaForCausalLM") -> dict[str, Any]:
    raw = {
        "architectures": [architecture],
        "hidden_size": config.d_model,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_dim,
        "intermediate_size": config.d_ff,
        "max_position_embeddings": config.max_positions,
        "hidden_act": config.activation,
        "rms_norm_eps": config.norm_eps,
        "rope_theta": config.rope_theta,
    }
    if config.rope_scaling is not None:
        scaling = config.rope_scaling
        raw["rope_scaling"] = {"rope_type": scaling.kind, "factor": scaling.factor}
        if scaling.kind == "llama3":
            raw["rope_scaling"] |= {
                "low_freq_factor": scaling.low_freq_factor,
                "high_freq_factor": scaling.high_freq_factor,
                "original_max_position_embeddings": scaling.original_max_positions,
            }
    if config.hf_type == "llama":
        raw |= {"attention_bias": config.o_bias, "mlp_bias": config.mlp_bias}
    return raw


def _write_mistral(config: ModelConfig) -> dict[str, Any]:
    raw = _write_llama(config, "MistralForCausalLM")
    return {**raw, "sliding_window": config.sliding_window}


def _write_qwen2(config: ModelConfig) -> dict[str, Any]:
    return {**_write_llama(config, "Qwen2ForCausalLM"), "use_sliding_window": False}


# ------------------------------------------------------------------------------- parameter names


def _linear(path: Path, name: str, bias: bool) -> list[Weight]:
    made = [Weight((*path, "kernel"), f"{name}.weight", transpose=True)]
    return [*made, Weight((*path, "bias"), f"{name}.bias")] if bias else made


def _norm(path: Path, name: str, bias: bool) -> list[Weight]:
    made = [Weight((*path, "scale"), f"{name}.weight")]
    return [*made, Weight((*path, "bias"), f"{name}.bias")] if bias else made


def _head(config: ModelConfig) -> list[Weight]:
    made = _linear(("head",), "lm_head", config.head_bias)
    return made[1:] if config.tied else made


def _names_gptj(config: ModelConfig) -> tuple[Weight, ...]:
    made = [Weight(("embed", "tokens"), "transformer.wte.weight")]
    for i in range(config.n_layers):
        ours, theirs = f"layers_{i}", f"transformer.h.{i}"
        made += _norm((ours, "norm1"), f"{theirs}.ln_1", bias=True)
        for a, b in {"q": "q_proj", "k": "k_proj", "v": "v_proj", "o": "out_proj"}.items():
            made += _linear((ours, "attn", a), f"{theirs}.attn.{b}", bias=False)
        for a, b in {"up": "fc_in", "down": "fc_out"}.items():
            made += _linear((ours, "mlp", a), f"{theirs}.mlp.{b}", bias=True)
    return (*made, *_norm(("norm",), "transformer.ln_f", bias=True), *_head(config))


def _names_gpt2(config: ModelConfig) -> tuple[Weight, ...]:
    made = [
        Weight(("embed", "tokens"), "transformer.wte.weight"),
        Weight(("embed", "positions"), "transformer.wpe.weight"),
    ]
    for i in range(config.n_layers):
        ours, theirs = f"layers_{i}", f"transformer.h.{i}"
        made += _norm((ours, "norm1"), f"{theirs}.ln_1", bias=True)
        made += _norm((ours, "norm2"), f"{theirs}.ln_2", bias=True)
        for leaf, stored in {"kernel": "weight", "bias": "bias"}.items():  # stored as [in, out]
            for part, a in enumerate("qkv"):
                fused, zero = f"{theirs}.attn.c_attn.{stored}", leaf == "bias"
                path = (ours, "attn", a, leaf)
                made.append(Weight(path, fused, part=(part, 3), optional=zero))
            made.append(Weight((ours, "attn", "o", leaf), f"{theirs}.attn.c_proj.{stored}"))
            made.append(Weight((ours, "mlp", "up", leaf), f"{theirs}.mlp.c_fc.{stored}"))
            made.append(Weight((ours, "mlp", "down", leaf), f"{theirs}.mlp.c_proj.{stored}"))
    return (*made, *_norm(("norm",), "transformer.ln_f", bias=True), *_head(config))


def _names_llama(config: ModelConfig) -> tuple[Weight, ...]:
    made = [Weight(("embed", "tokens"), "model.embed_tokens.weight")]
    for i in range(config.n_layers):
        ours, theirs = f"layers_{i}", f"model.layers.{i}"
        made += _norm((ours, "norm1"), f"{theirs}.input_layernorm", bias=False)
        made += _norm((ours, "norm2"), f"{theirs}.post_attention_layernorm", bias=False)
        for a in "qkvo":
            bias = config.o_bias if a == "o" else config.qkv_bias
            made += _linear((ours, "attn", a), f"{theirs}.self_attn.{a}_proj", bias)
        for a in ("gate", "up", "down"):
            made += _linear((ours, "mlp", a), f"{theirs}.mlp.{a}_proj", config.mlp_bias)
    return (*made, *_norm(("norm",), "model.norm", bias=False), *_head(config))


_GPTJ = (gptj.Block, PLAIN, LayerNorm, "transformer.")
_GPT2 = (gpt2.Block, PLAIN, LayerNorm, "transformer.")
_LLAMA = (llama.Block, GATED, RMSNorm, "model.")
FAMILIES: Mapping[str, Family] = {
    "gptj": Family(*_GPTJ, _read_gptj, _write_gptj, _names_gptj),
    "gpt2": Family(*_GPT2, _read_gpt2, _write_gpt2, _names_gpt2),
    "llama": Family(*_LLAMA, _read_llama, _write_llama, _names_llama),
    "mistral": Family(*_LLAMA, _read_mistral, _write_mistral, _names_llama),
    "qwen2": Family(*_LLAMA, _read_qwen2, _write_qwen2, _names_llama),
}
