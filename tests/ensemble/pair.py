"""A random GPT-J with byte-level tokens, and a random Llama with words, as one ensemble."""

import dataclasses
import functools

import jax
import numpy as np

from jaxedit.ensemble.anchors import find_anchors
from jaxedit.ensemble.plugin import Plugin, with_gate
from jaxedit.ensemble.relative import Space, make_space
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import make_mesh, replicate
from tests.ensemble.test_sync import sentence_piece
from tests.models.tiny import CONFIGS, params_of
from tests.tiny import tiny_model


@functools.cache
def plugin(devices: int = 1) -> Plugin:
    tokenizer = sentence_piece()
    config = dataclasses.replace(
        CONFIGS["llama"], vocab_size=tokenizer.vocab_size, max_positions=32, n_layers=2
    )
    mesh = make_mesh(devices)
    params = params_of(config)
    # As sharp as a trained model: what one step changes must change what is said.
    params = {**params, "head": jax.tree.map(lambda x: 8 * x, params["head"])}
    return with_gate(Transformer(config, replicate(params, mesh), tokenizer, mesh, "plug"))


def target(devices: int = 1) -> Transformer:
    return tiny_model(devices, n_layers=1)


@functools.cache
def space() -> Space:
    main, plug = target(), plugin()
    anchors = find_anchors(main.tokenizer, plug.lm.tokenizer, "deepen")
    theirs, own = (np.asarray(lm.params["embed"]["tokens"]) for lm in (main, plug.lm))
    return make_space(theirs, own, anchors)
