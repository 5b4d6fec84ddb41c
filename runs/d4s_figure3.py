"""D4S, Figure 3: downstream tests while GPT-J is edited with three kinds of question (MQD).

    python -m jaxedit.launch --batch=runs/d4s_figure3.py --out=out/runs
    python -m jaxedit.report --batch=runs/d4s_figure3.py --out=out/runs

What the paper reports, editing by ROME: all three kinds harm, direct generation most; the higher
the perplexity of the editing objective, the greater the damage and the L1 norm. MEMIT is run, too.
"""

from jaxedit.batches.batch import Batch
from jaxedit.papers import d4s
from jaxedit.papers.claims import Claim, above, at, every
from jaxedit.papers.figures import Figure, Panel, Series, norms, tasks
from jaxedit.papers.readers import average, norm_growth, seconds_an_edit, task, unedited
from jaxedit.papers.tables import Row, Table

PERPLEXITY = unedited("perplexity", reading="per_target")
TITLES = {"T/F": "True/False", "MQ": "Multiple choice", "DG": "Directly generated"}


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    made = d4s.questions(scale, seed)
    names = d4s.TASK_NAMES[scale]
    mean = average(*map(task, names.values()))
    panels = [
        Panel(
            f"{TITLES[form]}, {d4s.METHODS[method]['title']}",
            [Series(title, tasks(where, name)) for title, name in names.items()],
        )
        for (form, method), where in made.where.items()
        if method == "rome"
    ]
    grown = [
        Panel(
            f"Norm, {d4s.METHODS[method]['title']}",
            [Series(TITLES[form], norms(made.where[form, method])) for form in TITLES],
            ylabel="times the first",
            percent=False,
        )
        for method in ("rome", "memit")
    ]
    rows = [
        Row({"form": TITLES[form], "method": d4s.METHODS[method]["title"]}, where)
        for (form, method), where in made.where.items()
    ]

    def worst(reader, name: str, less: bool):
        """Direct generation beyond the two others."""
        direct = at(f"{name}, direct", reader, made.where["DG", "rome"])
        others = [at(TITLES[f], reader, made.where[f, "rome"]) for f in ("T/F", "MQ")]
        return every(*(above(o, direct) if less else above(direct, o) for o in others))

    return Batch(
        title="D4S, Figure 3: what kinds of question do to a model",
        about="The same knowledge, edited in three forms, one fact after another, on GPT-J.",
        runs=made.runs,
        tables=(
            Table(
                "After all edits",
                {"tests, mean": mean, **{t: task(n) for t, n in names.items()}},
                rows,
                note="Accuracy of the downstream tests.",
            ),
            Table(
                "What was edited, and what it took",
                {
                    "target perplexity before": PERPLEXITY,
                    "norm": norm_growth,
                    "s an edit": seconds_an_edit,
                },
                rows,
                note="Norm: mean absolute weight of the edited layers over that before.",
                unit="",
            ),
        ),
        figures=(
            Figure(
                "Downstream tests by number of edits",
                "Accuracy on the model as it is after so many edits.",
                panels,
            ),
            Figure("Growth of the edited layers", "Mean absolute weight over the first.", grown),
        ),
        claims=(
            Claim(
                "Direct generation harms the model most.",
                "D4S, section 3.3",
                worst(mean, "mean of the tests", True),
            ),
            Claim(
                "Direct generation makes the norm grow most.",
                "D4S, section 3.3",
                worst(norm_growth, "norm", False),
            ),
        ),
    )
