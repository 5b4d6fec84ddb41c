"""What the paper leaves out: D4S's residual, the order of edits, the tokens of the statistics.

    python -m jaxedit.launch --batch=runs/ablation_d4s.py --out=out/runs
    python -m jaxedit.report --batch=runs/ablation_d4s.py --out=out/runs

D4S shares one residual over all edited layers, so that a fresh edit moves the hidden state by the
harmonic number of layers times what was asked; `recomputed` sees what the layers below have done.
The same facts in three orders, and statistics of 1, 3 and 30 times d_ff tokens (10 is the default).
`runs/statistics_tokens.py` has the errors behind the last.
"""

from jaxedit.batches.batch import Batch
from jaxedit.papers import d4s
from jaxedit.papers.claims import Claim, Named, Verdict, at, most
from jaxedit.papers.readers import Found, Value, norm_growth
from jaxedit.papers.scale import run
from jaxedit.papers.tables import Row, Table

METHODS = ("memit", "d4s", "d4s_recomputed")
ORDERS = (0, 1, 2)
WIDTHS = (1, 3, 10, 30)  # tokens, in units of d_ff
D_FF = {"tiny": 1024, "paper": 16_384}
SPREAD = 0.05
COLUMNS = {**d4s.COLUMNS, "norm": norm_growth}


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    runs = {f"order {i}": sequence(scale, seed + i) for i in ORDERS}
    for width in WIDTHS:
        config = sequence(scale, seed)
        if width != 10:
            config.statistics.tokens = width * D_FF[scale]
        runs[f"{width} d_ff tokens"] = config
    places = {(name, m): d4s.Where(name, m) for name in runs for m in METHODS}
    titles = {method: d4s.METHODS[method]["title"] for method in METHODS}

    def spread(method: str, names: list[str]) -> Named:
        def read(found: Found) -> Value | None:
            values = [d4s.COLUMNS["Avg."](found, places[name, method]) for name in names]
            known = [value.value for value in values if value is not None]
            return Value(max(known) - min(known)) if len(known) == len(values) else None

        return Named(f"{titles[method]}, greatest less least average", read)

    def table(title: str, names: list[str], key: str) -> Table:
        rows = [
            Row({key: name, "method": titles[m]}, places[name, m])
            for m in METHODS
            for name in names
        ]
        return Table(title, d4s.COLUMNS, rows, note=d4s.READINGS)

    orders = [f"order {i}" for i in ORDERS]
    tokens = [f"{width} d_ff tokens" for width in WIDTHS]

    def recomputed(found: Found) -> Verdict:
        """Wins in every order."""
        average = d4s.COLUMNS["Avg."]
        pairs = [
            (
                at("", average, places[name, "d4s_recomputed"]).read(found),
                at("", average, places[name, "d4s"]).read(found),
            )
            for name in orders
        ]
        known = [(a.value, b.value) for a, b in pairs if a and b]
        if len(known) < len(pairs):
            return Verdict("not decided yet", "")
        won = sum(a > b for a, b in known)
        said = "; ".join(f"{100 * a:.1f} % against {100 * b:.1f} %" for a, b in known)
        words = {len(known): "holds", 0: "does not hold"}
        return Verdict(words.get(won, "holds in part"), said)

    return Batch(
        title="Ablation: residual, order, statistics",
        about=f"{d4s.SHORT[scale]} edits one after another on GPT-J.",
        runs=runs,
        tables=(
            table("Three orders of the same facts", orders, "order"),
            table("Tokens of the statistics", tokens, "tokens"),
        ),
        claims=(
            Claim(
                "Recomputing the residual beats sharing it, in every order.",
                "not in the paper",
                recomputed,
            ),
            Claim(
                "The order of the edits moves MEMIT's average by 5 points at most.",
                "not in the paper",
                most(spread("memit", orders), SPREAD),
            ),
            Claim(
                "Statistics of 3 d_ff tokens and more change MEMIT's average by 5 points at most.",
                "not in the paper",
                most(spread("memit", tokens[1:]), SPREAD),
            ),
        ),
    )


def sequence(scale: str, seed: int):
    about = "An ablation of D4S: residual, order, statistics."
    some = {name: d4s.METHODS[name] for name in METHODS}
    model, data = d4s.MODELS[scale]["GPT"], d4s.DATA[scale]["zsRE"]
    config = run(scale, about, model, data, d4s.SHORT[scale], some, seed)
    config.eval.immediate = False
    config.eval.generate = ()
    config.checkpoint_every = d4s.SHORT[scale]
    return config
