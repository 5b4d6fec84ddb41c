"""Does MEMIT, applied one edit at a time, decline before D4S does? Measured in two minutes.

    python -m jaxedit.run --config=configs/quickstart.py --workdir=out/quickstart

A small GPT-J that ships with the package knows a small world; 100 of its facts are changed, one
after another. Layers, lambda and the value optimisation come with the model (its editing.json);
they were chosen on other facts than those edited here.
"""

from ml_collections import ConfigDict

from jaxedit.config import arms, base


def get_config() -> ConfigDict:
    config = base()
    config.about = (
        "100 sequential edits of a small GPT-J that knows a small world. Layers, lambda and the "
        "value optimisation come with the model and were chosen on other facts than these."
    )
    config.model = "embedded:gptj"

    config.facts.source = "embedded:gptj"
    config.facts.limit = 100
    config.facts.seed = 1

    config.arms = arms(
        memit={"method": "memit", "title": "MEMIT one by one"},
        d4s={"method": "d4s", "title": "D4S as published", "residual": "shared"},
        d4s_recomputed={
            "method": "d4s",
            "title": "D4S, residual recomputed",
            "residual": "recomputed",
        },
    )

    config.statistics.source = "embedded"

    config.eval.every = 10
    config.eval.generate = ("before", "immediate", "after_all")
    config.eval.max_new_tokens = 10
    config.checkpoint_every = 25
    return config
