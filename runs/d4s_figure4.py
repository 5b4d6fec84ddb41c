"""D4S, Figure 4: do edits forget earlier ones? ROME and MEMIT, zsRE, GPT-J.

    python -m jaxedit.launch --batch=runs/d4s_figure4.py --out=out/runs
    python -m jaxedit.report --batch=runs/d4s_figure4.py --out=out/runs

What the paper reports: over all facts edited so far ROME is right on 4 % at best and MEMIT falls
from nearly all to none; after 1,000 edits both fail in every hundred facts, MEMIT wholly.
"""

from jaxedit.batches.batch import Batch
from jaxedit.papers import d4s
from jaxedit.papers.causes import best, halves
from jaxedit.papers.claims import (
    FAILS,
    HOLDS,
    OPEN,
    Claim,
    Named,
    Verdict,
    at,
    every,
    most,
    written,
)
from jaxedit.papers.figures import Figure, Panel, Series, along, by_age
from jaxedit.papers.readers import Found

SHOWN = ("rome", "memit", "d4s", "d4s_recomputed")


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    made = d4s.sequences(scale, seed, models=("GPT",))
    places = {method: made.where["GPT", method] for method in SHOWN}
    titles = {method: d4s.METHODS[method]["title"] for method in SHOWN}

    def highest(method: str) -> Named:
        points = along("efficacy", places[method])
        return Named(f"{titles[method]} at its best", lambda found: best(points(found)))

    def oldest_worst(method: str):
        points = by_age(places[method])

        def test(found: Found) -> Verdict:
            known = halves(points(found))
            if known is None:
                return Verdict(OPEN, titles[method])
            older, newer = known
            said = f"older half {written(older)}, newer half {written(newer)}"
            return Verdict(
                HOLDS if older.value < newer.value else FAILS, f"{titles[method]}: {said}"
            )

        return test

    return Batch(
        title="D4S, Figure 4: forgetting",
        about="All facts edited so far, and all facts after the last edit by their age.",
        runs={name: c for name, c in made.runs.items() if "beside" not in name},
        figures=(
            Figure(
                "Forgetting",
                "Left: efficacy over all facts edited so far. Right: after all edits, by the "
                "facts' place in the order of editing, the oldest on the left.",
                (
                    Panel(
                        "Overall evaluation",
                        [Series(titles[m], along("efficacy", places[m])) for m in SHOWN],
                    ),
                    Panel(
                        "Degree of forgetting",
                        [Series(titles[m], by_age(places[m])) for m in SHOWN],
                        xlabel="place in the order of editing",
                    ),
                ),
            ),
        ),
        claims=(
            Claim(
                "Over all facts so far ROME is right on 4 % at best.",
                "D4S, section 4.1",
                most(highest("rome"), 0.04),
            ),
            Claim(
                "MEMIT falls from nearly all to none (under 10 %).",
                "D4S, section 4.1",
                most(at("MEMIT at the end", d4s.EFFICACY, places["memit"]), 0.1),
            ),
            Claim(
                "Earlier edits are forgotten more than later ones.",
                "D4S, section 4.1, by its argument",
                every(*(oldest_worst(method) for method in ("rome", "memit"))),
            ),
        ),
    )
