"""OnceEdit on Llama-2-7B with a TinyLlama plug-in: the published setting (1,000 edits at once).

    python -m jaxedit.run --config=configs/onceedit_llama2.py --workdir=out/once_llama2
    python -m jaxedit.run --config=configs/onceedit_llama2.py:counterfact --workdir=out/once_cf
    python -m jaxedit.run --config=configs/onceedit_llama2.py:zsre,qwen2.5 --dry_run
    python -m jaxedit.run --config=configs/onceedit_llama2.py:counterfact --workdir=out/tiny \\
        --config.model=embedded:plugin --config.ensemble.targets=embedded:llama \\
        --config.facts.limit=20 --config.facts.path=data/counterfact \\
        --config.ensemble.unrelated.limit=40 --config.ensemble.unrelated.path=data/counterfact

The data set comes first, then the plug-in: TinyLlama, or Qwen2.5-1.5B as in the paper's Table 3.
Table 2's other rows: --config.ensemble.modes=deepen,dw,dw_ee. Another target needs no further edit:
add it to --config.ensemble.targets and give the same command again. The other methods of Table 1
edit the target itself: configs/published.py.

Stated by the paper: lambda, the learning rate, 1,000 records of the evaluation sets (zsRE in the
split of KnowEdit) in one batch, scored by EasyEdit after all of them; the prompts of its appendix
A; unrelated questions from the training sets. Not stated, and so the method's defaults: which
checkpoint of TinyLlama (the paper's prompts are for base models), epochs, batch, optimiser, how
many unrelated questions.
"""

from ml_collections import ConfigDict

from jaxedit.config import arms, base
from jaxedit.errors import UserError
from jaxedit.metrics import easyedit
from jaxedit.metrics.formats import ONCEEDIT_COUNTERFACT, ONCEEDIT_ZSRE

DATA = {  # what is edited, where unrelated questions come from, what prompts are wrapped in
    "zsre": ("zsre-knowedit", "zsre-train-10000", ONCEEDIT_ZSRE),
    "counterfact": ("counterfact-edit", "counterfact-train", ONCEEDIT_COUNTERFACT),
}
PLUGINS = {
    "tinyllama": "TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T",
    "qwen2.5": "Qwen/Qwen2.5-1.5B",
}


def get_config(what: str = "zsre") -> ConfigDict:
    data, _, plugin = what.partition(",")
    plugin = plugin or "tinyllama"
    if data not in DATA or plugin not in PLUGINS:
        raise UserError(
            f"--config=...:{what}: give a data set and a plug-in, of {', '.join(DATA)} and "
            f"{', '.join(PLUGINS)}, such as zsre,tinyllama"
        )
    config = base()
    config.about = "OnceEdit as published; what the paper does not state is as the method has it."
    config.model = PLUGINS[plugin]
    config.dtype = "bfloat16"
    config.ensemble.targets = ("meta-llama/Llama-2-7b-hf",)

    source, unrelated, form = DATA[data]
    config.facts.source = source
    config.facts.limit = 1000
    config.facts.seed = 0
    config.ensemble.unrelated.source = unrelated
    config.ensemble.unrelated.limit = 1000

    training = {"weight": 0.8, "learning_rate": 1e-4}
    config.arms = arms(
        onceedit={"method": "onceedit", "title": "OnceEdit", "batch": 1000, "training": training}
    )
    config.checkpoint_every = 1000

    config.eval.prompt_format = form
    config.eval.immediate = False
    config.eval.generate = ("before", "after_all")
    config.eval.protocols = (easyedit.TEACHER_FORCED, easyedit.GENERATION)
    return config
