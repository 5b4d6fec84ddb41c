"""MEMIT on GPT-J-6B with zsRE: one edit at a time, and all edits in one batch.

    python -m jaxedit.run --config=configs/memit_gptj.py --workdir=out/memit_gptj

Hyper-parameters: MEMIT's EleutherAI_gpt-j-6B.json. One by one it is what D4S is compared with.
"""

from ml_collections import ConfigDict

from jaxedit.config import arms, base


def get_config() -> ConfigDict:
    config = base()
    config.about = "MEMIT with the hyper-parameters published for GPT-J-6B."
    config.model = "EleutherAI/gpt-j-6b"
    config.layers = (3, 4, 5, 6, 7, 8)
    config.dtype = "float32"

    config.facts.source = "zsre-train-10000"
    config.facts.limit = 1000

    memit = {
        "method": "memit",
        "moment_weight": 15_000.0,  # mom2_update_weight
        "values": {
            "steps": 25,  # v_num_grad_steps
            "learning_rate": 0.5,  # v_lr
            "weight_decay": 0.5,  # v_weight_decay
            "clamp_norm_factor": 0.75,
            "kl_factor": 0.0625,
            "stop_below": 0.05,
        },
    }
    config.arms = arms(
        one_by_one={**memit, "title": "MEMIT one by one"},
        one_batch={**memit, "title": "MEMIT in one batch", "batch": 1000},
    )

    config.statistics.source = "model"  # published: 100,000 documents of Wikipedia; name a corpus
    config.contexts.seed = 42

    config.eval.every = 100
    config.eval.generate = ("before", "after_all")
    config.checkpoint_every = 100
    config.keep_checkpoints = 2
    config.values_block = 50
    return config
