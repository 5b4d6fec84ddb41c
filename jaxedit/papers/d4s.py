"""The experiments of "Reasons and Solutions for the Decline in Model Performance after Editing".

D4S (Huang et al., NeurIPS 2024). Its tables and figures look at the same few sequences of edits
from several sides, so the sequences are defined here once and each file of runs/ takes its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from jaxedit.papers.readers import Reader, Where, average, score
from jaxedit.papers.scale import PAPER, TINY, Arms, Data, check_scale, named, place, run

MODELS = {  # the paper's name -> ours
    TINY: {"Llama": "embedded:llama", "GPT": "embedded:gptj"},
    PAPER: {"Llama": "meta-llama/Llama-2-7b-hf", "GPT": "EleutherAI/gpt-j-6b"},
}
DATA = {
    TINY: {
        "zsRE": Data("embedded:gptj"),
        "CounterFact": Data("embedded-question:gptj"),
        "20Q": Data("embedded-statement:gptj"),
        "ELKEN": Data("embedded-event:gptj"),
        "T/F": Data("embedded-statement:gptj"),
        "MQ": Data("embedded-choice:gptj"),
        "DG": Data("embedded:gptj"),
    },
    PAPER: {
        "zsRE": Data("zsre-train-10000"),
        "CounterFact": Data("counterfact"),
        "MQuAKE": Data("mquake"),
        "20Q": Data("20q"),
        "ELKEN": Data("elken-facts"),
        "CKD": Data("ckebench"),
        "T/F": Data("mqd-statement", "data/atomic"),
        "MQ": Data("mqd-choice", "data/atomic"),
        "DG": Data("mqd-generation", "data/atomic"),
    },
}
EDITS = {  # the paper's number of edits -> ours
    TINY: {1: 1, 100: 20, 500: 100, 1000: 200},
    PAPER: {1: 1, 100: 100, 500: 500, 1000: 1000},
}
LONG = {TINY: 200, PAPER: 10_000}  # figure 6 and Table 4
SHORT = {TINY: 60, PAPER: 1000}  # Table 3
OTHERS = {TINY: 60, PAPER: 2000}  # figure 2
QUESTIONS = {TINY: 60, PAPER: 4000}  # figure 3
STEPS = 10  # evaluations along a sequence
TASKS = {
    TINY: ("world",),
    PAPER: ("arc_challenge", "hellaswag", "mmlu", "truthfulqa", "winogrande", "gsm8k"),
}
TASK_ITEMS = 500  # of each test, at every moment
TASK_NAMES = {  # as Table 4 calls them -> the task
    TINY: {
        "facts": "world_facts",
        "four choices": "world_four_choice",
        "two hops": "world_two_hop",
        "kinds": "world_kinds",
        "agreement": "world_agreement",
        "copying": "world_copying",
    },
    PAPER: {
        "arc_challenge": "arc_challenge",
        "hellaswag": "hellaswag",
        "mmlu": "mmlu",
        "truthfulqa_mc": "truthfulqa_mc2",  # the leaderboard's number
        "winogrande": "winogrande",
    },
}
METHODS: Arms = {
    "ft": {"method": "ft", "title": "FT"},
    "rome": {"method": "rome", "title": "ROME"},
    "memit": {"method": "memit", "title": "MEMIT"},
    "pmet": {"method": "pmet", "title": "PMET"},
    "grace": {"method": "grace", "title": "GRACE"},
    "d4s": {"method": "d4s", "title": "D4S", "residual": "shared"},
    "d4s_recomputed": {
        "method": "d4s",
        "title": "D4S, residual recomputed",
        "residual": "recomputed",
    },
}
PRINTED = {  # what the tables call them
    "FT": "ft",
    "ROME": "rome",
    "MEMIT": "memit",
    "PMET": "pmet",
    "GRACE": "grace",
    "D4S": "d4s",
}
EFFICACY, PARAPHRASE = score("efficacy"), score("paraphrase")
TRUE, UNCHANGED = score("specificity", against="truth"), score("specificity", against="unedited")
COLUMNS: Mapping[str, Reader] = {  # equations 14 to 16
    "Eff.": EFFICACY,
    "Par.": PARAPHRASE,
    "Spe.": TRUE,
    "Avg.": average(EFFICACY, PARAPHRASE, TRUE),
}
READINGS = (
    "Teacher-forced, every token of the target (equations 14 to 16); specificity against the true "
    "answer, as equation 16 is written."
)


class Experiment(NamedTuple):
    """Runs by name, and where each arm is found.

    Attributes:
        runs: name -> config.
        where: (model, method) or (data, method) -> place.
    """

    runs: dict[str, Any]
    where: dict[tuple[str, str], Where]


def sequences(scale: str, seed: int = 0, models: Sequence[str] = ("Llama", "GPT")) -> Experiment:
    """Table 2 and figures 4, 5, 7 and 8: every method, 1,000 facts of zsRE one after another."""
    check_scale(scale)
    count = EDITS[scale][1000]
    groups = {
        "into one layer": ("ft", "rome", "pmet"),
        "into several": ("memit", "d4s", "d4s_recomputed"),
        "beside": ("grace",),
    }
    runs, where = {}, {}
    for model in models:
        for group, methods in groups.items():
            name = f"zsRE, {model}, {group}"
            some = {method: METHODS[method] for method in methods}
            config = run(
                scale,
                "A sequence of D4S's Table 2.",
                MODELS[scale][model],
                DATA[scale]["zsRE"],
                count,
                some,
                seed,
            )
            config.eval.immediate = True
            config.eval.every = count // STEPS
            config.eval.generate = ("before", "after_all")
            if scale == TINY:  # figure 6 looks at these very runs
                config.eval.heldout = "embedded"
                _tested(config, scale)
            config.checkpoint_every = count // STEPS
            runs |= dict(named(scale, name, config))
            where |= {(model, method): place(scale, name, method) for method in methods}
    return Experiment(runs, where)


def longest(scale: str, seed: int = 0) -> Experiment:
    """Figure 6 and Table 4: 10,000 edits by D4S; at the tiny scale the sequences are as long."""
    if scale == TINY:
        found = sequences(scale, seed)
        runs = {name: config for name, config in found.runs.items() if "several" in name}
        return Experiment(runs, found.where)
    runs, where = {}, {}
    for model, path in MODELS[scale].items():
        some = {name: METHODS[name] for name in ("memit", "d4s", "d4s_recomputed")}
        about = "The longest sequence of D4S's figure 6."
        config = run(scale, about, path, DATA[scale]["zsRE"], LONG[scale], some, seed)
        config.eval.immediate = False
        config.eval.every = LONG[scale] // STEPS
        config.eval.generate = ()
        _tested(config, scale)
        config.checkpoint_every = LONG[scale] // STEPS
        name = f"zsRE, {model}, long"
        runs |= dict(named(scale, name, config))
        where |= {(model, method): place(scale, name, method) for method in some}
    return Experiment(runs, where)


def other_data(scale: str, seed: int = 0) -> Experiment:
    """Table 3: CounterFact and MQuAKE."""
    check_scale(scale)
    runs, where = {}, {}
    for data in ("CounterFact", "MQuAKE"):
        for model, path in MODELS[scale].items():
            if data not in DATA[scale]:
                continue
            chosen = ("ft", "rome", "memit", "grace", "d4s", "d4s_recomputed")
            methods = [name for name in chosen if (data, name) != ("MQuAKE", "grace")]
            some = {name: METHODS[name] for name in methods}
            about = f"A sequence of D4S's Table 3: {data}."
            config = run(scale, about, path, DATA[scale][data], SHORT[scale], some, seed)
            config.eval.immediate = False
            config.eval.generate = ()
            config.checkpoint_every = SHORT[scale]
            name = f"{data}, {model}"
            runs |= dict(named(scale, name, config))
            where |= {(f"{data}, {model}", m): place(scale, name, m) for m in methods}
    return Experiment(runs, where)


def damage(scale: str, seed: int = 0) -> Experiment:
    """Figure 2: downstream tests while GPT-J is edited with other kinds of data."""
    check_scale(scale)
    runs, where = {}, {}
    for data in ("zsRE", "ELKEN", "20Q", "CKD"):
        if data not in DATA[scale]:
            continue
        methods = {name: METHODS[name] for name in ("rome", "memit")}
        config = _damaging(scale, DATA[scale][data], OTHERS[scale], methods, seed)
        runs |= dict(named(scale, f"damage by {data}", config))
        where |= {(data, m): place(scale, f"damage by {data}", m) for m in methods}
    kn = {"kn": {"method": "kn", "title": "KN"}}
    config = _damaging(scale, DATA[scale]["zsRE"], STEPS, kn, seed)
    config.eval.every = 1
    runs |= dict(named(scale, "damage by KN", config))
    return Experiment(runs, {**where, ("zsRE", "kn"): place(scale, "damage by KN", "kn")})


def questions(scale: str, seed: int = 0) -> Experiment:
    """Figure 3: the same knowledge as true-false, multiple-choice and direct questions (MQD)."""
    check_scale(scale)
    runs, where = {}, {}
    for form in ("T/F", "MQ", "DG"):
        methods = {name: METHODS[name] for name in ("rome", "memit")}
        config = _damaging(scale, DATA[scale][form], QUESTIONS[scale], methods, seed)
        runs |= dict(named(scale, f"damage by {form}", config))
        where |= {(form, m): place(scale, f"damage by {form}", m) for m in methods}
    return Experiment(runs, where)


def _damaging(scale: str, data: Data, count: int, some: Arms, seed: int) -> Any:
    about = "Downstream tests while facts are edited: D4S's figures 2 and 3."
    config = run(scale, about, MODELS[scale]["GPT"], data, count, some, seed)
    config.eval.immediate = False
    config.eval.every = max(1, count // 5)
    config.eval.generate = ()
    _tested(config, scale)
    config.checkpoint_every = max(1, count // 5)
    return config


def _tested(config: Any, scale: str) -> None:
    """Downstream tests along the run."""
    config.eval.tasks = TASKS[scale]
    if scale == PAPER:
        config.eval.tasks_data = "data/downstream"
        config.eval.tasks_limit = TASK_ITEMS
