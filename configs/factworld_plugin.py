"""The plug-in that ships with the package: a smaller Llama with the same world and tokenizer.

    python -m jaxedit.train --config=configs/factworld_plugin.py --workdir=out/factworld_plugin

It is there to be edited once and to help other models out, so it must know the world as they do.
"""

from ml_collections import ConfigDict

from jaxedit.data.factworld.editing import (
    codebook_settings,
    hyper_settings,
    method_settings,
    plug_in_settings,
)


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.world = 0

    config.tokenizer = "sentencepiece"
    config.vocab_size = 1600

    config.model = ConfigDict()
    config.model.family = "llama"
    config.model.d_model = 96
    config.model.n_layers = 5
    config.model.n_heads = 4
    config.model.n_kv_heads = 2
    config.model.head_dim = 24
    config.model.rotary_dim = 24
    config.model.d_ff = 384
    config.model.activation = "silu"
    config.model.norm_eps = 1e-5
    config.model.max_positions = 128

    # Up to this layer a subject's name is seen by its own tokens alone; above it the rest of the
    # text sees its last token only. In this share of the rows, drawn anew in every step.
    config.knockout = ConfigDict()
    config.knockout.last_layer = 1
    config.knockout.share = 0.85

    config.steps = 1200
    config.tokens = 2304  # places in a batch: 96 rows of 24, 57 of 40 or 36 of 64
    config.lengths = (24, 40, 64)
    config.learning_rate = 0.02  # Muon's, and Adam's for biases and norms
    config.warmup = 60
    config.decay_steps = 1200  # of a cosine
    config.final_share = 0.02  # of the learning rate, at the cosine's end
    config.prompt_weight = 0.3  # in the loss; answers and ends of text weigh 1

    config.seed = 0
    config.log_every = 50
    config.save_every = 200
    config.dtype = "bfloat16"  # as written; training is in float32

    # What edits of this model use; chosen on the world's tuning pool of facts (seed 0).
    config.editing = {
        "layers": (0, 1),
        "moment_weight": 100.0,
        "values": {
            "steps": 25,
            "learning_rate": 1.0,
            "weight_decay": 0.5,
            "clamp_norm_factor": 4.0,
            "kl_factor": 0.0625,
        },
        "methods": {
            **method_settings(layer=1),
            **codebook_settings(grace=3, defer=3),
            **hyper_settings("mlp.gate", "mlp.up", "mlp.down", mend=(1, 2, 3), malmen=(2, 3, 4)),
            "onceedit": {"training": plug_in_settings()},
        },
    }
    return config
