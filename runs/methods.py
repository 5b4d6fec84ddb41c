"""Every locate-then-edit and fine-tuning method on the embedded world.

    python -m jaxedit.launch --batch=runs/methods.py --out=out/runs
    python -m jaxedit.report --batch=runs/methods.py --out=out/runs

Each method edits the small GPT-J that ships with the package: 50 facts each on its own, then 10,
100 and 300 facts as one batch, and 300 one after another, scored after 10, 100 and 300. 300 edits
are 29 % of the width of its MLPs, where the papers' 1,000 are 6 %: it breaks sooner than theirs.

UltraEdit takes turns of ten. KN's arm does not end: its weights are not finite at the 252nd edit.

What the literature reports: sequential MEMIT and ROME break, D4S and AlphaEdit last; breadth-first
fine-tuning is strong on reliability; PMET's scores near 0 in the D4S paper are probably those of
its padding. Hyper-parameters come with the model (its editing.json) and were chosen on other facts.
"""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from jaxedit.batches.batch import Batch
from jaxedit.config import arms, base
from jaxedit.errors import UserError

TUNED = {
    "ft": {"method": "ft", "title": "FT"},
    "ft_l": {"method": "ft_l", "title": "FT-L"},
    "ft_m": {"method": "ft_m", "title": "FT-M"},
    "locft_bf": {"method": "locft_bf", "title": "LocFT-BF"},
    "kn": {"method": "kn", "title": "KN"},
}
TURNS = {"ultraedit": {"method": "ultraedit", "title": "UltraEdit"}}
ONE_LAYER = {
    "rome": {"method": "rome", "title": "ROME"},
    "r_rome": {"method": "r_rome", "title": "R-ROME"},
    "emmet": {"method": "emmet", "title": "EMMET"},
}
PMET = {
    "pmet": {"method": "pmet", "title": "PMET"},
    "pmet_plain": {
        "method": "pmet",
        "title": "PMET, no early stop",
        "values": {"relaxed_factor": 1.0, "kl_factor": 0.0625},
    },
}
MEMIT = {"memit": {"method": "memit", "title": "MEMIT"}}
RESTRAINED = {
    "memit_rect": {"method": "memit", "title": "MEMIT + RECT 40 %", "rect": 0.4},
    "memit_prune": {
        "method": "memit",
        "title": "MEMIT + PRUNE, base e",
        "prune": 2.718281828459045,
    },
}
REMEMBERING = {
    "alphaedit": {"method": "alphaedit", "title": "AlphaEdit"},
    "d4s": {"method": "d4s", "title": "D4S", "residual": "shared"},
    "d4s_recomputed": {
        "method": "d4s",
        "title": "D4S, residual recomputed",
        "residual": "recomputed",
    },
}
EVERY = {**TUNED, **TURNS, **ONE_LAYER, **PMET, **MEMIT, **REMEMBERING}


def get_batch(scale: str = "tiny") -> Batch:
    if scale != "tiny":
        raise UserError(f"--scale={scale}: this batch has the scale 'tiny' alone")
    sequences = {
        "one by one: fine-tuning, KN": TUNED,
        "one by one: one layer": {**ONE_LAYER, **PMET},
        "one by one: MEMIT": {**MEMIT, **RESTRAINED},
        "one by one: with a memory": REMEMBERING,
    }
    runs: dict[str, ConfigDict] = {
        name: run(some, facts=300, at=(1, 10, 100)) for name, some in sequences.items()
    }
    runs["ten by ten: UltraEdit"] = run(TURNS, facts=300, batch=10, at=(10, 100))
    for facts in (10, 100, 300):
        runs[f"one batch of {facts}"] = run(EVERY, facts=facts, batch=facts)
    runs["alone"] = run(EVERY, facts=50, alone=True)
    return Batch(
        title="Every method on the embedded world",
        about="A small GPT-J that knows a small world; facts of its own pool for showing (seed 1).",
        runs=runs,
    )


def run(
    some: Mapping[str, Any],
    facts: int,
    batch: int = 1,
    alone: bool = False,
    at: tuple[int, ...] = (),
) -> ConfigDict:
    config = base()
    config.about = "One run of runs/methods.py."
    config.model = "embedded:gptj"
    config.facts.source = "embedded:gptj"
    config.facts.limit = facts
    config.facts.seed = 1
    config.arms = arms(
        **{name: {**arm, "batch": batch, "alone": alone} for name, arm in some.items()}
    )
    config.statistics.source = "embedded"
    config.eval.immediate = alone
    config.eval.at = at
    config.eval.heldout = "embedded"
    config.eval.generate = ("before", "immediate" if alone else "checkpoint", "after_all")
    config.eval.max_new_tokens = 10
    config.checkpoint_every = 100
    config.keep_checkpoints = 1
    config.values_block = 50
    return config
