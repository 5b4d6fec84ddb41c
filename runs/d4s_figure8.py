"""D4S, Figure 8: efficacy, paraphrase and specificity against the number of edits.

    python -m jaxedit.launch --batch=runs/d4s_figure8.py --out=out/runs
    python -m jaxedit.report --batch=runs/d4s_figure8.py --out=out/runs

Llama-2 and GPT-J, scored every 100 of 1,000 edits; the paper shows D4S above its rivals throughout.
At the tiny scale every 20 of 200.
"""

from jaxedit.batches.batch import Batch
from jaxedit.papers import d4s
from jaxedit.papers.claims import FAILS, HOLDS, OPEN, PARTLY, Claim, Verdict
from jaxedit.papers.figures import Figure, Panel, Series, along
from jaxedit.papers.readers import Found

METRICS = {
    "Efficacy": ("efficacy", "target"),
    "Paraphrase": ("paraphrase", "target"),
    "Specificity": ("specificity", "truth"),
}


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    made = d4s.sequences(scale, seed)
    models = list(d4s.MODELS[scale])

    def curve(model: str, method: str, metric: str):
        name, against = METRICS[metric]
        return along(name, made.where[model, method], against=against)

    def ahead(found: Found) -> Verdict:
        """At how many evaluations D4S's efficacy is above MEMIT's and ROME's."""
        said, shares = [], []
        for model in models:
            curves = {
                method: dict(curve(model, method, "Efficacy")(found))
                for method in ("d4s", "memit", "rome")
            }
            steps = set.intersection(*(set(points) for points in curves.values()))
            if not steps:
                return Verdict(OPEN, model)
            over = sum(
                curves["d4s"][s].value > max(curves[m][s].value for m in ("memit", "rome"))
                for s in steps
            )
            shares.append(over / len(steps))
            said.append(f"{model}: at {over} of {len(steps)} evaluations")
        word = HOLDS if min(shares) == 1 else FAILS if max(shares) == 0 else PARTLY
        return Verdict(word, "; ".join(said))

    return Batch(
        title="D4S, Figure 8: metrics along the sequence",
        about="All facts edited so far.",
        runs=made.runs,
        figures=tuple(
            Figure(
                model,
                "Teacher-forced, exact, over all facts edited so far, with 95 % bootstrap "
                "intervals over facts; specificity against the true answer.",
                [
                    Panel(
                        metric,
                        [
                            Series(own["title"], curve(model, method, metric))
                            for method, own in d4s.METHODS.items()
                        ],
                    )
                    for metric in METRICS
                ],
            )
            for model in models
        ),
        claims=(
            Claim(
                "D4S's efficacy is above ROME's and MEMIT's all along.",
                "D4S, appendix E",
                ahead,
            ),
        ),
    )
