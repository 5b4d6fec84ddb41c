"""D4S, Figure 6: norms and downstream tests over 10,000 edits by D4S, Llama-2 and GPT-J.

    python -m jaxedit.launch --batch=runs/d4s_figure6.py --out=out/runs
    python -m jaxedit.report --batch=runs/d4s_figure6.py --out=out/runs

What the paper reports: the norm does not grow in 10,000 edits, and tests fall only slightly. At
the tiny scale the sequences of Table 2.
"""

from jaxedit.batches.batch import Batch
from jaxedit.papers import d4s
from jaxedit.papers.claims import Claim, above, at, every, most
from jaxedit.papers.figures import Figure, Panel, Series, norms, tasks
from jaxedit.papers.readers import average, norm_growth, task

SHOWN = ("memit", "d4s", "d4s_recomputed")


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    made = d4s.longest(scale, seed)
    names = d4s.TASK_NAMES[scale]
    mean = average(*map(task, names.values()))
    models = list(d4s.MODELS[scale])
    titles = {method: d4s.METHODS[method]["title"] for method in SHOWN}

    def both(reader, name: str, test):
        return every(*(test(at(f"{name}, {m}", reader, made.where[m, "d4s"])) for m in models))

    def little_lost():
        return every(
            *(
                above(
                    at(f"tests after, {m}", mean, made.where[m, "d4s"]),
                    at("before", mean, made.where[m, "d4s"].after(0)),
                    by=-0.05,
                )
                for m in models
            )
        )

    def smaller_than_memit():
        return every(
            *(
                above(
                    at(f"MEMIT's norm, {m}", norm_growth, made.where[m, "memit"]),
                    at("D4S's", norm_growth, made.where[m, "d4s"]),
                )
                for m in models
            )
        )

    return Batch(
        title="D4S, Figure 6: norms and downstream tests",
        about=f"{d4s.LONG[scale]:,} edits one after another.",
        runs=made.runs,
        figures=(
            Figure(
                "L1 norm of the edited layers",
                "Mean absolute weight over that before the first edit, mean over layers.",
                [
                    Panel(
                        model,
                        [Series(titles[m], norms(made.where[model, m])) for m in SHOWN],
                        ylabel="times the first",
                        percent=False,
                    )
                    for model in models
                ],
            ),
            Figure(
                "Downstream tests",
                "Accuracy after so many edits by D4S.",
                [
                    Panel(
                        model,
                        [Series(t, tasks(made.where[model, "d4s"], n)) for t, n in names.items()],
                    )
                    for model in models
                ],
            ),
        ),
        claims=(
            Claim(
                "The norm under D4S does not grow (under 1.1 times).",
                "D4S, section 5.2",
                both(norm_growth, "norm", lambda number: most(number, 1.1)),
            ),
            Claim(
                "Its norm stays below sequential MEMIT's.",
                "D4S, section 4.3.3",
                smaller_than_memit(),
            ),
            Claim(
                "Downstream tests fall only slightly under D4S (under 5 points on average).",
                "D4S, section 5.2",
                little_lost(),
            ),
        ),
    )
