"""The same edited models by every protocol: how far does teacher forcing overstate?

    python -m jaxedit.launch --batch=runs/protocols.py --out=out/runs
    python -m jaxedit.report --batch=runs/protocols.py --out=out/runs

Seven methods edit the small GPT-J that ships with the package, one fact after another. After all
edits each model is asked by our protocol and by EasyEdit's, WILD's and the older ones of ROME,
MEMIT and D4S; the unedited model beside them.

What the literature reports: scores fell from 96.8 % to 38.5 % on single edits when an audit put
free generation in the place of teacher forcing (Yang et al. 2025). Teacher forcing feeds the right
beginning of an answer, so whatever is left of it is easy, and most of all where answers share
their beginnings.
"""

from jaxedit.batches.batch import Batch
from jaxedit.config import arms, base
from jaxedit.errors import UserError
from jaxedit.metrics import easyedit, wild

PROTOCOLS = (
    easyedit.TEACHER_FORCED,
    easyedit.GENERATION,
    easyedit.GENERATION_LITERAL,
    wild.WILD,
)
METHODS = {
    "memit": {"method": "memit", "title": "MEMIT"},
    "d4s": {"method": "d4s", "title": "D4S", "residual": "shared"},
    "rome": {"method": "rome", "title": "ROME"},
    "alphaedit": {"method": "alphaedit", "title": "AlphaEdit"},
    "ft_l": {"method": "ft_l", "title": "FT-L"},
    "ft_m": {"method": "ft_m", "title": "FT-M"},
    "locft_bf": {"method": "locft_bf", "title": "LocFT-BF", "batch": 100},
}


def get_batch(scale: str = "tiny") -> Batch:
    if scale != "tiny":
        raise UserError(f"--scale={scale}: this batch has the scale 'tiny' alone")
    return Batch(
        title="One edited model, every protocol",
        about="A small GPT-J that knows a small world; facts of its own pool for showing (seed 1).",
        runs={"100 edits": run(100), "300 edits": run(300)},
    )


def run(facts: int):
    config = base()
    config.about = "One run of runs/protocols.py."
    config.model = "embedded:gptj"
    config.facts.source = "embedded:gptj"
    config.facts.limit = facts
    config.facts.seed = 1
    config.arms = arms(**METHODS)
    config.statistics.source = "embedded"
    config.eval.immediate = False
    config.eval.generate = ("before", "after_all")
    config.eval.max_new_tokens = 16
    config.eval.protocols = PROTOCOLS
    config.checkpoint_every = 100
    config.keep_checkpoints = 1
    config.values_block = 50
    return config
