"""OnceEdit, Table 8: the balance lambda of the plug-in's two losses, 200 edits.

    python -m jaxedit.launch --batch=runs/onceedit_table8.py --out=out/runs
    python -m jaxedit.report --batch=runs/onceedit_table8.py --out=out/runs

What the paper reports: above 0 lambda matters little, at 0 nothing is edited. (The chosen 0.8 has
the lowest locality on CounterFact of the sweep.) At the tiny scale a fifth of Table 1's facts.
"""

from jaxedit.batches.batch import Batch
from jaxedit.metrics import easyedit
from jaxedit.papers import onceedit
from jaxedit.papers.claims import Claim, Named, above, at, every, most
from jaxedit.papers.figures import Figure, Panel, Series
from jaxedit.papers.printed import table
from jaxedit.papers.readers import Found
from jaxedit.papers.tables import Row, Table

COLUMNS = onceedit.columns(easyedit.GENERATION)
CLOSE = 0.1


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    some = {
        f"lambda_{weight:g}".replace(".", "_"): {
            **onceedit.arm(scale, weight),
            "title": f"lambda {weight:g}",
        }
        for weight in onceedit.LAMBDAS
    }
    names = dict(zip(onceedit.LAMBDAS, some, strict=True))
    made = onceedit.once(
        scale,
        seed,
        count=onceedit.FEW.get(scale),
        some=some,
        title="OnceEdit, lambda",
        modes=("dw_ee",),
    )

    def place(data: str, model: str, weight: float):
        return made.where[f"{data}, {model}", names[weight]]

    def pairs():
        return [(d, m) for d in onceedit.DATA[scale] for m in onceedit.MODELS[scale]]

    def curve(data: str, model: str, column: str):
        def points(found: Found):
            values = [(w, COLUMNS[column](found, place(data, model, w))) for w in names]
            return [(w, value) for w, value in values if value is not None]

        return points

    def far_from_best(data: str, model: str) -> Named:
        """How far the worst average above 0 is from the best."""

        def read(found: Found):
            values = [COLUMNS["Avg."](found, place(data, model, w)) for w in names if w > 0]
            known = [value for value in values if value is not None]
            if len(known) < len(values):
                return None
            best = max(known, key=lambda value: value.value)
            worst = min(known, key=lambda value: value.value)
            return type(best)(best.value - worst.value)

        return Named(f"spread above 0 ({data}, {model})", read)

    return Batch(
        title="OnceEdit, Table 8: lambda",
        about="L = L_gen + lambda L_weight.",
        runs=made.runs,
        tables=(
            Table(
                f"{onceedit.FEW[scale]} edits, generated tokens",
                COLUMNS,
                [
                    Row({"data": d, "lambda": f"{w:.1f}", "model": m}, place(d, m, w))
                    for d, m in pairs()
                    for w in names
                ],
                table("onceedit", "8"),
                note="The paper does not name its decoding here.",
            ),
        ),
        figures=(
            Figure(
                "Against lambda",
                "Reliability, generality and locality after all edits.",
                [
                    Panel(
                        f"{data}, {model}",
                        [
                            Series(column, curve(data, model, column))
                            for column in ("Rel.", "Gen.", "Loc.")
                        ],
                        xlabel="lambda",
                    )
                    for data, model in pairs()
                ],
            ),
        ),
        claims=(
            Claim(
                "At lambda 0 nothing is edited (reliability under .1).",
                "OnceEdit, section 5.1",
                every(
                    *(
                        most(at(f"{d}, {m}", COLUMNS["Rel."], place(d, m, 0.0)), 0.1)
                        for d, m in pairs()
                    )
                ),
            ),
            Claim(
                "Above 0 lambda matters little (averages within 10 points).",
                "OnceEdit, section 5.1",
                every(*(most(far_from_best(d, m), CLOSE) for d, m in pairs())),
            ),
            Claim(
                "0.8 is better than 0.",
                "OnceEdit, section 5.1",
                every(
                    *(
                        above(
                            at(f"0.8 ({d}, {m})", COLUMNS["Avg."], place(d, m, 0.8)),
                            at("0", COLUMNS["Avg."], place(d, m, 0.0)),
                        )
                        for d, m in pairs()
                    )
                ),
            ),
        ),
    )
