"""OnceEdit on the embedded world: one plug-in, two other models, 200 edits.

    python -m jaxedit.launch --batch=runs/onceedit.py --out=out/runs
    python -m jaxedit.report --batch=runs/onceedit.py --out=out/runs

The paper's Table 2 (what the weight and the enhanced search add), Table 8 (lambda), one plug-in
against editing every model, and what the paper leaves open: edits in chunks, and the plug-in edited
by D4S, MEMIT and breadth-first fine-tuning. runs/onceedit_decoding.py goes on from the first of
these runs: end-of-text paired, byte-exact anchors, a guard, faster searches, the look-up table;
runs/onceedit_seconds.py is Table 4, the time that editing takes.

What the paper reports: DEEPEN's locality is near 0 and DW's near 1 (.02 and .99 for Llama-2 on
zsRE); EE raises reliability (.71 to .91 over three models on zsRE, .43 to .68 on CounterFact) and
costs a few points of locality; lambda matters little above 0, and at 0 nothing is edited. Two of
the search's settings it does not report: the learning rate, and the weights in DEEPEN. At DeePEn's
own rate of .15 five steps move a logit by .67 at most, at a rate of 2 by 9: the ablation has both.
"""

from typing import Any

from jaxedit.batches.batch import Batch
from jaxedit.config import arms, base
from jaxedit.errors import UserError
from jaxedit.metrics import easyedit

FACTS = 200
TARGETS = ("embedded:gptj", "embedded:llama")
MODES = ("deepen", "dw", "dw_zi", "dw_ta", "dw_ee")
TABLE_2 = ("deepen", "dw", "dw_ee")
LAMBDAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
CHUNK = 20
ONCE = {"method": "onceedit", "title": "OnceEdit", "batch": FACTS}
D4S = {"method": "d4s", "title": "D4S one by one", "residual": "shared"}
MEMIT = {"method": "memit", "title": "MEMIT, one batch", "batch": FACTS}
IN_THEIR_PLACE = {
    "locft_bf": {"method": "locft_bf", "title": "LocFT-BF", "batch": FACTS},
    "memit": MEMIT,
    "d4s": D4S,
}
EVERY_MODEL = {
    "ft_m": {"method": "ft_m", "title": "FT-M, one batch", "batch": FACTS},
    "memit": MEMIT,
    "rome": {"method": "rome", "title": "ROME one by one"},
}


def get_batch(scale: str = "tiny") -> Batch:
    if scale != "tiny":
        raise UserError(f"--scale={scale}: this batch has the scale 'tiny' alone")
    replay = {**ONCE, "title": "OnceEdit, 20 by 20, replay", "batch": CHUNK, "replay": 60}
    in_chunks = {
        "replay": replay,
        "none": {**replay, "title": "OnceEdit, 20 by 20", "replay": 0},
        "d4s": {**D4S, "title": "D4S, gate taught anew"},
    }
    runs = {
        "ablation (Table 2)": scored(plugged({"onceedit": ONCE}, modes=MODES)),
        "ablation at a rate of 2": scored(
            plugged({"onceedit": ONCE}, modes=TABLE_2, learning_rate=2.0)
        ),
        "lambda (Table 8)": forced(
            plugged({f"lambda_{x:g}".replace(".", "_"): of(x) for x in LAMBDAS})
        ),
        "other editors": plugged(IN_THEIR_PLACE),
        "chunks": along(plugged(in_chunks, every=CHUNK)),
        **{f"every model: {name}": forced(run(name, EVERY_MODEL)) for name in TARGETS},
    }
    return Batch(
        title="One plug-in, two models",
        about="The embedded plug-in learns 200 facts; GPT-J and Llama, which know the same world, "
        "are corrected by it. Facts of the pool for showing (seed 1).",
        runs=runs,
    )


def of(weight: float) -> dict:
    return {**ONCE, "title": f"lambda {weight:g}", "training": {"weight": weight}}


def plugged(some: dict, **ensemble) -> Any:
    config = run("embedded:plugin", some)
    config.ensemble.targets = TARGETS
    for name, value in ensemble.items():
        config.ensemble[name] = value
    return config


def scored(config: Any) -> Any:
    """By EasyEdit's protocols, too."""
    config.eval.protocols = (easyedit.TEACHER_FORCED, easyedit.GENERATION)
    return config


def forced(config: Any) -> Any:
    """By teacher forcing alone, as the paper's Table 8."""
    config.eval.generate = ()
    return config


def along(config: Any) -> Any:
    """By teacher forcing after every chunk."""
    config.checkpoint_every = CHUNK
    config.keep_checkpoints = None
    return config


def run(model: str, some: dict) -> Any:
    config = base()
    config.about = "One run of runs/onceedit.py."
    config.model = model
    config.facts.source = "embedded:gptj"
    config.facts.limit = FACTS
    config.facts.seed = 1
    config.arms = arms(**some)
    config.statistics.source = "embedded"
    config.ensemble.unrelated.limit = 400
    config.eval.immediate = False
    config.eval.generate = ("before", "after_all")
    config.eval.max_new_tokens = 10
    config.checkpoint_every = FACTS
    config.keep_checkpoints = 1
    return config
