"""OnceEdit, Figure 3: four methods judged by what they generate.

    python -m jaxedit.launch --batch=runs/onceedit_figure3.py --out=out/runs
    python -m jaxedit.report --batch=runs/onceedit_figure3.py --out=out/runs

The numbers of Table 7 (runs/onceedit_table7.py) as bars, with GPT-J, which that table has not. What
the paper says of it: OnceEdit is above the three others.
"""

from jaxedit.batches.batch import Batch
from jaxedit.metrics import easyedit
from jaxedit.papers import onceedit
from jaxedit.papers.claims import Claim, above, every
from jaxedit.papers.figures import Figure, Panel, Series, readings

GENERATED = onceedit.columns(easyedit.GENERATION)
METHODS = ("MEMIT", "WISE", "GRACE")


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    runs, places = onceedit.side_by_side(scale, seed, METHODS)

    def panel(data: str, model: str) -> Panel:
        return Panel(
            f"{data}, {model}",
            [
                Series(title, readings(places[data, title, model], GENERATED))
                for title in (*METHODS, "OnceEdit")
            ],
            xlabel="",
            kind="bars",
            groups=tuple(GENERATED),
        )

    def ahead(data: str):
        ours, *others = (
            onceedit.over_models(places, GENERATED["Avg."], data, title)
            for title in ("OnceEdit", *METHODS)
        )
        return every(*(above(ours, other) for other in others))

    return Batch(
        title="OnceEdit, Figure 3: by generation",
        about="Reliability, generality, locality and their mean, of what is generated.",
        runs=runs,
        figures=(
            Figure(
                "Four methods by generation",
                "Bars: means over facts with 95 % bootstrap intervals.",
                [panel(d, m) for d in onceedit.DATA[scale] for m in onceedit.MODELS[scale]],
            ),
        ),
        claims=tuple(
            Claim(
                f"OnceEdit is above MEMIT, WISE and GRACE on {data}.",
                "OnceEdit, Figure 3",
                ahead(data),
            )
            for data in onceedit.DATA[scale]
        ),
    )
