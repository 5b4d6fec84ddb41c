"""GPT-2's block: attention, then MLP, each behind its own norm; learned positions."""

import flax.linen as nn
import jax

from jaxedit.models.config import ModelConfig
from jaxedit.models.layers import KV, MLP, Attend, Attention, LayerNorm
from jaxedit.models.sites import LayerSites


class Block(nn.Module):
    """h' = h + attention(norm1(h)); h' + mlp(norm2(h'))."""

    config: ModelConfig

    @nn.compact
    def __call__(self, h: jax.Array, attend: Attend, sites: LayerSites) -> tuple[jax.Array, KV]:
        """h [B, T, D] -> the layer's output, and this call's keys and values."""
        c = self.config
        x = LayerNorm(c.norm_eps, name="norm1")(h)
        mixed, kv = Attention(c, name="attn")(x, attend, sites)
        h = h + mixed
        return h + MLP(c, name="mlp")(LayerNorm(c.norm_eps, name="norm2")(h), sites), kv
