"""OnceEdit, Table 2: what the weight (DW) and the enhanced search (EE) add to DEEPEN.

    python -m jaxedit.launch --batch=runs/onceedit_table2.py --out=out/runs
    python -m jaxedit.report --batch=runs/onceedit_table2.py --out=out/runs

The plug-in of Table 1, its decoding alone changed; EasyEdit's generation of as many tokens as the
target has. What the paper reports: DW brings locality back, EE brings reliability and generality
at 4 to 6 points of locality on CounterFact. It gives neither the search's rate nor the weights of
DEEPEN; at DeePEn's rate of .15 five steps move two logits apart by 1.35 nats at most, so a model
that is surer of its old answer cannot be corrected. Both rates, .15 and 2, are run.
"""

from jaxedit.batches.batch import Batch
from jaxedit.metrics import easyedit
from jaxedit.papers import onceedit
from jaxedit.papers.claims import Claim, above, at, every
from jaxedit.papers.printed import table
from jaxedit.papers.tables import Row, Table

COLUMNS = onceedit.columns(easyedit.GENERATION)
MODES = {"DEEPEN": "deepen", "+DW": "dw", "+DW+EE": "dw_ee"}
REACHING = 2.0


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    usual = onceedit.once(scale, seed)
    reaching = onceedit.once(
        scale,
        seed,
        title=f"OnceEdit, rate {REACHING:g}",
        modes=("deepen", "dw", "dw_ta", "dw_zi"),
        learning_rate=REACHING,
    )

    def rows(where, more: str = ""):
        return [
            Row({"data": data, "method": title + more, "model": model},
                where[f"{data}, {model}", "onceedit"].fused(mode))
            for data in onceedit.DATA[scale]
            for title, mode in MODES.items()
            if not (more and mode == "dw_ee")
            for model in onceedit.MODELS[scale]
        ]  # fmt: skip

    def better(column: str, left: str, right: str, by: float = 0.0, made=usual):
        names = dict(zip(MODES.values(), MODES, strict=True))
        return every(
            *(
                above(
                    at(f"{names[left]} ({key})", COLUMNS[column], where.fused(left)),
                    at(names[right], COLUMNS[column], where.fused(right)),
                    by,
                )
                for (key, _), where in made.where.items()
            )
        )

    return Batch(
        title="OnceEdit, Table 2: components",
        about="One edited plug-in, three ways to fuse it.",
        runs={**usual.runs, **reaching.runs},
        tables=(
            Table(
                f"{onceedit.COUNT[scale]} edits, generated tokens",
                COLUMNS,
                [*rows(usual.where), *rows(reaching.where, f", rate {REACHING:g}")],
                table("onceedit", "2"),
                note="EasyEdit's generation: each of as many greedy tokens as the target has, "
                f"compared in its place. Search rate .15, or {REACHING:g} where it says so.",
            ),
        ),
        claims=(
            Claim(
                "The weight brings locality back (at rate .15).",
                "OnceEdit, section 5.1",
                better("Loc.", "dw", "deepen"),
            ),
            Claim(
                "The weight brings locality back (at rate 2).",
                "OnceEdit, section 5.1, at a rate that reaches",
                better("Loc.", "dw", "deepen", made=reaching),
            ),
            Claim(
                "EE raises reliability.",
                "OnceEdit, section 5.1",
                better("Rel.", "dw_ee", "dw"),
            ),
            Claim(
                "EE raises generality.",
                "OnceEdit, section 5.1",
                better("Gen.", "dw_ee", "dw"),
            ),
        ),
    )
