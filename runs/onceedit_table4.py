"""OnceEdit, Table 4: the time that editing takes, as a multiple of OnceEdit's.

    python -m jaxedit.launch --batch=runs/onceedit_table4.py --out=out/runs --slots=1
    python -m jaxedit.report --batch=runs/onceedit_table4.py --out=out/runs

What the paper reports: FT-L and GRACE take .7 to .8 of OnceEdit's time for each model, ROME 2.3 to
3.4; for all models together every method takes more than twice OnceEdit's. MEMIT and MEND are left
out there for their precomputation; here MEMIT stands without its statistics, and so says. Times
are by the clock, of editing alone: runs side by side slow each other, so give --slots=1.
"""

from jaxedit.batches.batch import Batch
from jaxedit.papers import onceedit
from jaxedit.papers.claims import Claim, Named, every, least
from jaxedit.papers.printed import table
from jaxedit.papers.readers import Found, Value, Where, seconds_of_editing
from jaxedit.papers.tables import Row, Table

METHODS = ("FT-L", "MEMIT", "ROME", "GRACE", "DEFER", "WISE")


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    others, ours = onceedit.baselines(scale, seed), onceedit.once(scale, seed)
    models = list(onceedit.MODELS[scale])
    once = ours.where[f"zsRE, {models[0]}", "onceedit"]

    def times(places: list[Where]):
        """Seconds of editing these, over one edit of the plug-in."""

        def read(found: Found) -> Value | None:
            own = seconds_of_editing(found, once)
            taken = [seconds_of_editing(found, where) for where in places]
            if own is None or not own.value or None in taken:
                return None
            total = sum(value.value for value in taken if value)
            return Value(total / own.value, share=False)

        return read

    def row(method: str, model: str, places: list[Where]) -> Row:
        return Row({"method": method, "model": model}, lambda f: {"Time": times(places)(f)})

    of = {
        title: [others.where[f"zsRE, {m}", onceedit.PRINTED[title]] for m in models]
        for title in METHODS
    }
    rows = [
        row(t, m, [where]) for t, own in of.items() for m, where in zip(models, own, strict=True)
    ]
    rows += [row(title, "all", own) for title, own in of.items()]
    zsre = {name: config for name, config in others.runs.items() if name.startswith("zsRE")}
    mine = {name: config for name, config in ours.runs.items() if "zsRE" in name}
    return Batch(
        title="OnceEdit, Table 4: time of editing",
        about="One edit of the plug-in is 1.",
        runs={**mine, **zsre},
        tables=(
            Table(
                f"{onceedit.COUNT[scale]} edits, seconds over OnceEdit's",
                {"Time": seconds_of_editing},
                rows,
                table("onceedit", "4"),
                note="By the clock, compilation in it, of editing alone; MEMIT's and ROME's "
                "statistics and MEND's, DEFER's and WISE's pre-training are not in it.",
                unit="times",
            ),
        ),
        claims=(
            Claim(
                "To edit all models takes every other method more than twice as long.",
                "OnceEdit, section 5.2",
                every(*(least(Named(title, times(own)), 2) for title, own in of.items())),
            ),
        ),
    )
