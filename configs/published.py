"""Any method on any model that hyper-parameters are published for.

    python -m jaxedit.run --config=configs/published.py:rome,gptj --workdir=out/rome_gptj
    python -m jaxedit.run --config=configs/published.py:alphaedit,llama3 --dry_run

Methods and models: see METHODS below and jaxedit/editors/published.py, where the numbers are and
where they come from. Facts are the first thousand of zsRE, edited one after another.
"""

from ml_collections import ConfigDict

from jaxedit.config import arms, base
from jaxedit.editors.published import (
    GPT2_XL,
    GPT_J,
    LLAMA_2,
    LLAMA_3,
    MISTRAL,
    PUBLISHED,
    QWEN,
)
from jaxedit.errors import UserError

MODELS = {  # short name: the key of the published settings, and the model
    "gpt2xl": (GPT2_XL, "openai-community/gpt2-xl"),
    "gptj": (GPT_J, "EleutherAI/gpt-j-6b"),
    "llama2": (LLAMA_2, "meta-llama/Llama-2-7b-hf"),
    "llama3": (LLAMA_3, "meta-llama/Meta-Llama-3-8B"),
    "mistral": (MISTRAL, "mistralai/Mistral-7B-v0.1"),
    "mistral0.3": (MISTRAL, "mistralai/Mistral-7B-v0.3"),
    "qwen2.5": (QWEN, "Qwen/Qwen2.5-7B-Instruct"),
}


def get_config(what: str = "memit,gptj") -> ConfigDict:
    method, _, short = what.partition(",")
    if method not in PUBLISHED or short not in MODELS:
        raise UserError(
            f"--config=configs/published.py:{what}: give a method and a model, of "
            f"{', '.join(PUBLISHED)} and {', '.join(MODELS)}, such as rome,gptj"
        )
    key, model = MODELS[short]
    if key not in PUBLISHED[method]:
        known = [name for name, (published, _) in MODELS.items() if published in PUBLISHED[method]]
        raise UserError(
            f"--config=configs/published.py:{what}: nothing is published for {method} on {model}; "
            f"there is {', '.join(known)}"
        )
    config = base()
    config.about = f"{method} with the hyper-parameters published for {model}."
    config.model = model
    config.legacy_targets = PUBLISHED[method][key].get("legacy_targets", False)

    config.facts.source = "zsre-train-10000"
    config.facts.limit = 1000
    batch = {"ultraedit": 100, "locft_bf": 1000}.get(method, 1)  # what a published turn is
    config.arms = arms(**{method: {"method": method, "title": method, "batch": batch}})

    config.statistics.source = "model"  # published: 100,000 documents of Wikipedia; name a corpus
    config.contexts.seed = 42

    config.eval.every = 100
    config.eval.generate = ("before", "after_all")
    config.checkpoint_every = 100
    config.keep_checkpoints = 2
    config.values_block = 50
    return config
