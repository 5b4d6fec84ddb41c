"""D4S, Table 4: downstream tests of Llama-2 after 10,000 edits by D4S.

    python -m jaxedit.launch --batch=runs/d4s_table4.py --out=out/runs
    python -m jaxedit.report --batch=runs/d4s_table4.py --out=out/runs

What the paper reports: between 0.4 and 4.2 points lost in five tests (its limitations speak of
2,000 edits where its table and figure have 10,000). At the tiny scale the embedded world's own
tests, after the sequence of Table 2.
"""

from jaxedit.batches.batch import Batch
from jaxedit.papers import d4s
from jaxedit.papers.claims import Claim, above, at, every
from jaxedit.papers.d4s import TASK_NAMES
from jaxedit.papers.printed import table
from jaxedit.papers.readers import task
from jaxedit.papers.tables import Row, Table

POINTS = 0.05


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    made = d4s.longest(scale, seed)
    tasks = TASK_NAMES[scale]
    columns = {title: task(name) for title, name in tasks.items()}
    place = made.where["Llama", "d4s"]
    rows = [
        Row({"edits": "0", "method": "D4S"}, place.after(0)),
        Row({"edits": "10000", "method": "D4S"}, place),
        Row({"edits": "10000", "method": "D4S, residual recomputed"},
            made.where["Llama", "d4s_recomputed"]),
        Row({"edits": "10000", "method": "MEMIT"}, made.where["Llama", "memit"]),
    ]  # fmt: skip

    def kept(title: str, name: str):
        """Less than so many points lost."""
        before = at(f"{title} before", task(name), place.after(0))
        after = at("after", task(name), place)
        return above(after, before, by=-POINTS)

    return Batch(
        title="D4S, Table 4: downstream tests after many edits",
        about=f"Llama, {d4s.LONG[scale]:,} edits one after another by D4S.",
        runs={name: config for name, config in made.runs.items() if "Llama" in name},
        tables=(
            Table(
                f"Before and after {d4s.LONG[scale]:,} edits",
                columns,
                rows,
                table("d4s", "4"),
                note="Accuracy of the test's own metric; chance is in the runs' reports.",
            ),
        ),
        claims=(
            Claim(
                "No test loses more than 5 points (the paper's largest loss is 4.15).",
                "D4S, Table 4",
                every(*(kept(title, name) for title, name in tasks.items())),
            ),
        ),
    )
