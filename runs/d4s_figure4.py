"""D4S, Figure 4: do edits forget earlier ones? ROME and MEMIT, zsRE, GPT-J.

    python -m jaxedit.launch --batch=runs/d4s_figure4.py --out=out/runs
    python -m jaxedit.report --batch=runs/d4s_figure4.py --out=out/runs

What the paper reports: over all facts edited so far ROME is right on 4 % at best and MEMIT falls
from nearly all to none; after 1,000 edits both fail in every hundred facts, MEMIT wholly.
"""

from jaxedit.batches.batch import Batch
from jaxedit.papers import d4s
from jaxedit.papers.claims import Claim, Named, Verdict, at, every, most
from jaxedit.papers.figures import Figure, Panel, Series, along, by_age
from jaxedit.papers.readers import Found, Value

SHOWN = ("rome", "memit", "d4s", "d4s_recomputed")


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    made = d4s.sequences(scale, seed, models=("GPT",))
    places = {method: made.where["GPT", method] for method in SHOWN}
    titles = {method: d4s.METHODS[method]["title"] for method in SHOWN}

    def best(method: str) -> Named:
        points = along("efficacy", places[method])

        def read(found: Found) -> Value | None:
            values = [value for _, value in points(found)]
            return max(values, key=lambda value: value.value, default=None)

        return Named(f"{titles[method]} at its best", read)

    def oldest_worst(method: str):
        points = by_age(places[method])

        def test(found: Found) -> Verdict:
            values = [value.value for _, value in points(found)]
            if len(values) < 2:
                return Verdict("not decided yet", titles[method])
            half = len(values) // 2
            old, new = sum(values[:half]) / half, sum(values[-half:]) / half
            word = "holds" if old < new else "does not hold"
            said = f"older half {100 * old:.1f} %, newer half {100 * new:.1f} %"
            return Verdict(word, f"{titles[method]}: {said}")

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
                most(best("rome"), 0.04),
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
