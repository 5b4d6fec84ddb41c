"""D4S, Table 3: 1,000 edits one after another, CounterFact and MQuAKE, GPT-J and Llama-2.

    python -m jaxedit.launch --batch=runs/d4s_table3.py --out=out/runs
    python -m jaxedit.report --batch=runs/d4s_table3.py --out=out/runs

What the paper reports: D4S leads on both data sets; MEMIT holds on CounterFact with GPT-J and is
lost everywhere else. What Eff., Par. and Spe. are on MQuAKE, which has neither paraphrases nor
neighbours, it does not say: here each rewrite's cloze, its question form, and single hops that no
edit touches. The embedded world has no counterpart of MQuAKE's records with several rewrites.
"""

from jaxedit.batches.batch import Batch
from jaxedit.papers import d4s
from jaxedit.papers.claims import Claim, above, at, every
from jaxedit.papers.printed import table
from jaxedit.papers.tables import Row, Table

AVERAGE = d4s.COLUMNS["Avg."]
TITLES = {**d4s.PRINTED, "D4S, residual recomputed": "d4s_recomputed"}
TITLES.pop("PMET")


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    made = d4s.other_data(scale, seed)
    rows = [
        Row(
            {"data": data, "model": model, "method": title},
            made.where.get((f"{data}, {model}", method)),
            "" if data in d4s.DATA[scale] else "no counterpart at this scale",
        )
        for data in ("CounterFact", "MQuAKE")
        for model in d4s.MODELS[scale]
        for title, method in TITLES.items()
        if (data, method) != ("MQuAKE", "grace")
    ]
    places = {key: where for key, where in made.where.items() if key[1] == "d4s"}

    def ahead_of(method: str, title: str):
        return every(
            *(
                above(
                    at(f"D4S ({name})", AVERAGE, where),
                    at(title, AVERAGE, made.where[name, method]),
                )
                for (name, _), where in places.items()
            )
        )

    return Batch(
        title="D4S, Table 3: sequential edits, CounterFact and MQuAKE",
        about="As Table 2, after all edits, on two other data sets.",
        runs=made.runs,
        tables=(
            Table(
                f"After {d4s.SHORT[scale]} edits",
                d4s.COLUMNS,
                rows,
                table("d4s", "3"),
                note=d4s.READINGS,
            ),
        ),
        claims=(
            Claim(
                "D4S leads FT, ROME and MEMIT by average on each data set and model.",
                "D4S, appendix D",
                every(ahead_of("ft", "FT"), ahead_of("rome", "ROME"), ahead_of("memit", "MEMIT")),
            ),
        ),
    )
