"""The GPT-J model of the embedded world that ships with the package.

    python -m jaxedit.train --config=configs/factworld_gptj.py --workdir=out/factworld_gptj

About 20 minutes on two CPU cores. The world has some 1,800 facts of 20 relations; each is learned
in five of its relation's six phrasings, half of the time beside other sentences. Subjects are put
together at their last token by layer 2, which leaves five layers to carry an edit on to the
answer.

The shipped weights began from another draw of the same random initial parameters (their keys were
split in another order); tokenizer, batches, updates and schedule are those of this file.
"""

from ml_collections import ConfigDict

from jaxedit.data.factworld.editing import (
    cache_settings,
    codebook_settings,
    hyper_settings,
    method_settings,
    side_memory_settings,
)


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.world = 0

    config.tokenizer = "byte_level"
    config.vocab_size = 1200

    config.model = ConfigDict()
    config.model.family = "gptj"
    config.model.d_model = 128
    config.model.n_layers = 8
    config.model.n_heads = 4
    config.model.n_kv_heads = 4
    config.model.head_dim = 32
    config.model.rotary_dim = 16
    config.model.d_ff = 1024
    config.model.activation = "gelu_new"
    config.model.mlp_bias = True
    config.model.head_bias = True
    config.model.max_positions = 128

    # Up to this layer a subject's name is seen by its own tokens alone; above it the rest of the
    # text sees its last token only. In this share of the rows, drawn anew in every step.
    config.knockout = ConfigDict()
    config.knockout.last_layer = 2
    config.knockout.share = 0.85

    config.steps = 1200
    config.tokens = 2304  # places in a batch: 96 rows of 24, 57 of 40 or 36 of 64
    config.lengths = (24, 40, 64)
    config.learning_rate = 0.02  # Muon's, and Adam's for biases and norms
    config.warmup = 60
    config.decay_steps = 1500  # of a cosine, which `steps` cuts short
    config.final_share = 0.02  # of the learning rate, at the cosine's end
    config.prompt_weight = 0.3  # in the loss; answers and ends of text weigh 1

    config.seed = 0
    config.log_every = 50
    config.save_every = 300
    config.dtype = "bfloat16"  # as written; training is in float32

    # What edits of this model use; chosen on the world's tuning pool of facts (seed 0).
    config.editing = {
        "layers": (1, 2),
        "moment_weight": 100.0,
        "values": {
            "steps": 30,
            "learning_rate": 0.5,
            "weight_decay": 0.5,
            "clamp_norm_factor": 4.0,
            "kl_factor": 0.0625,
        },
        "methods": {
            **method_settings(layer=2),
            **codebook_settings(grace=4, defer=6),
            **side_memory_settings(6),
            **cache_settings(),
            **hyper_settings("mlp.up", "mlp.down"),
            "kn": {
                "layers": [4, 5, 6, 7],
                "threshold": 0.4,
                "rule": "original",
                "embeddings": "output",
                "add": 2.0,
            },
            "ultraedit": {"layers": [5, 6, 7], "learning_rate": 0.003},
        },
    }
    return config
