"""Edit one small plug-in, update two different models: OnceEdit in a few minutes.

    python -m jaxedit.run --config=configs/quickstart_onceedit.py --workdir=out/onceedit

The smallest of the embedded models learns 100 edits once, with a gate that tells them from all
other questions. It then corrects a GPT-J with another vocabulary and a Llama with its own; neither
is touched. ``ablation`` adds the paper's other modes of fusion (its Table 2), ``editors`` edits the
plug-in by D4S, MEMIT and breadth-first fine-tuning in its place, ``chunks`` gives it the edits in
tens. ``fast`` is for use rather than comparison: where the gate is nearly shut the target decodes
alone, anchors are matched by their bytes, end-of-text with end-of-text, and the best anchor is
found from as few rows as prove it. Training was set on other facts than those edited here.
"""

from ml_collections import ConfigDict

from jaxedit.config import arms, base
from jaxedit.errors import UserError

VARIANTS = ("ablation", "editors", "chunks", "fast")


def get_config(variant: str = "") -> ConfigDict:
    config = base()
    config.about = (
        "100 edits of a small plug-in model, and what it does for two other models that know the "
        "same world. The training was set on other facts than these."
    )
    config.model = "embedded:plugin"
    config.ensemble.targets = ("embedded:gptj", "embedded:llama")
    config.ensemble.unrelated.limit = 400
    config.ensemble.spelt = True  # beyond the paper: words that GPT-J lacks, in its own tokens

    config.facts.source = "embedded:gptj"
    config.facts.limit = 100
    config.facts.seed = 1

    once = {"method": "onceedit", "title": "OnceEdit", "batch": 100}
    config.arms = arms(onceedit=once)
    config.statistics.source = "embedded"
    config.eval.immediate = False
    config.eval.generate = ("before", "after_all")
    config.eval.max_new_tokens = 10
    config.checkpoint_every = 100

    if variant == "ablation":
        config.ensemble.modes = ("deepen", "dw", "dw_zi", "dw_ta", "dw_ee")
    elif variant == "editors":
        config.arms = arms(
            onceedit=once,
            locft_bf={"method": "locft_bf", "title": "LocFT-BF", "batch": 100},
            memit={"method": "memit", "title": "MEMIT one by one"},
            d4s={"method": "d4s", "title": "D4S", "residual": "shared"},
        )
    elif variant == "chunks":
        config.arms = arms(onceedit={**once, "title": "OnceEdit, ten by ten", "batch": 10})
        config.checkpoint_every = 10
    elif variant == "fast":
        config.ensemble.anchors = "bytes"
        config.ensemble.guard = 0.5
        config.ensemble.eos = "pair"
        config.ensemble.certified = True
    elif variant:
        raise UserError(
            f"--config=configs/quickstart_onceedit.py:{variant}: no such variant; there are "
            f"{', '.join(VARIANTS)}"
        )
    return config
