"""D4S, sections 3 and 4: what goes with the decline? From runs of Table 2, Figures 2 and 3.

    python -m jaxedit.launch --batch=runs/d4s_causes.py --out=out/runs
    python -m jaxedit.report --batch=runs/d4s_causes.py --out=out/runs

What the paper reports, by eye: the higher the perplexity of what is edited, the greater the damage
and the norm; where the norm of the edited layers explodes, edits fail; earlier edits are forgotten
and new ones meet a bottleneck. Here rank correlations are computed. None of them shows a cause:
along one sequence the norm and the number of edits say the same, so the correlation with the number
stands beside that with the norm, and methods are compared after equally many edits. Perplexities
are the mean over facts, which rare words dominate. At the tiny scale two of the kinds of data are
two of the forms of question, the same runs. What the paper argues about the norm in section 4.3.3
is put to the test in runs/norm_argument.py.
"""

from collections.abc import Mapping

from jaxedit.batches.batch import Batch
from jaxedit.papers import d4s
from jaxedit.papers.causes import (
    Pairs,
    across,
    along_sequence,
    best,
    bottleneck,
    correlation,
    goes,
    halves,
    lost,
    rho,
    scattered,
)
from jaxedit.papers.claims import Claim, every
from jaxedit.papers.figures import Figure, Panel, Series, along, by_age, probability
from jaxedit.papers.readers import (
    Found,
    Reader,
    Value,
    Where,
    average,
    immediate,
    norm_growth,
    task,
    unedited,
)
from jaxedit.papers.tables import Row, Table

PERPLEXITY = unedited("perplexity", reading="per_target")
OWN = immediate("efficacy")
SINGLE = ("rome", "memit")  # what Figures 2 and 3 edit with
SHOWN = ("rome", "memit", "d4s", "d4s_recomputed", "ft", "pmet")
FORMS, KINDS = "forms of question", "kinds of data"
COURSE = ("norm and efficacy", "norm and new edits", "edits and efficacy", "points")
KEPT = (
    "right after its own edit",
    "best, all so far",
    "all, at the end",
    "older half",
    "newer half",
    "bottleneck at",
)


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    forms, kinds = d4s.questions(scale, seed), d4s.damage(scale, seed)
    sequences = d4s.sequences(scale, seed)
    cells = {FORMS: forms.where, KINDS: kinds.where}
    mean = average(*map(task, d4s.TASK_NAMES[scale].values()))
    damage = lost(mean)
    models = list(d4s.MODELS[scale])
    runs = {**forms.runs, **kinds.runs, **sequences.runs}
    return Batch(
        title="D4S, sections 3 and 4: what goes with the decline",
        about="Perplexity of targets, damage, norm, efficacy, forgetting and the bottleneck.",
        runs={name: config for name, config in runs.items() if "beside" not in name},
        tables=(
            Table(
                "What is edited, and what it costs",
                {"target perplexity": PERPLEXITY, "points lost": damage, "norm": norm_growth},
                [
                    Row({"set": name, "edited": data, "method": title(method)}, where, note(method))
                    for name, places in cells.items()
                    for (data, method), where in places.items()
                ],
                note="Perplexity before any edit, mean over facts; points of the mean of the "
                "downstream tests, lost after all edits; mean absolute weight over the first.",
                unit="",
            ),
            Table(
                "Rank correlations along the sequences",
                dict.fromkeys(COURSE, norm_growth),
                [row for model in models for row in courses(scale, sequences.where, model)],
                note="Spearman's. Norm and efficacy over all facts edited so far, at ten moments; "
                "new edits: the median probability of the targets, each right after its edit, "
                "since the moment before. Where the norm only grows, the third column must equal "
                "the first: along one sequence nothing tells the norm from the number of edits.",
                unit="",
            ),
            Table(
                "Forgetting and bottleneck",
                dict.fromkeys(KEPT, OWN),
                [
                    Row({"model": model, "method": title(m)}, kept(sequences.where[model, m]))
                    for model in models
                    for m in SHOWN
                ],
                note="Efficacy; halves by the order of editing, after all edits. Bottleneck: the "
                "edit, in % of the sequence, from which on the probability of new targets stays "
                "under half of its first level; none where there is no such edit (Figure 5).",
            ),
        ),
        figures=(
            Figure(
                "Perplexity of targets against damage and norm",
                "Each point is a run of so many edits of one form or kind, by one method.",
                [
                    Panel(
                        name,
                        [
                            Series(title(m), scattered(across(places, (m,), x, y), log=log))
                            for m in SINGLE
                        ],
                        xlabel=xlabel,
                        ylabel=ylabel,
                        kind="scatter",
                        percent=False,
                    )
                    for name, places in cells.items()
                    for x, y, log, xlabel, ylabel in (
                        (PERPLEXITY, damage, True, "perplexity, log10", "points lost"),
                        (PERPLEXITY, norm_growth, True, "perplexity, log10", "norm, times"),
                        (norm_growth, damage, False, "norm, times the first", "points lost"),
                    )
                ],
            ),
            Figure(
                "Norm against efficacy",
                "At ten moments of each sequence: efficacy over all facts edited so far.",
                [
                    Panel(
                        model,
                        [
                            Series(
                                title(m), scattered(course(scale, sequences.where[model, m])["all"])
                            )
                            for m in SHOWN
                        ],
                        xlabel="norm, times the first",
                        ylabel="efficacy, %",
                        kind="scatter",
                    )
                    for model in models
                ],
            ),
        ),
        claims=(*of_data(cells, damage), *of_norms(scale, sequences.where, models)),
    )


