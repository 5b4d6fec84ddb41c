"""OnceEdit, Table 7: the same edited models, judged by what they generate.

    python -m jaxedit.launch --batch=runs/onceedit_table7.py --out=out/runs
    python -m jaxedit.report --batch=runs/onceedit_table7.py --out=out/runs

The runs of Table 1, scored by EasyEdit's generation. What the paper reports: MEMIT, good by teacher
forcing, falls; GRACE keeps its edits and generalises to none; OnceEdit is the best of the four.
"""

from jaxedit.batches.batch import Batch
from jaxedit.metrics import easyedit
from jaxedit.papers import onceedit
from jaxedit.papers.claims import Claim, Named, above, at, every, least, most
from jaxedit.papers.printed import table
from jaxedit.papers.tables import Row, Table

GENERATED = onceedit.columns(easyedit.GENERATION)
FORCED = onceedit.columns(easyedit.TEACHER_FORCED)
METHODS = ("MEMIT", "WISE", "GRACE")


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    runs, places = onceedit.side_by_side(scale, seed, METHODS)

    def score(data: str, title: str) -> Named:
        return onceedit.over_models(places, GENERATED["Avg."], data, title)

    def fallen(key):
        data, title, model = key
        return above(
            at(f"{title} ({data}, {model}) forced", FORCED["Rel."], places[key]),
            at("generated", GENERATED["Rel."], places[key]),
        )

    def of_grace(test, column: str, bound: float):
        return every(
            *(
                test(at(f"GRACE's {column} ({data}, {model})", GENERATED[column], where), bound)
                for (data, title, model), where in places.items()
                if title == "GRACE"
            )
        )

    return Batch(
        title="OnceEdit, Table 7: by generation",
        about="Reliability, generality and locality of what is generated.",
        runs=runs,
        tables=(
            Table(
                f"{onceedit.COUNT[scale]} edits, generated tokens",
                GENERATED,
                [
                    Row({"data": data, "method": title, "model": model}, where)
                    for (data, title, model), where in places.items()
                ],
                table("onceedit", "7"),
                note="EasyEdit's generation: each of as many greedy tokens as the target has, "
                "compared in its place.",
            ),
        ),
        claims=(
            Claim(
                "OnceEdit has the best average of the four.",
                "OnceEdit, section 4.2",
                every(
                    *(
                        above(score(data, "OnceEdit"), score(data, other))
                        for data in onceedit.DATA[scale]
                        for other in METHODS
                    )
                ),
            ),
            Claim(
                "MEMIT falls from teacher forcing to generation.",
                "OnceEdit, section 4.2",
                every(*(fallen(key) for key in places if key[1] == "MEMIT")),
            ),
            Claim(
                "GRACE keeps every edit (over .97) and generalises to none (under .05).",
                "OnceEdit, Table 7",
                every(of_grace(least, "Rel.", 0.97), of_grace(most, "Gen.", 0.05)),
            ),
        ),
    )
