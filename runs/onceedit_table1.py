"""OnceEdit, Table 1: one edited plug-in against editing each model, by teacher-forced tokens.

    python -m jaxedit.launch --batch=runs/onceedit_table1.py --out=out/runs
    python -m jaxedit.report --batch=runs/onceedit_table1.py --out=out/runs
    python -m jaxedit.launch --batch=runs/onceedit_table1.py --scale=paper --dry_run

1,000 facts of zsRE and CounterFact in one batch; the methods that take no batches (ROME, DEFER,
WISE) one by one; all scored after all edits by EasyEdit's teacher forcing. What the paper reports:
OnceEdit's score is the best on both data sets, by 10 points over the next on zsRE (its text says
14) and by 11 on CounterFact, where its own 0.72 is a misprint for 0.77. Its appendix A runs the
baselines with and without OnceEdit's prompts and prints the better: runs/onceedit_prompts.py shows
both. Mistral-7B has no counterpart at the tiny scale.
"""

from jaxedit.batches.batch import Batch
from jaxedit.metrics import easyedit
from jaxedit.papers import onceedit
from jaxedit.papers.claims import Claim, Named, above, every
from jaxedit.papers.printed import table
from jaxedit.papers.tables import Row, Table

COLUMNS = onceedit.columns(easyedit.TEACHER_FORCED)
METHODS = ("FT-L", "MEND", "ROME", "MEMIT", "DEFER", "WISE")


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    runs, places = onceedit.side_by_side(scale, seed, METHODS)
    rows = [
        Row({"data": data, "method": title, "model": model}, where)
        for (data, title, model), where in places.items()
    ]

    def score(data: str, title: str) -> Named:
        return onceedit.over_models(places, COLUMNS["Avg."], data, title)

    def overall(data: str, title: str):
        return lambda found: {"Avg.": score(data, title).read(found)}

    rows += [
        Row({"data": data, "method": title, "model": "all"}, overall(data, title))
        for data in onceedit.DATA[scale]
        for title in (*METHODS, "OnceEdit")
    ]

    def best(data: str):
        return every(*(above(score(data, "OnceEdit"), score(data, other)) for other in METHODS))

    return Batch(
        title="OnceEdit, Table 1: one edit for all models",
        about="Reliability, generality and locality after all edits.",
        runs=runs,
        tables=(
            Table(
                f"{onceedit.COUNT[scale]} edits, teacher-forced tokens",
                COLUMNS,
                rows,
                table("onceedit", "1"),
                note="EasyEdit's teacher forcing: the share of the target's tokens that are the "
                "argmax, gold prefix fed; locality is agreement with the unedited model.",
            ),
        ),
        claims=tuple(
            Claim(f"OnceEdit has the best score on {data}.", "OnceEdit, section 4.2", best(data))
            for data in onceedit.DATA[scale]
        ),
    )
