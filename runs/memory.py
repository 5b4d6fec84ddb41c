"""Memories, trained editors and in-context editing beside the methods that write into weights.

    python -m jaxedit.launch --batch=runs/memory.py --out=out/runs
    python -m jaxedit.report --batch=runs/memory.py --out=out/runs

Each method edits the small GPT-J that ships with the package, 300 facts one after another, scored
after 1, 10, 100 and all of them, by our protocol and by both of EasyEdit's. MEND, MALMEN and SERAC
are trained once, on facts of the world that are neither edited nor asked about.

What the literature reports: GRACE's reliability is near 1, its generality near 0, its locality 1;
WISE lies between it and the methods that change weights, which give up locality; MEND does not
survive many edits; in-context editing is the baseline that all of these must beat.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from jaxedit.batches.batch import Batch
from jaxedit.config import arms, base
from jaxedit.errors import UserError
from jaxedit.metrics import easyedit

FINE_TUNING = {
    "ft_l": {"method": "ft_l", "title": "FT-L"},
    "ft_m": {"method": "ft_m", "title": "FT-M"},
}
LOCATE = {
    "memit": {"method": "memit", "title": "MEMIT"},
    "d4s": {"method": "d4s", "title": "D4S", "residual": "shared"},
}
LOCATE_MORE = {
    "rome": {"method": "rome", "title": "ROME"},
    "alphaedit": {"method": "alphaedit", "title": "AlphaEdit"},
}
MEMORY = {
    "grace": {"method": "grace", "title": "GRACE"},
    "defer": {"method": "defer", "title": "DEFER"},
    "wise": {"method": "wise", "title": "WISE"},
}
TRAINED = {
    "serac": {"method": "serac", "title": "SERAC"},
    "mend": {"method": "mend", "title": "MEND"},
    "malmen": {"method": "malmen", "title": "MALMEN, ten by ten", "batch": 10},
}
CONTEXT = {
    "retrieval": {"method": "retrieval", "title": "Retrieval"},
    "ike": {"method": "ike", "title": "IKE"},
}


def get_batch(scale: str = "tiny") -> Batch:
    if scale != "tiny":
        raise UserError(f"--scale={scale}: this batch has the scale 'tiny' alone")
    return Batch(
        title="Memories, trained editors and contexts",
        about="A small GPT-J that knows a small world; facts of its own pool for showing (seed 1).",
        runs={
            "memories": run(MEMORY),
            "trained once": run(TRAINED),
            "in context": run(CONTEXT),
            "MEMIT and D4S": run(LOCATE),
            "fine-tuning": run(FINE_TUNING),
            "ROME and AlphaEdit": run(LOCATE_MORE),
        },
    )


def run(some: Mapping[str, Any]) -> ConfigDict:
    config = base()
    config.about = "One run of runs/memory.py."
    config.model = "embedded:gptj"
    config.facts.source = "embedded:gptj"
    config.facts.limit = 300
    config.facts.seed = 1
    config.arms = arms(**some)
    config.statistics.source = "embedded"
    config.eval.immediate = False
    config.eval.at = (1, 10, 100)
    config.eval.heldout = "embedded"
    config.eval.generate = ("before", "checkpoint", "after_all")
    config.eval.max_new_tokens = 10
    config.eval.protocols = (easyedit.TEACHER_FORCED, easyedit.GENERATION)
    config.checkpoint_every = 100
    config.keep_checkpoints = 1
    config.values_block = 50
    return config
