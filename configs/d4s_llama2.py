"""D4S on Llama-2-7B with zsRE, one edit at a time: the published setting.

    python -m jaxedit.run --config=configs/d4s_llama2.py --workdir=out/d4s_llama2
    python -m jaxedit.run --config=configs/d4s_llama2.py:small --workdir=out/small \\
        --config.model=some/small/llama --config.layers=2,3,4 --config.facts.path=zsre.json.gz

Hyper-parameters: EasyEdit's hparams/MEMIT/llama-7b.yaml, which the authors' code runs with. Its
targets carry the bare "▁" that Llama-2's tokenizer puts before a word encoded alone.
"""

from ml_collections import ConfigDict

from jaxedit.config import arms, base
from jaxedit.errors import UserError


def get_config(size: str = "") -> ConfigDict:
    """The run; ``small`` keeps all of it but the model, its layers and what depends on its size."""
    config = base()
    config.about = "D4S with the hyper-parameters published for Llama-2-7B."
    config.model = "meta-llama/Llama-2-7b-hf"
    config.layers = (4, 5, 6, 7, 8)
    config.dtype = "float32"
    config.legacy_targets = True

    config.facts.source = "zsre-train-10000"
    config.facts.limit = 2000

    config.arms = arms(
        d4s={
            "method": "d4s",
            "title": "D4S",
            "residual": "shared",
            "moment_weight": 15_000.0,  # mom2_update_weight
            "values": {
                "steps": 25,  # v_num_grad_steps
                "learning_rate": 0.5,  # v_lr
                "weight_decay": 1e-3,  # v_weight_decay
                "clamp_norm_factor": 4.0,
                "kl_factor": 0.0625,
                "stop_below": 0.05,
            },
        }
    )

    config.statistics.source = "model"  # published: 100,000 documents of Wikipedia; name a corpus
    config.contexts.seed = 42

    config.eval.every = 100
    config.eval.generate = ("before", "after_all")
    config.checkpoint_every = 100
    config.keep_checkpoints = 2
    config.values_block = 50

    if size == "small":
        config.about += " The model and its layers are small ones."
        config.model = "embedded:llama"
        config.layers = None  # those that come with the model; or --config.layers=2,3,4
        config.facts.source = "zsre"
        config.facts.limit = 100
        config.eval.every = 20
        config.eval.generate = ("before", "immediate", "after_all")
        config.checkpoint_every = 25
        config.keep_checkpoints = None
        config.values_block = 25
    elif size:
        raise UserError(f"--config=configs/d4s_llama2.py:{size}: no such variant; there is 'small'")
    return config
