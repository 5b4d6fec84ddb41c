"""OnceEdit, appendix A: the baselines with and without OnceEdit's own prompts.

    python -m jaxedit.launch --batch=runs/onceedit_prompts.py --out=out/runs
    python -m jaxedit.report --batch=runs/onceedit_prompts.py --out=out/runs

The paper runs each baseline both ways and prints the better value, without saying which it was;
here both stand side by side (at the tiny scale zsRE alone). Inside the prompt means that facts are
edited and asked in it.
"""

from dataclasses import replace

from jaxedit.batches.batch import Batch
from jaxedit.metrics import easyedit
from jaxedit.papers import onceedit
from jaxedit.papers.claims import HOLDS, Claim, above, at, every
from jaxedit.papers.scale import TINY
from jaxedit.papers.tables import Row, Table

COLUMNS = onceedit.columns(easyedit.TEACHER_FORCED)
AVERAGE = COLUMNS["Avg."]
METHODS = ("ft_l", "rome", "memit")


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    only = ("zsRE",) if scale == TINY else tuple(onceedit.DATA[scale])
    bare = onceedit.baselines(scale, seed, only=only)
    inside = onceedit.baselines(scale, seed, prompt=True, methods=METHODS, only=only)
    rows = [
        Row(
            {"data and model": key, "method": onceedit.BASELINES[method]["title"], "prompt": name},
            made.where[key, method],
        )
        for key, method in inside.where
        for name, made in (("none", bare), ("OnceEdit's", inside))
    ]
    used = {where.run for (key, m), where in bare.where.items() if m in METHODS}
    return Batch(
        title="OnceEdit, appendix A: baselines with and without its prompts",
        about="The same facts, edited and asked bare, and inside OnceEdit's prompts.",
        runs={**{n: c for n, c in bare.runs.items() if n in used}, **inside.runs},
        tables=(
            Table(
                f"{onceedit.COUNT[scale]} edits, teacher-forced tokens",
                COLUMNS,
                rows,
                note="The better of the two is what the paper's Table 1 would print.",
            ),
        ),
        claims=(
            Claim(
                "It makes a difference which is run (more than 5 points, either way).",
                "OnceEdit, appendix A, by its choosing the better",
                every(
                    *(
                        apart(
                            at(f"{method} ({key}) bare", COLUMNS["Avg."], bare.where[key, method]),
                            at("inside", COLUMNS["Avg."], where),
                        )
                        for (key, method), where in inside.where.items()
                    )
                ),
            ),
        ),
    )


def apart(one, other):
    """The two differ by more than 5 points."""

    def test(found):
        verdict = above(one, other, by=0.05)(found)
        turned = above(other, one, by=0.05)(found)
        return verdict if verdict.word == HOLDS else replace(turned, numbers=verdict.numbers)

    return test
