"""OnceEdit on the embedded world: one plug-in, two other models, 200 edits.

    python -m jaxedit.launch --batch=runs/onceedit.py --out=out/runs
    python -m jaxedit.report --batch=runs/onceedit.py --out=out/runs

The paper's Table 2 (what the weight and the enhanced search add), Table 8 (lambda), Table 4
(editing one plug-in against editing every model), and what it leaves open: edits in chunks, the
plug-in edited by D4S, MEMIT and breadth-first fine-tuning, end-of-text paired, byte-exact anchors,
a guard.

What the paper reports: DEEPEN's locality is near 0 and DW's near 1 (.02 and .99 for Llama-2 on
zsRE); EE raises reliability (.71 to .91 over three models on zsRE, .43 to .68 on CounterFact) and
costs a few points of locality; lambda matters little above 0, and at 0 nothing is edited.
"""

from ml_collections import ConfigDict

from jaxedit.batches.batch import Batch
from jaxedit.config import arms, base
from jaxedit.errors import UserError
from jaxedit.metrics import easyedit

FACTS = 200
TARGETS = ("embedded:gptj", "embedded:llama")
MODES = ("deepen", "dw", "dw_zi", "dw_ta", "dw_ee")
LAMBDAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
ONCE = {"method": "onceedit", "title": "OnceEdit", "batch": FACTS}
IN_THEIR_PLACE = {
    "locft_bf": {"method": "locft_bf", "title": "LocFT-BF", "batch": FACTS},
    "memit": {"method": "memit", "title": "MEMIT, one batch", "batch": FACTS},
    "d4s": {"method": "d4s", "title": "D4S one by one", "residual": "shared"},
}
EVERY_MODEL = {
    "ft_m": {"method": "ft_m", "title": "FT-M, one batch", "batch": FACTS},
    "memit": {"method": "memit", "title": "MEMIT, one batch", "batch": FACTS},
    "rome": {"method": "rome", "title": "ROME one by one"},
}


def get_batch(scale: str = "tiny") -> Batch:
    if scale != "tiny":
        raise UserError(f"--scale={scale}: this batch has the scale 'tiny' alone")
    chunks = {**ONCE, "title": "OnceEdit, 20 by 20, replay", "batch": 20, "replay": 60}
    forgetful = {**chunks, "title": "OnceEdit, 20 by 20", "replay": 0}
    runs = {
        "ablation (Table 2)": plugged({"onceedit": ONCE}, modes=MODES),
        "lambda (Table 8)": plugged({f"lambda_{x:g}".replace(".", "_"): of(x) for x in LAMBDAS}),
        "other editors": plugged(IN_THEIR_PLACE),
        "chunks": plugged({"replay": chunks, "none": forgetful}, checkpoint_every=20),
        "end of text paired": plugged({"onceedit": ONCE}, eos="pair"),
        "byte-exact anchors": plugged({"onceedit": ONCE}, anchors="bytes"),
        "guard .5": plugged({"onceedit": ONCE}, guard=0.5),
        **{f"every model (Table 4): {name}": alone(name) for name in TARGETS},
    }
    return Batch(
        title="One plug-in, two models",
        about="The embedded plug-in learns 200 facts; GPT-J and Llama, which know the same world, "
        "are corrected by it. Facts of the pool for showing (seed 1).",
        runs=runs,
    )


def of(weight: float) -> dict:
    return {**ONCE, "title": f"lambda {weight:g}", "training": {"weight": weight}}


def plugged(some: dict, *, checkpoint_every: int = FACTS, **ensemble) -> ConfigDict:
    config = run("embedded:plugin", some)
    config.ensemble.targets = TARGETS
    config.ensemble.unrelated.limit = 400
    for name, value in ensemble.items():
        config.ensemble[name] = value
    config.checkpoint_every = checkpoint_every
    return config


def alone(model: str) -> ConfigDict:
    return run(model, EVERY_MODEL)


def run(model: str, some: dict) -> ConfigDict:
    config = base()
    config.about = "One run of runs/onceedit.py."
    config.model = model
    config.facts.source = "embedded:gptj"
    config.facts.limit = FACTS
    config.facts.seed = 1
    config.arms = arms(**some)
    config.statistics.source = "embedded"
    config.eval.immediate = False
    config.eval.generate = ("before", "after_all")
    config.eval.max_new_tokens = 10
    config.eval.protocols = (easyedit.TEACHER_FORCED, easyedit.GENERATION)
    config.checkpoint_every = FACTS
    config.keep_checkpoints = 1
    return config
