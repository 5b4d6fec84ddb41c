"""Does MEMIT, applied one edit at a time, decline before D4S does? Measured in two minutes.

    python -m jaxedit.run --config=configs/quickstart.py --workdir=out/quickstart
    python -m jaxedit.run --config=configs/quickstart.py:residuals --workdir=out/residuals

A small GPT-J that ships with the package knows a small world; 100 of its facts are changed, one
after another. Layers, lambda and the value optimisation come with the model (its editing.json);
they were chosen on other facts than those edited here. ``residuals`` adds D4S with recomputed
residuals, and free generation right after each edit; it takes twice as long.
"""

from ml_collections import ConfigDict

from jaxedit.config import arms, base
from jaxedit.errors import UserError


def get_config(variant: str = "") -> ConfigDict:
    config = base()
    config.about = (
        "100 sequential edits of a small GPT-J that knows a small world. Layers, lambda and the "
        "value optimisation come with the model and were chosen on other facts than these."
    )
    config.model = "embedded:gptj"

    config.facts.source = "embedded:gptj"
    config.facts.limit = 100
    config.facts.seed = 1

    memit = {"method": "memit", "title": "MEMIT one by one"}
    d4s = {"method": "d4s", "title": "D4S as published", "residual": "shared"}
    config.arms = arms(memit=memit, d4s=d4s)

    config.statistics.source = "embedded"

    config.eval.every = 20
    config.eval.generate = ("before", "after_all")
    config.eval.max_new_tokens = 10
    config.checkpoint_every = 25

    if variant == "residuals":
        again = {**d4s, "title": "D4S, residual recomputed", "residual": "recomputed"}
        config.arms = arms(memit=memit, d4s=d4s, d4s_recomputed=again)
        config.eval.every = 10
        config.eval.generate = ("before", "immediate", "checkpoint", "after_all")
    elif variant:
        raise UserError(
            f"--config=configs/quickstart.py:{variant}: no such variant; there is 'residuals'"
        )
    return config
