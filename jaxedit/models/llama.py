"""The block of Llama, Mistral, Qwen2.5 and TinyLlama: RMS norms, rotary halves, gated MLP."""

import flax.linen as nn
import jax

from jaxedit.models.config import ModelConfig
from jaxedit.models.layers import KV, MLP, Attend, Attention, RMSNorm, rotate_half
from jaxedit.models.sites import LayerSites


class Block(nn.Module):
    """h' = h + attention(norm1(h)); h' + down(act(gate(x)) * up(x)) with x = norm2(h')."""

    config: ModelConfig

    @nn.compact
    def __call__(self, h: jax.Array, attend: Attend, sites: LayerSites) -> tuple[jax.Array, KV]:
        """h [B, T, D] -> the layer's output, and this call's keys and values."""
        c = self.config
        x = RMSNorm(c.norm_eps, name="norm1")(h)
        mixed, kv = Attention(c, rotate_half, name="attn")(x, attend, sites)
        h = h + mixed
        x = RMSNorm(c.norm_eps, name="norm2")(h)
        return h + MLP(c, gated=True, name="mlp")(x, sites), kv
