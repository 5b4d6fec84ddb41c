"""OnceEdit, Table 3: another plug-in (Qwen2.5-1.5B) beside TinyLlama, zsRE.

    python -m jaxedit.launch --batch=runs/onceedit_table3.py --out=out/runs
    python -m jaxedit.report --batch=runs/onceedit_table3.py --out=out/runs

What the paper reports: the other plug-in's score is second to TinyLlama's and above all baselines.
At the tiny scale the embedded Llama is the other plug-in, with the training settings of the first.
"""

from jaxedit.batches.batch import Batch
from jaxedit.metrics import easyedit
from jaxedit.papers import onceedit
from jaxedit.papers.claims import Claim, Named, above, every
from jaxedit.papers.printed import table
from jaxedit.papers.readers import mean_over
from jaxedit.papers.tables import Row, Table

AVERAGE = onceedit.columns(easyedit.TEACHER_FORCED)["Avg."]
METHODS = ("FT-L", "MEMIT", "DEFER", "WISE")
PLUGINS = {"OE(Tiny-Llama)": "Tiny-Llama", "OE(Qwen2.5-1.5B)": "Qwen2.5-1.5B"}


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    others = onceedit.baselines(scale, seed)
    first = onceedit.once(scale, seed)
    second = onceedit.once(
        scale,
        seed,
        plugin="Qwen2.5-1.5B",
        some={"onceedit": onceedit.arm(scale, own=False)},
        title="OnceEdit by another plug-in",
        modes=("dw_ee",),
        only=("zsRE",),
    )
    made = dict(zip(PLUGINS, (first, second), strict=True))
    places = {
        (title, model): others.where[f"zsRE, {model}", onceedit.PRINTED[title]]
        for title in METHODS
        for model in onceedit.MODELS[scale]
    }
    places |= {
        (title, model): own.where[f"zsRE, {model}", "onceedit"]
        for title, own in made.items()
        for model in onceedit.MODELS[scale]
    }

    def score(title: str) -> Named:
        own = [where for (name, _), where in places.items() if name == title]
        return Named(title, mean_over(AVERAGE, own))

    def overall(title: str):
        return lambda found: {"Avg.": score(title).read(found)}

    rows = [
        Row({"data": "zsRE", "method": title, "model": model}, where)
        for (title, model), where in places.items()
    ]
    rows += [
        Row({"data": "zsRE", "method": title, "model": "all"}, overall(title))
        for title in (*METHODS, *PLUGINS)
    ]
    zsre = {name: config for name, config in others.runs.items() if name.startswith("zsRE")}
    mine = {name: config for name, config in first.runs.items() if "zsRE" in name}
    return Batch(
        title="OnceEdit, Table 3: another plug-in",
        about="Averages of reliability, generality and locality, zsRE.",
        runs={**mine, **second.runs, **zsre},
        tables=(
            Table(
                f"{onceedit.COUNT[scale]} edits, teacher-forced tokens",
                {"Avg.": AVERAGE},
                rows,
                table("onceedit", "3"),
            ),
        ),
        claims=(
            Claim(
                "With either plug-in OnceEdit's score is above every baseline's.",
                "OnceEdit, section 5.1",
                every(*(above(score(p), score(other)) for p in PLUGINS for other in METHODS)),
            ),
            Claim(
                "The first plug-in is the better one.",
                "OnceEdit, section 5.1",
                above(*map(score, PLUGINS)),
            ),
        ),
    )
