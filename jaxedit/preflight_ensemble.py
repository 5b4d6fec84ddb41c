"""What OnceEdit needs: a plug-in fine-tuned whole, and its ensembles with the targets.

From shapes alone, as in `preflight`: parts by name, in bytes on one device, where every device
holds a whole copy.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from jaxedit.ensemble.costs import Build
from jaxedit.ensemble.forced import CHUNK
from jaxedit.ensemble.plug_batches import Training
from jaxedit.ensemble.plug_training import optimiser
from jaxedit.models import ModelConfig, param_shapes

WIDE = 4  # bytes of a float32
COLUMNS = 4  # predicting positions of a row
BLOCK = 3 * WIDE  # logits, log p and its gradient


def gated(plug: ModelConfig) -> ModelConfig:
    """The plug-in with its gate's row."""
    return dataclasses.replace(plug, vocab_size=plug.vocab_size + 1)


def parameter_count(model: ModelConfig) -> int:
    """All parameters."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(param_shapes(model)))


def training_parts(plug: ModelConfig, training: Training, tokens: int) -> Mapping[str, int]:
    """What a step of fine-tuning keeps beside the parameters that it ends with.

    A step's results are made beside what it starts from.

    Args:
        plug: with its gate's row.
        training: how.
        tokens: of a row.
    """
    shapes = param_shapes(plug, jnp.float32)
    moments = jax.eval_shape(optimiser(training, 1).init, shapes)
    held = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(moments))
    rows = math.ceil(training.batch * (1 + training.ratio))
    block = plug.n_layers * (8 * plug.d_model + 3 * plug.d_ff + plug.n_heads * tokens)
    return {
        "all parameters before a step, float32": WIDE * parameter_count(plug),
        "their gradient, float32": WIDE * parameter_count(plug),
        f"{training.optimiser.capitalize()}'s moments before and after a step": 2 * held,
        "activations of a batch of edits": rows
        * (WIDE * tokens * block + BLOCK * COLUMNS * plug.vocab_size),
    }


def serving_parts(
    name: str,
    target: ModelConfig,
    plug: ModelConfig,
    devices: int = 1,
    held: str = "float32",
) -> Mapping[str, int]:
    """What an ensemble holds beside both models' parameters.

    Args:
        name: the target's.
        target: its shape.
        plug: the plug-in's, with its gate's row.
        devices: that R is shared out over.
        held: R's dtype, or "computed" where there is none in memory.
    """
    anchors = min(target.vocab_size, plug.vocab_size - 1)  # the tokenizers may share fewer
    each = 0 if held == "computed" else jnp.dtype(held).itemsize
    both = sum(Build(lm.vocab_size, anchors, 0).held(each) for lm in (target, plug))
    columns = target.vocab_size + plug.vocab_size + anchors
    return {
        f"relative representations with {name}, {held}, at most": both // devices,
        f"distributions at {CHUNK} places": 2 * WIDE * CHUNK * columns,
    }
