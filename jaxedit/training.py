"""Training a small model of the embedded world so that it can be edited.

What is said of a subject is learned by any model; where it is looked up is not. Locate-then-edit
methods write at the subject's last token in a low layer, which only works if recall passes
through there: if a later token reads the subject's name by itself, or reads it below the edited
layers, a value written there is not what the answer is made of. Big models have this of their
own accord. A small one gets it from its training: see `knockouts`.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from absl import logging
from optax.contrib import muon

from jaxedit.data.factworld.batches import Batch, batches
from jaxedit.data.factworld.vocabulary import TOKENIZERS
from jaxedit.data.factworld.world import World
from jaxedit.editors.settings import Settings, write_settings
from jaxedit.errors import UserError
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import forward, init_params
from jaxedit.models.loading import save_hf
from jaxedit.models.text import Tokenizer
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import make_mesh
from jaxedit.typed import build

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Knockout:
    """Of the attention-knockout regulariser (see `knockouts`).

    Attributes:
        share: of the rows that it is applied to, at random, anew in every step.
        last_layer: the highest layer that keeps a subject to itself; edits go no higher.
    """

    share: float
    last_layer: int


@dataclass(frozen=True)
class Recipe:
    """All that a training run depends on.

    Attributes:
        model: fields of `ModelConfig`, less those that the tokenizer decides.
        tokenizer: "byte_level" or "sentencepiece".
        vocab_size: tokens that the tokenizer learns, special ones included.
        world: seed of the world.
        knockout: of the regulariser.
        editing: layers, lambda and value optimisation that edits of this model should use; they
            are written beside it.
        steps: updates.
        tokens: places in a batch, padding included.
        lengths: that rows are padded to.
        learning_rate: peak, of Muon for matrices and of Adam for biases and norms.
        warmup: steps of linear growth of the learning rate from zero.
        decay_steps: the step at which a cosine has brought it down again; usually the last one.
        final_share: of its peak, left then.
        prompt_weight: of a prompt's token in the loss; an answer's counts 1.
        seed: of parameters, rows and knockouts.
        log_every: steps a progress line.
        save_every: steps a written model.
        dtype: of the weights that are written; training is in float32.
    """

    model: Mapping[str, Any]
    tokenizer: Literal["byte_level", "sentencepiece"]
    vocab_size: int
    knockout: Knockout
    editing: Settings
    steps: int
    tokens: int
    lengths: tuple[int, ...]
    learning_rate: float
    warmup: int
    decay_steps: int
    final_share: float
    prompt_weight: float
    world: int = 0
    seed: int = 0
    log_every: int = 50
    save_every: int = 300
    dtype: Literal["float32", "bfloat16"] = "bfloat16"


class Progress(NamedTuple):
    """Of one step: the loss in nats, and the share of answer tokens predicted, both scalars."""

    loss: jax.Array
    accuracy: jax.Array


def model_config(recipe: Recipe, tokenizer: Tokenizer) -> ModelConfig:
    """The model's shape, with the tokenizer's vocabulary and special tokens.

    Raises:
        UserError: an unknown or missing field, a wrong type, sizes that do not fit together.
    """
    fixed = {
        "vocab_size": tokenizer.vocab_size,
        "eos_ids": (tokenizer.eos_id,),
        "bos_id": tokenizer.bos_id,
        "hf_type": recipe.model.get("family"),
    }
    try:
        return build(ModelConfig, {**recipe.model, **fixed}, "--config.model")
    except ValueError as error:
        raise UserError(f"--config.model: {error}") from error


def knockouts(
    batch: Batch, chosen: jax.Array, n_layers: int, last_layer: int
) -> dict[int, jax.Array]:
    """Attention edges to cut so that a subject is recalled at its last token, and low.

    Up to `last_layer` no token outside a subject's name sees any token of the name; above it,
    such a token sees the name's last token only. So what is known of a subject has to be put
    together at its last token by `last_layer`, and what stands there then is all that the rest of
    the text learns of it. (Geva et al. 2023, "Dissecting recall of factual associations", cut
    such edges to find out where a model recalls; here they are cut so that it recalls there.)

    Args:
        batch: B rows of T tokens.
        chosen: [B] bool, the rows that it is applied to.
        n_layers: of the model.
        last_layer: see above.

    Returns:
        By layer [B, T, T] bool, from a query to a key.
    """
    query, key = batch.subject[:, :, None], batch.subject[:, None, :]
    name = (key >= 0) & (query != key) & chosen[:, None, None]
    all_but_last = name & ~batch.subject_last[:, None, :]
    return {layer: name if layer <= last_layer else all_but_last for layer in range(n_layers)}


def loss(
    config: ModelConfig,
    recipe: Recipe,
    params: Params,
    batch: Batch,
    key: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Mean of -log p over a batch's tokens, a prompt's weighted less than an answer's.

    Returns the loss and the share of answer tokens that are the most probable ones.
    """
    rows = batch.ids.shape[0]
    chosen = jax.random.uniform(key, (rows, 1, 1))[:, 0, 0] < recipe.knockout.share
    cut = knockouts(batch, chosen, config.n_layers, recipe.knockout.last_layer)
    ids, mask = jnp.asarray(batch.ids), jnp.asarray(batch.mask)
    logits = forward(config, params, ids, mask, knockout=cut).logits
    assert logits is not None
    logits, target = logits[:, :-1], ids[:, 1:]  # [B, T - 1, V], [B, T - 1]
    answer, real = batch.answer[:, 1:], mask[:, 1:]
    weight = jnp.where(answer, 1.0, recipe.prompt_weight).astype(jnp.float32) * real
    picked = jnp.take_along_axis(jax.nn.log_softmax(logits), target[..., None], -1)[..., 0]
    hit = (logits.argmax(-1) == target) & answer & real
    return -(picked * weight).sum() / weight.sum(), hit.sum() / (answer & real).sum()


