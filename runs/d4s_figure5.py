"""D4S, Figure 5: the bottleneck of sequential editing, and the L1 norm of the edited layers.

    python -m jaxedit.launch --batch=runs/d4s_figure5.py --out=out/runs
    python -m jaxedit.report --batch=runs/d4s_figure5.py --out=out/runs

What the paper reports, GPT-J and zsRE: each new edit's probability falls for good after 100 edits
by ROME and after 850 by MEMIT, where the norm of the edited layers explodes. (Section 3.1, judging
by downstream tests, calls ROME sound to 1,000 edits and MEMIT to 2,000.)
"""

import numpy as np

from jaxedit.batches.batch import Batch
from jaxedit.papers import d4s
from jaxedit.papers.claims import FAILS, HOLDS, OPEN, Claim, Verdict
from jaxedit.papers.figures import Figure, Panel, Series, norms, probability
from jaxedit.papers.readers import Found
from jaxedit.plots import running_median

SHOWN = ("rome", "memit", "d4s", "d4s_recomputed", "ft", "pmet")
GONE = 0.5  # of its level over the first tenth


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    made = d4s.sequences(scale, seed, models=("GPT",))
    places = {method: made.where["GPT", method] for method in SHOWN}
    titles = {method: d4s.METHODS[method]["title"] for method in SHOWN}

    def bottleneck(method: str):
        """The first edit from which on the running median stays under half of its first level."""
        points = probability(places[method])

        def test(found: Found) -> Verdict:
            known = points(found)
            if not known:
                return Verdict(OPEN, titles[method])
            smooth = running_median(np.array([value.value for _, value in known]))
            level = float(np.median(smooth[: max(1, len(smooth) // 10)]))
            low = smooth < GONE * level
            stays = np.flatnonzero(~low)
            start = int(stays[-1]) + 1 if len(stays) else 0
            reached = start < len(smooth)
            said = f"from edit {start + 1} on" if reached else f"none in {len(smooth)} edits"
            first, last = 100 * level, 100 * float(smooth[-1])
            return Verdict(
                HOLDS if reached else FAILS,
                f"{titles[method]}: {said} ({first:.0f} % at first, {last:.0f} % at the end)",
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
                bottleneck("rome"),
            ),
            Claim(
                "MEMIT has one, later.",
                "D4S, section 4.2 (after 850 of 1,000)",
                bottleneck("memit"),
            ),
            Claim("D4S has one, too, or none.", "not in the paper", bottleneck("d4s")),
        ),
    )
