"""OnceEdit, Table 6: four newer and larger models, 200 edits.

    python -m jaxedit.launch --batch=runs/onceedit_table6.py --out=out/runs
    python -m jaxedit.report --batch=runs/onceedit_table6.py --out=out/runs
    python -m jaxedit.launch --batch=runs/onceedit_table6.py --scale=paper --dry_run

Llama-3-8B, Mistral-7B-v0.3, Qwen2.5-7B and Llama-3-70B (at tensor-parallel 8), by generation. What
the paper reports: averages of .80 to .94 on zsRE; .56 to .70 on CounterFact, whose locality is .16
to .25. At the tiny scale there are no further models: those of Table 1, with fewer edits.
"""

from jaxedit.batches.batch import Batch
from jaxedit.metrics import easyedit
from jaxedit.papers import onceedit
from jaxedit.papers.claims import Claim, at, every, least, most
from jaxedit.papers.printed import table
from jaxedit.papers.tables import Row, Table

COLUMNS = onceedit.columns(easyedit.GENERATION)


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    models = onceedit.MORE_MODELS.get(scale)
    made = onceedit.once(
        scale,
        seed,
        count=onceedit.FEW.get(scale),
        models=models,
        title="OnceEdit, few edits",
        modes=("dw_ee",),
    )
    rows = [
        Row(dict(zip(("data", "model"), key.split(", "), strict=True)) | {"method": "OnceEdit"}, w)
        for (key, _), w in made.where.items()
    ]

    def told(data: str, column: str, test, bound: float):
        return every(
            *(
                test(at(key, COLUMNS[column], where), bound)
                for (key, _), where in made.where.items()
                if key.startswith(data)
            )
        )

    return Batch(
        title="OnceEdit, Table 6: more models",
        about="The same plug-in, few edits, further targets.",
        runs=made.runs,
        tables=(
            Table(
                f"{onceedit.FEW[scale]} edits, generated tokens",
                COLUMNS,
                rows,
                table("onceedit", "6"),
            ),
        ),
        claims=(
            Claim(
                "On zsRE every model's average is at least .80.",
                "OnceEdit, section 5.3",
                told("zsRE", "Avg.", least, 0.8),
            ),
            Claim(
                "On CounterFact locality is at most .25.",
                "OnceEdit, Table 6",
                told("CounterFact", "Loc.", most, 0.25),
            ),
        ),
    )
