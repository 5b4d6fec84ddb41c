"""D4S, Figure 5: the bottleneck of sequential editing, and the L1 norm of the edited layers.

    python -m jaxedit.launch --batch=runs/d4s_figure5.py --out=out/runs
    python -m jaxedit.report --batch=runs/d4s_figure5.py --out=out/runs

What the paper reports, GPT-J and zsRE: each new edit's probability falls for good after 100 edits
by ROME and after 850 by MEMIT, where the norm of the edited layers explodes. (Section 3.1, judging
by downstream tests, calls ROME sound to 1,000 edits and MEMIT to 2,000.)
"""

from jaxedit.batches.batch import Batch
from jaxedit.papers import d4s
from jaxedit.papers.causes import bottleneck
from jaxedit.papers.claims import FAILS, HOLDS, OPEN, Claim, Verdict
from jaxedit.papers.figures import Figure, Panel, Series, norms, probability
from jaxedit.papers.readers import Found

SHOWN = ("rome", "memit", "d4s", "d4s_recomputed", "ft", "pmet")


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    made = d4s.sequences(scale, seed, models=("GPT",))
    places = {method: made.where["GPT", method] for method in SHOWN}
    titles = {method: d4s.METHODS[method]["title"] for method in SHOWN}

    def reached(method: str):
        points = probability(places[method])

        def test(found: Found) -> Verdict:
            known = bottleneck(points(found))
            if known is None:
                return Verdict(OPEN, titles[method])
            start = known.start
            said = f"from edit {start} on" if start else f"none in {known.edits} edits"
            return Verdict(
                HOLDS if start else FAILS,
                f"{titles[method]}: {said} ({100 * known.first:.0f} % at first, "
                f"{100 * known.last:.0f} % at the end)",
            )

        return test

    return Batch(
        title="D4S, Figure 5: the bottleneck",
        about="The target's probability right after its own edit, and the norm of edited layers.",
        runs={name: c for name, c in made.runs.items() if "beside" not in name},
        figures=(
            Figure(
                "Probability of each target right after its edit",
                "Dots: single edits; line: the median of the eleven edits around.",
                [
                    Panel(
                        titles[m],
                        [Series("running median", probability(places[m]))],
                        xlabel="edit",
                        ylabel="probability, %",
                        kind="dots",
                    )
                    for m in SHOWN
                ],
            ),
            Figure(
                "L1 norm of the edited layers",
                "Mean absolute weight over that before the first edit, mean over layers.",
                (
                    Panel(
                        "all methods",
                        [Series(titles[m], norms(places[m])) for m in SHOWN],
                        ylabel="times the first",
                        percent=False,
                    ),
                ),
            ),
        ),
        claims=(
            Claim(
                "ROME has a bottleneck: from some edit on, new edits fail.",
                "D4S, section 4.2 (after 100 of 1,000)",
                reached("rome"),
            ),
            Claim(
                "MEMIT has one, later.",
                "D4S, section 4.2 (after 850 of 1,000)",
                reached("memit"),
            ),
            Claim("D4S has one, too.", "not in the paper", reached("d4s")),
        ),
    )
