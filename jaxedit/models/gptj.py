"""GPT-J's block: attention and MLP read one norm side by side; interleaved rotary."""

import flax.linen as nn
import jax

from jaxedit.models.config import ModelConfig
from jaxedit.models.layers import KV, MLP, Attend, Attention, LayerNorm, rotate_interleaved
from jaxedit.models.sites import LayerSites


class Block(nn.Module):
    """h + attention(norm1(h)) + mlp(norm1(h)): an edit of this MLP changes later layers only."""

    config: ModelConfig

    @nn.compact
    def __call__(self, h: jax.Array, attend: Attend, sites: LayerSites) -> tuple[jax.Array, KV]:
        """h [B, T, D] -> the layer's output, and this call's keys and values."""
        x = LayerNorm(self.config.norm_eps, name="norm1")(h)
        mixed, kv = Attention(self.config, rotate_interleaved, name="attn")(x, attend, sites)
        return h + mixed + MLP(self.config, name="mlp")(x, sites), kv
