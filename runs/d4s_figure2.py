"""D4S, Figure 2: downstream tests while GPT-J is edited with four kinds of data.

    python -m jaxedit.launch --batch=runs/d4s_figure2.py --out=out/runs
    python -m jaxedit.report --batch=runs/d4s_figure2.py --out=out/runs

What the paper reports: KN ruins the model with one edit; ROME does no great harm up to 1,000 and
MEMIT up to 2,000 edits, then tests fall steeply and no further; 20Q, whose targets are labels,
harms least. At the tiny scale facts, events and true-false questions of the embedded world stand
for zsRE, ELKEN and 20Q; free text (CKD) has no counterpart there.
"""

from jaxedit.batches.batch import Batch
from jaxedit.papers import d4s
from jaxedit.papers.claims import Claim, above, at, every
from jaxedit.papers.figures import Figure, Panel, Series, tasks
from jaxedit.papers.readers import average, task

SMALL_LOSS, GREAT_LOSS = 0.05, 0.2


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    made = d4s.damage(scale, seed)
    names = d4s.TASK_NAMES[scale]
    mean = average(*map(task, names.values()))
    panels = [
        Panel(
            f"{d4s.METHODS.get(method, {}).get('title', 'KN')}, {data}",
            [Series(title, tasks(where, name)) for title, name in names.items()],
        )
        for (data, method), where in made.where.items()
    ]

    def lost(data: str, method: str, after: int | None = None):
        where = made.where[data, method]
        return (
            at(f"{method} on {data} before", mean, where.after(0)),
            at("after", mean, where.after(after)),
        )

    def harmless(data: str, method: str):
        before, after = lost(data, method)
        return above(after, before, by=-SMALL_LOSS)

    def less_harm(data: str, other: str, method: str):
        one, two = made.where[data, method], made.where[other, method]
        return above(at(f"{method} on {data}, at the end", mean, one), at(f"on {other}", mean, two))

    known = [data for data in ("zsRE", "ELKEN", "CKD") if (data, "rome") in made.where]
    before, after = lost("zsRE", "kn", 1)
    return Batch(
        title="D4S, Figure 2: what kinds of editing data do to a model",
        about="Downstream tests against the number of edits, one after another, on GPT-J.",
        runs=made.runs,
        figures=(
            Figure(
                "Downstream tests by number of edits",
                "Accuracy of each test on the model as it is after so many edits, with 95 % "
                "bootstrap intervals over items.",
                panels,
            ),
        ),
        claims=(
            Claim(
                "One edit by KN ruins the model (over 20 points of the mean of the tests).",
                "D4S, section 3.1",
                above(before, after, by=GREAT_LOSS),
            ),
            Claim(
                "ROME and MEMIT do no great harm (under 5 points of the mean of the tests).",
                "D4S, section 3.1",
                every(harmless("zsRE", "rome"), harmless("zsRE", "memit")),
            ),
            Claim(
                "True-false labels (20Q) harm less than the other kinds of data.",
                "D4S, section 3.1",
                every(*(less_harm("20Q", d, m) for d in known for m in ("rome", "memit"))),
            ),
        ),
    )