def optimizer(recipe: Recipe) -> optax.GradientTransformation:
    """Muon for matrices (momentum 0.95, five Newton-Schulz steps), Adam for everything else."""
    schedule = optax.warmup_cosine_decay_schedule(
        init_value=0.0,
        peak_value=recipe.learning_rate,
        warmup_steps=recipe.warmup,
        decay_steps=recipe.decay_steps,
        end_value=recipe.learning_rate * recipe.final_share,
    )
    return muon(schedule, adam_b1=0.9, adam_b2=0.95, weight_decay=0.0)


Update = Callable[[Any, Any, Batch, jax.Array], tuple[Any, Any, Progress]]


def make_update(config: ModelConfig, recipe: Recipe) -> tuple[optax.GradientTransformation, Update]:
    """The optimiser, and (params, its state, batch, key) -> (params, state, progress), jitted."""
    transform = optimizer(recipe)
    objective = jax.value_and_grad(functools.partial(loss, config, recipe), has_aux=True)

    @jax.jit
    def update(params: Any, state: Any, batch: Batch, key: jax.Array) -> tuple[Any, Any, Progress]:
        (value, accuracy), gradient = objective(params, batch, key)
        change, state = transform.update(gradient, state, params)
        return optax.apply_updates(params, change), state, Progress(value, accuracy)

    return transform, update


def train(recipe: Recipe, directory: Path) -> Transformer:
    """Trains a model and writes it as a Hugging Face directory, now and then and at the end.

    The same recipe on the same kind of machine gives the same model.

    Raises:
        UserError: the model's fields make no sense.
        FloatingPointError: the loss is not finite; what was written before is still there.
    """
    logging.info("learning a tokenizer of %d tokens", recipe.vocab_size)
    tokenizer = TOKENIZERS[recipe.tokenizer](recipe.vocab_size)
    config = model_config(recipe, tokenizer)
    stream = batches(tokenizer, World(recipe.world), recipe.seed, recipe.tokens, recipe.lengths)
    params: Params = init_params(config, jax.random.key(recipe.seed))
    transform, update = make_update(config, recipe)
    state = transform.init(params)
    size = sum(leaf.size for leaf in jax.tree.leaves(params))
    logging.info("%s model of %.2f million parameters", config.family, size / 1e6)
    key, recent, begun = jax.random.key(recipe.seed + 1), [], time.monotonic()
    for step, batch in zip(range(1, recipe.steps + 1), stream, strict=False):
        params, state, progress = update(params, state, batch, jax.random.fold_in(key, step - 1))
        recent.append(progress)
        if step % recipe.log_every == 0 or step == recipe.steps:
            mean = _mean(recent, step)
            left = (recipe.steps - step) * (time.monotonic() - begun) / step
            logging.info(
                "step %d of %d: loss %.3f, answers %.3f, %.0f s left",
                *(step, recipe.steps, mean.loss, mean.accuracy, left),
            )
            recent = []
        if step % recipe.save_every == 0 or step == recipe.steps:
            write(Transformer(config, params, tokenizer, make_mesh(1)), recipe, directory)
    return Transformer(config, params, tokenizer, make_mesh(1))


def _mean(recent: Iterable[Progress], step: int) -> Progress:
    mean = jax.tree.map(lambda *each: float(jnp.stack(each).mean()), *recent)
    if not jnp.isfinite(mean.loss):
        raise FloatingPointError(f"the loss is not finite before step {step}")
    return mean


def write(lm: Transformer, recipe: Recipe, directory: Path) -> None:
    """The model in the recipe's dtype, its tokenizer, and the settings that edits of it use."""
    dtype = jnp.dtype(recipe.dtype)
    save_hf(lm.with_params(jax.tree.map(lambda leaf: leaf.astype(dtype), lm.params)), directory)
    write_settings(directory, recipe.editing)


def read_recipe(raw: Mapping[str, Any]) -> Recipe:
    """A recipe from a config's plain dictionaries.

    Raises:
        UserError: an unknown key (with the nearest known one), a missing one, a value of the
            wrong type or out of range; each names the flag.
    """
    plain = {key: value for key, value in raw.items() if key != "about"}
    recipe = build(Recipe, plain, "--config")
    recipe = replace(recipe, lengths=tuple(sorted(recipe.lengths)))
    for name in (
        "vocab_size",
        "steps",
        "tokens",
        "warmup",
        "decay_steps",
        "log_every",
        "save_every",
    ):
        if getattr(recipe, name) < 1:
            raise UserError(f"--config.{name}: must be at least 1, got {getattr(recipe, name)}")
    if not recipe.lengths or recipe.tokens < recipe.lengths[-1]:
        raise UserError(f"--config.tokens: {recipe.tokens} holds no row of {recipe.lengths}")
    if recipe.warmup >= recipe.decay_steps:
        raise UserError(f"--config.warmup: {recipe.warmup} is not below {recipe.decay_steps}")
    return recipe
