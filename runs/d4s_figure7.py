"""D4S, Figure 7: right after each edit, or after all of them: two ways to score a sequence.

    python -m jaxedit.launch --batch=runs/d4s_figure7.py --out=out/runs
    python -m jaxedit.report --batch=runs/d4s_figure7.py --out=out/runs

The paper's drawing contrasts the usual way, each fact right after its own edit, with all facts on
the last model. Here both are measured, of the same runs.
"""

from jaxedit.batches.batch import Batch
from jaxedit.papers import d4s
from jaxedit.papers.claims import Claim, above, at, every
from jaxedit.papers.readers import immediate
from jaxedit.papers.tables import Row, Table

RIGHT_AFTER = {
    "Eff., right after": immediate("efficacy"),
    "Par., right after": immediate("paraphrase"),
    "Spe., right after": immediate("specificity", against="truth"),
}
AFTER_ALL = {
    "Eff., after all": d4s.EFFICACY,
    "Par., after all": d4s.PARAPHRASE,
    "Spe., after all": d4s.TRUE,
}


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    made = d4s.sequences(scale, seed)
    rows = [
        Row({"model": model, "method": d4s.METHODS[method]["title"]}, where)
        for (model, method), where in made.where.items()
    ]
    readers = list(zip(RIGHT_AFTER.values(), AFTER_ALL.values(), strict=True))
    return Batch(
        title="D4S, Figure 7: two evaluation protocols",
        about="Each fact right after its own edit, and all facts after the last edit.",
        runs=made.runs,
        tables=(
            Table(
                f"{d4s.EDITS[scale][1000]} edits",
                {**RIGHT_AFTER, **AFTER_ALL},
                rows,
                note=d4s.READINGS,
            ),
        ),
        claims=(
            Claim(
                "Scoring each fact right after its edit overlooks what later edits do to it.",
                "D4S, section 4.1 and appendix B",
                every(
                    *(
                        above(
                            at(f"{m}, {model} right after", readers[0][0], where),
                            at("after all", readers[0][1], where),
                        )
                        for (model, m), where in made.where.items()
                        if m in ("rome", "memit", "ft")
                    )
                ),
            ),
        ),
    )
