"""What the paper leaves out: EE's halves apart, and both rules for anchors.

    python -m jaxedit.launch --batch=runs/ablation_ee.py --out=out/runs
    python -m jaxedit.report --batch=runs/ablation_ee.py --out=out/runs

OnceEdit's enhanced search is two things at once: a zero initialisation, and a one-hot target. Each
is run alone (the plug-in and the targets are those of Table 2). Anchors are tokens with the same
string under DeePEn's rule, by which single bytes and real characters may be mistaken for each
other, or with the same bytes. `spelt` is ours: words of the plug-in that are no anchors are spelt
in the target's tokens.
"""

from jaxedit.batches.batch import Batch
from jaxedit.metrics import easyedit
from jaxedit.papers import onceedit
from jaxedit.papers.claims import Claim, above, at, every
from jaxedit.papers.tables import Row, Table

COLUMNS = onceedit.columns(easyedit.GENERATION)
HALVES = {
    "+DW": "dw",
    "+DW, zero initialisation": "dw_zi",
    "+DW, one-hot target": "dw_ta",
    "+DW+EE": "dw_ee",
}


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    usual = onceedit.once(scale, seed)
    alone = {"modes": ("dw_ee",), "only": ("zsRE",)}
    by_bytes = onceedit.once(scale, seed, title="OnceEdit, byte-exact", anchors="bytes", **alone)
    spelt = onceedit.once(scale, seed, title="OnceEdit, spelt", spelt=True, **alone)
    rows = [
        Row({"data and model": key, "fusion": title}, where.fused(mode))
        for (key, _), where in usual.where.items()
        for title, mode in HALVES.items()
    ]
    anchors = [
        Row({"data and model": key, "anchors": title}, made.where[key, "onceedit"])
        for key, _ in spelt.where
        for title, made in (
            ("DeePEn's rule", usual),
            ("byte-exact", by_bytes),
            ("DeePEn's rule, other words spelt", spelt),
        )
    ]

    def better(left: str, right: str):
        names = {mode: title for title, mode in HALVES.items()}
        return every(
            *(
                above(
                    at(f"{names[left]} ({key})", COLUMNS["Rel."], where.fused(left)),
                    at(names[right], COLUMNS["Rel."], where.fused(right)),
                )
                for (key, _), where in usual.where.items()
            )
        )

    return Batch(
        title="Ablation: EE's halves, and the anchors",
        about="One plug-in for each data set; its fusion alone changes.",
        runs={**usual.runs, **by_bytes.runs, **spelt.runs},
        tables=(
            Table("EE's halves, generated tokens", COLUMNS, rows),
            Table("Anchors, +DW+EE, generated tokens", COLUMNS, anchors),
        ),
        claims=(
            Claim(
                "Zero initialisation alone raises reliability.",
                "not in the paper, which runs both halves together",
                better("dw_zi", "dw"),
            ),
            Claim(
                "The one-hot target alone raises reliability.",
                "not in the paper",
                better("dw_ta", "dw"),
            ),
        ),
    )
