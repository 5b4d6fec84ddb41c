"""D4S on Llama-3-70B over the eight GPUs of a node, which share its parameters.

    python -m jaxedit.run --config=configs/d4s_llama3_70b.py --workdir=out/d4s_70b
    python -m jaxedit.run --config=configs/d4s_llama3_70b.py --dry_run

Nothing is published for this model. The layers lie as deep as those of Llama-3-8B in the published
settings, the other hyper-parameters are Llama-3-8B's; `python -m jaxedit.locate` finds layers that
are the model's own. The sums of five layers, 28,672 wide in float64, are kept on the host.
"""

from ml_collections import ConfigDict

from jaxedit.config import arms, base

LAYERS = tuple(range(12, 17))  # of 80; 4 to 8 of 32 in Llama-3-8B


def get_config() -> ConfigDict:
    config = base()
    config.about = (
        "D4S on Llama-3-70B. Layers in proportion to those published for Llama-3-8B, and its other "
        "hyper-parameters: nothing is published for 70B."
    )
    config.model = "meta-llama/Meta-Llama-3-70B"
    config.layers = LAYERS
    config.dtype = "bfloat16"
    config.mesh.model = 8
    config.mesh.solve = "host"

    config.facts.source = "zsre-train-10000"
    config.facts.limit = 500

    config.arms = arms(
        d4s={
            "method": "d4s",
            "title": "D4S",
            "residual": "recomputed",
            "moment_weight": 15_000.0,
            "values": {
                "steps": 25,
                "learning_rate": 0.1,
                "weight_decay": 0.5,
                "clamp_norm_factor": 0.75,
                "kl_factor": 0.0625,
            },
        }
    )

    config.statistics.source = "model"  # text that the model writes; better: name a corpus
    config.eval.every = 100
    config.eval.generate = ("before", "after_all")
    config.checkpoint_every = 100
    config.keep_checkpoints = 2
    config.values_block = 50
    return config
