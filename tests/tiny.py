"""A tiny random model with a byte-level tokenizer, for tests that need any model at all."""

import functools

import jax
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

from jaxedit.data.fact import Fact, Question
from jaxedit.models.config import ModelConfig
from jaxedit.models.forward import init_params
from jaxedit.models.text import Tokenizer
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import make_mesh, replicate

SENTENCES = (
    "Mira Danto was born in Vantor",
    "Tolan Verrick works as a sea captain",
    "The mother tongue of Ester Halloran is Old Tessan",
    "The capital of Arden Hollow is Rivella",
    "Jovan Osei lives in the city of New Calder",
)


@functools.cache
def tiny_tokenizer() -> Tokenizer:
    """Byte-level BPE of a few hundred tokens; <|endoftext|> ends a text."""
    pipeline = tokenizers.Tokenizer(models.BPE())
    pipeline.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pipeline.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    pipeline.train_from_iterator(SENTENCES, trainer)
    return Tokenizer.of(pipeline, {"eos_token": "<|endoftext|>"})


@functools.cache
def tiny_model(devices: int = 1, n_layers: int = 4, d_ff: int = 48) -> Transformer:
    """A random GPT-J of width 24 on some of the simulated devices."""
    config = ModelConfig(
        family="gptj",
        hf_type="gptj",
        vocab_size=tiny_tokenizer().vocab_size,
        d_model=24,
        n_layers=n_layers,
        n_heads=2,
        n_kv_heads=2,
        head_dim=12,
        d_ff=d_ff,
        max_positions=128,
        activation="gelu_new",
        rotary_dim=4,
        mlp_bias=True,
        head_bias=True,
        eos_ids=(0,),
    )
    mesh = make_mesh(devices)
    # Freshly initialised heads barely respond; eight times as large, an edit shows.
    params = init_params(config, jax.random.key(0))
    params = {**params, "head": jax.tree.map(lambda x: 8 * x, params["head"])}
    params = replicate(params, mesh)
    return Transformer(config, params, tiny_tokenizer(), mesh, "tiny")


def tiny_facts(n: int = 6) -> list[Fact]:
    """Different facts about invented people."""
    names = ["Mira Danto", "Tolan Verrick", "Ester Halloran", "Arden Hollow", "Jovan Osei"]
    cities = ["Vantor", "Rivella", "New Calder", "Old Tessan", "Kesterly", "Port Lesk", "Sarn"]
    return [
        Fact(
            prompt="{} was born in",
            subject=f"{names[i % len(names)]} {'abcdefghij'[i // len(names)]}",
            target=cities[i % len(cities)],
            previous=cities[(i + 1) % len(cities)],
            paraphrases=(f"The birthplace of {names[i % len(names)]} is",),
            neighbours=(Question("The capital of Arden Hollow is", "Rivella"),),
            id=f"tiny-{i}",
        )
        for i in range(n)
    ]
