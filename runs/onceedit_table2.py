"""OnceEdit, Table 2: what the weight (DW) and the enhanced search (EE) add to DEEPEN.

    python -m jaxedit.launch --batch=runs/onceedit_table2.py --out=out/runs
    python -m jaxedit.report --batch=runs/onceedit_table2.py --out=out/runs

The plug-in of Table 1, its decoding alone changed; EasyEdit's generation of as many tokens as the
target has. What the paper reports: DW brings locality back, EE brings reliability and generality
at 4 to 6 points of locality on CounterFact. It gives neither the search's rate nor the weights of
DEEPEN; at DeePEn's rate of .15 five steps move two logits apart by 1.35 nats at most, so a model
that is surer of its old answer cannot be corrected. So a rate of 2 is run, too, on zsRE.
"""

from jaxedit.batches.batch import Batch
from jaxedit.metrics import easyedit
from jaxedit.papers import onceedit
from jaxedit.papers.claims import Claim, above, at, every
from jaxedit.papers.figures import Figure, Panel, Series, alphas
from jaxedit.papers.printed import table
from jaxedit.papers.tables import Row, Table

COLUMNS = onceedit.columns(easyedit.GENERATION)
MODES = {"DEEPEN": "deepen", "+DW": "dw", "+DW+EE": "dw_ee"}
WITHOUT_EE = {"DEEPEN": "deepen", "+DW": "dw"}
KINDS = (
    "edits",
    "paraphrases",
    "neighbours",
    "unrelated, taught",
    "unrelated, unseen",
    "other text",
)
REACHING = 2.0


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    usual = onceedit.once(scale, seed)
    reaching = onceedit.once(
        scale,
        seed,
        title=f"OnceEdit, rate {REACHING:g}",
        modes=("deepen", "dw"),
        only=("zsRE",),
        learning_rate=REACHING,
    )

    def rows(where, modes: dict[str, str], more: str = ""):
        return [
            Row({"data": key.split(", ")[0], "method": title + more, "model": key.split(", ")[1]},
                place.fused(mode))
            for (key, _), place in where.items()
            for title, mode in modes.items()
        ]  # fmt: skip

    def place(data: str):
        return usual.where[f"{data}, {next(iter(onceedit.MODELS[scale]))}", "onceedit"]

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
                [
                    *rows(usual.where, MODES),
                    *rows(reaching.where, WITHOUT_EE, f", rate {REACHING:g}"),
                ],
                table("onceedit", "2"),
                note="EasyEdit's generation: each of as many greedy tokens as the target has, "
                f"compared in its place. Search rate .15, or {REACHING:g} where it says so.",
            ),
        ),
        figures=(
            Figure(
                "Who answers: alpha by kind of prompt",
                "Share of the prompts of each kind by the gate's alpha, in bins of a twentieth. "
                "The gate was taught with the edits and with unrelated questions.",
                [
                    Panel(
                        data,
                        [Series(kind, alphas(place(data), kind)) for kind in KINDS],
                        xlabel="alpha",
                        ylabel="% of prompts",
                    )
                    for data in onceedit.DATA[scale]
                ],
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
