"""OnceEdit, Table 5: what it costs to join a plug-in to one more model. Counted, not run.

    python -m jaxedit.report --batch=runs/onceedit_table5.py --out=out/runs

Operations of appendix C from the models' shapes and the anchors of Table 9; the paper's 12.638,
9.552 and 9.739 TFLOPs and 973, 683 and 886 tokens come out to the last digit.
"""

import dataclasses

from jaxedit.architectures import ARCHITECTURES
from jaxedit.batches.batch import Batch
from jaxedit.ensemble.costs import migration
from jaxedit.models.families import read_config
from jaxedit.papers import onceedit
from jaxedit.papers.claims import Claim, as_printed
from jaxedit.papers.printed import table
from jaxedit.papers.readers import Value, seconds_an_edit
from jaxedit.papers.scale import PAPER
from jaxedit.papers.tables import Row, Table

PLUGIN = onceedit.PLUGINS[PAPER]["Tiny-Llama"]
COSTS = ("TFLOPS/token", "TFLOPS", "Num")


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    del seed
    return Batch(
        title="OnceEdit, Table 5: joining a model",
        about="Operations of both relative transfer matrices, and tokens that cost as much.",
        runs={},
        tables=(
            Table(
                "Operations",
                dict.fromkeys(COSTS, seconds_an_edit),
                [Row({"model": name}, costs(name)) for name in onceedit.ANCHORS],
                table("onceedit", "5"),
                unit="",
            ),
        ),
        claims=(
            Claim(
                "Appendix C's count gives Table 5 to the last digit.",
                "OnceEdit, section 5.2 and appendix C",
                as_printed(table("onceedit", "5"), numbers, list(onceedit.ANCHORS)),
            ),
        ),
    )


def numbers(name: str) -> tuple[float, float, int]:
    hub, anchors = onceedit.MODELS[PAPER][name], onceedit.ANCHORS[name]
    plugin = read_config(ARCHITECTURES[PLUGIN])
    with_gate = dataclasses.replace(plugin, vocab_size=plugin.vocab_size + 1)  # [WEIGHT]
    made = migration(read_config(ARCHITECTURES[hub]), with_gate, anchors)
    return made.tera_per_token, made.tera, made.tokens


def costs(name: str):
    return lambda found: dict(zip(COSTS, map(Value, numbers(name)), strict=True))
