"""The shape of a model, as one frozen and hashable value."""

import dataclasses
from typing import Literal

Activation = Literal["gelu", "gelu_new", "relu", "silu"]


@dataclasses.dataclass(frozen=True)
class RopeScaling:
    """How rotary frequencies are stretched for contexts longer than those of pre-training.

    ``linear`` divides every frequency by ``factor``. ``llama3`` divides only those whose
    wavelength exceeds ``original_max_positions / low_freq_factor``, leaves those below
    ``original_max_positions / high_freq_factor`` alone and blends in between
    (Llama-3.1 model card).
    """

    kind: Literal["linear", "llama3"]
    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 1.0
    original_max_positions: int = 0


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Everything that decides a model's computation, except its parameters and their dtype.

    ``family`` names the block (``gptj``, ``gpt2``, ``llama``) and ``hf_type`` the Hugging Face
    ``model_type`` that it is stored as (``mistral`` and ``qwen2`` are ``llama`` blocks). Being
    hashable, a config can be a static argument of ``jax.jit``.
    """

    family: Literal["gptj", "gpt2", "llama"]
    hf_type: str
    vocab_size: int
    d_model: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    d_ff: int
    max_positions: int
    activation: Activation
    norm_eps: float = 1e-5
    rotary_dim: int = 0  # leading dimensions of a head that turn; 0: learned positions
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    sliding_window: int | None = None  # a query sees this many positions, its own included
    qkv_bias: bool = False
    o_bias: bool = False
    mlp_bias: bool = False
    head_bias: bool = False
    tied: bool = False  # the LM head is the transposed token embedding
    bos_id: int | None = None
    eos_ids: tuple[int, ...] = ()  # every id that ends a text

    def __post_init__(self) -> None:
        """Raises ValueError for sizes that do not fit together."""
        if self.n_heads % self.n_kv_heads:
            raise ValueError(
                f"{self.n_heads} heads cannot share {self.n_kv_heads} key-value heads evenly"
            )
        if self.rotary_dim % 2 or self.rotary_dim > self.head_dim:
            raise ValueError(
                f"rotary_dim {self.rotary_dim} must be even and at most head_dim {self.head_dim}"
            )