def title(method: str) -> str:
    return str(d4s.METHODS.get(method, {}).get("title", method.upper()))


def note(method: str) -> str:
    return f"{d4s.STEPS} edits; in no correlation" if method == "kn" else ""


def moments(scale: str) -> range:
    """The numbers of edits at which a sequence is evaluated."""
    count = d4s.EDITS[scale][1000]
    return range(count // d4s.STEPS, count + 1, count // d4s.STEPS)


def course(scale: str, where: Where) -> dict[str, Pairs]:
    """Along one sequence, at the ten moments."""
    return along_sequence(where, moments(scale), d4s.EFFICACY)


def together(scale: str, places: Mapping[tuple[str, str], Where], model: str, what: str) -> Pairs:
    """The points of all sequences of a model."""
    each = [course(scale, places[model, method])[what] for method in SHOWN]
    return lambda found: [pair for pairs in each for pair in pairs(found)]


def between(places: Mapping[tuple[str, str], Where], model: str, y: Reader) -> Pairs:
    """Norm and another number of each method after all edits."""
    some = {key: where for key, where in places.items() if key[0] == model}
    return across(some, SHOWN, norm_growth, y)


def courses(scale: str, places: Mapping[tuple[str, str], Where], model: str):
    """The table's rows: each sequence, all their points, and methods against each other."""

    def row(name: str, all_so_far: Pairs, new: Pairs, edits: Pairs | None) -> Row:
        def read(found: Found) -> dict[str, Value | None]:
            told = correlation(all_so_far(found))
            third = rho(edits(found)) if edits else None
            values = (
                rho(all_so_far(found)),
                rho(new(found)),
                third,
                told and Value(told.n, share=False),
            )
            return dict(zip(COURSE, values, strict=True))

        return Row({"model": model, "method": name}, read)

    for method in SHOWN:
        one = course(scale, places[model, method])
        yield row(title(method), one["all"], one["new"], one["edits"])
    whole = {what: together(scale, places, model, what) for what in ("all", "new", "edits")}
    yield row("all points", whole["all"], whole["new"], whole["edits"])
    by_efficacy, by_own = (between(places, model, y) for y in (d4s.EFFICACY, OWN))
    yield row("between methods, after all edits", by_efficacy, by_own, None)


def kept(where: Where):
    """A row of the table of forgetting, by column."""

    def read(found: Found) -> dict[str, Value | None]:
        older, newer = halves(by_age(where)(found)) or (None, None)
        place = bottleneck(probability(where)(found))
        start = Value(place.start / place.edits) if place and place.start else None
        highest = best(along("efficacy", where)(found))
        last = d4s.EFFICACY(found, where)
        return dict(zip(KEPT, (OWN(found, where), highest, last, older, newer, start), strict=True))

    return read


def of_data(cells: Mapping[str, Mapping[tuple[str, str], Where]], damage: Reader):
    """Section 3.3: perplexity of the targets, damage and norm."""

    def claim(text: str, source: str, x: Reader, y: Reader) -> Claim:
        one = goes("rises", f"ROME, {FORMS}", across(cells[FORMS], ("rome",), x, y))
        more = [
            goes("rises", f"ROME and MEMIT, {name}", across(places, SINGLE, x, y))
            for name, places in cells.items()
        ]
        return Claim(text, source, every(one, *more))

    yield claim(
        "The higher the perplexity of the targets, the greater the damage (three points that are "
        "in order are so by chance in 1 of 6 cases: hence the other sets).",
        "D4S, section 3.3",
        PERPLEXITY,
        damage,
    )
    yield claim(
        "The higher the perplexity of the targets, the more the norm grows.",
        "D4S, section 3.3",
        PERPLEXITY,
        norm_growth,
    )
    yield claim(
        "The more the norm grows, the greater the damage.",
        "D4S, abstract and section 4.2, of downstream tests",
        norm_growth,
        damage,
    )


def of_norms(scale: str, places: Mapping[tuple[str, str], Where], models: list[str]):
    """Section 4.2: higher norm, lower efficacy."""

    def sequence(model: str, method: str, what: str):
        pairs = course(scale, places[model, method])[what]
        return goes("falls", f"{title(method)}, {model}", pairs, independent=False)

    for what, name in (("all", "efficacy over all facts so far"), ("new", "success of new edits")):
        yield Claim(
            f"Along each sequence a higher norm goes with a lower {name}.",
            "D4S, section 4.2 (ROME and MEMIT, GPT-J)",
            every(*(sequence(model, method, what) for model in models for method in SHOWN)),
        )
    pooled = (
        goes("falls", f"all methods, {m}", together(scale, places, m, "all"), independent=False)
        for m in models
    )
    yield Claim(
        "Over the points of all methods a higher norm goes with a lower efficacy.",
        "D4S, section 4.2, all methods",
        every(*pooled),
    )
    yield Claim(
        "Of methods after equally many edits, those with a higher norm have a lower efficacy.",
        "not in the paper: what a cause would show",
        every(*(goes("falls", f"methods, {m}", between(places, m, d4s.EFFICACY)) for m in models)),
    )
