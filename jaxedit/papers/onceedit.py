"""The experiments of "One for All: Update Parameterized Knowledge Across Multiple Models".

OnceEdit (Ma et al. 2025). One plug-in is edited once and corrects every model; the baselines edit
each model itself. Tables 1, 2, 4 and 7 and figure 3 look at the same runs from several sides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jaxedit.data.factworld.editing import plug_in_settings
from jaxedit.metrics import easyedit
from jaxedit.metrics.formats import ONCEEDIT_COUNTERFACT, ONCEEDIT_ZSRE
from jaxedit.papers.claims import Named
from jaxedit.papers.d4s import Experiment
from jaxedit.papers.readers import Reader, Where, average, mean_over, score
from jaxedit.papers.scale import PAPER, TINY, Arms, Data, check_scale, named, place, run

Places = Mapping[tuple[str, str, str], Where]  # data set, title, model
MODELS = {  # the paper's name -> ours; what is not there has no counterpart
    TINY: {"Llama2-7B": "embedded:llama", "GPT-J-6B": "embedded:gptj"},
    PAPER: {
        "Llama2-7B": "meta-llama/Llama-2-7b-hf",
        "Mistral-7B-v0.1": "mistralai/Mistral-7B-v0.1",
        "GPT-J-6B": "EleutherAI/gpt-j-6b",
    },
}
MORE_MODELS = {  # Table 6
    TINY: MODELS[TINY],
    PAPER: {
        "Llama3-8B": "meta-llama/Meta-Llama-3-8B",
        "Mistral-7B-v0.3": "mistralai/Mistral-7B-v0.3",
        "Qwen2.5-7B": "Qwen/Qwen2.5-7B",
        "Llama3-70B": "meta-llama/Meta-Llama-3-70B",
    },
}
PLUGINS = {
    TINY: {"Tiny-Llama": "embedded:plugin", "Qwen2.5-1.5B": "embedded:llama"},
    PAPER: {
        "Tiny-Llama": "TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T",
        "Qwen2.5-1.5B": "Qwen/Qwen2.5-1.5B",
    },
}
ANCHORS = {  # Table 9: what DeePEn's rule finds with TinyLlama's tokenizer; a test finds them again
    "Llama2-7B": 31_999,
    "Mistral-7B-v0.1": 24_184,
    "GPT-J-6B": 17_830,
}
DATA = {
    TINY: {
        "zsRE": Data("embedded-question:gptj", unrelated="embedded-question:gptj"),
        "CounterFact": Data("embedded:gptj"),
    },
    PAPER: {
        "zsRE": Data("zsre-knowedit", None, ONCEEDIT_ZSRE, "zsre-train-10000"),
        "CounterFact": Data("counterfact-edit", None, ONCEEDIT_COUNTERFACT, "counterfact-train"),
    },
}
PROMPTS = {"zsRE": ONCEEDIT_ZSRE, "CounterFact": ONCEEDIT_COUNTERFACT}
COUNT = {TINY: 60, PAPER: 1000}
OTHER_POOL = 2  # of the embedded world's facts: neither for tuning nor for showing
FEW = {TINY: 30, PAPER: 200}  # Tables 6 and 8
UNRELATED = {TINY: 120, PAPER: 1000}
ABLATED = ("deepen", "dw", "dw_zi", "dw_ta", "dw_ee")  # Table 2, and EE's halves apart
LAMBDAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
BASELINES: Arms = {
    "ft_l": {"method": "ft_l", "title": "FT-L"},
    "mend": {"method": "mend", "title": "MEND"},
    "rome": {"method": "rome", "title": "ROME"},
    "memit": {"method": "memit", "title": "MEMIT"},
    "grace": {"method": "grace", "title": "GRACE"},
    "defer": {"method": "defer", "title": "DEFER"},
    "wise": {"method": "wise", "title": "WISE"},
}
BORROWED = {  # nothing is published for FT-L on Llama-2: FT's layer there, Mistral's bound
    (PAPER, "Llama2-7B", "ft_l"): {
        "layers": (21,),
        "steps": 25,
        "learning_rate": 5e-4,
        "norm_constraint": 5e-5,
    }
}
AT_ONCE = ("ft_l", "mend", "memit")  # EasyEdit edits the others one by one
GROUPS = {
    "at once": AT_ONCE,
    "one by one": ("rome", "grace", "defer"),
    "side memory": ("wise",),
}
PRINTED = {title["title"]: name for name, title in BASELINES.items()}
PROTOCOLS = (easyedit.TEACHER_FORCED, easyedit.GENERATION)


def columns(protocol: str) -> Mapping[str, Reader]:
    """Rel., Gen., Loc. and their average by one of EasyEdit's two protocols."""
    decoding = "teacher_forced" if protocol == easyedit.TEACHER_FORCED else "generation"
    told = {"decoding": decoding, "reading": "token_accuracy", "protocol": protocol}
    three = {
        "Rel.": score("reliability", **told),
        "Gen.": score("generality", **told),
        "Loc.": score("locality", against="unedited", **told),
    }
    return {**three, "Avg.": average(*three.values())}


def baselines(
    scale: str,
    seed: int = 0,
    *,
    prompt: bool = False,
    methods: Sequence[str] | None = None,
    only: Sequence[str] = ("zsRE", "CounterFact"),
) -> Experiment:
    """Table 1's other methods: each edits each model itself.

    Args:
        scale: "tiny" or "paper".
        seed: draws the facts.
        prompt: whether all is asked and edited inside OnceEdit's prompt (appendix A).
        methods: which; all by default.
        only: data sets.
    """
    check_scale(scale)
    runs, where = {}, {}
    for data in only:
        source = DATA[scale][data]
        for model, path in MODELS[scale].items():
            for group, members in GROUPS.items():
                some = {
                    name: {
                        **BASELINES[name],
                        **BORROWED.get((scale, model, name), {}),
                        "batch": COUNT[scale] if name in AT_ONCE else 1,
                    }
                    for name in members
                    if methods is None or name in methods
                }
                if not some:
                    continue
                given = source._replace(prompt=PROMPTS[data] if prompt else "{}")
                about = f"A baseline of OnceEdit's Table 1: {data}."
                config = run(scale, about, path, given, COUNT[scale], some, seed)
                _scored(config, scale)
                if scale == PAPER:
                    config.fit.source = source.unrelated
                name = f"{data}, {model}, {group}" + (", its prompt" if prompt else "")
                runs |= dict(named(scale, name, config))
                where |= {(f"{data}, {model}", m): place(scale, name, m) for m in some}
    return Experiment(runs, where)


def once(
    scale: str,
    seed: int = 0,
    *,
    plugin: str = "Tiny-Llama",
    count: int | None = None,
    models: Mapping[str, str] | None = None,
    some: Arms | None = None,
    title: str = "OnceEdit",
    modes: tuple[str, ...] = ABLATED,
    only: tuple[str, ...] = ("zsRE", "CounterFact"),
    **ensemble: Any,
) -> Experiment:
    """One plug-in, edited once, in every model.

    Args:
        scale, seed: as above.
        plugin: as the paper calls it.
        count: facts; the main table's by default.
        models: targets by the paper's names; the main table's by default.
        some: arms; OnceEdit with the paper's lambda by default.
        title: of the runs.
        modes: of the fusion.
        only: data sets.
        **ensemble: further settings of `config.EnsembleConfig`.

    Returns:
        Places by (data and model, arm), each with its target and mode "dw_ee".
    """
    check_scale(scale)
    count = count or COUNT[scale]
    targets = models or MODELS[scale]
    some = some or {"onceedit": arm(scale)}
    runs, where = {}, {}
    for data in only:
        source = DATA[scale][data]
        about = f"OnceEdit's plug-in: {data}."
        given = {name: {**own, "batch": own.get("batch", count)} for name, own in some.items()}
        config = run(scale, about, PLUGINS[scale][plugin], source, count, given, seed)
        _scored(config, scale)
        config.ensemble.targets = tuple(targets.values())
        config.ensemble.modes = modes
        config.ensemble.unrelated.source = source.unrelated
        config.ensemble.unrelated.limit = UNRELATED[scale]
        if source.unrelated.startswith("embedded-"):
            config.ensemble.unrelated.seed = OTHER_POOL
        for name, value in ensemble.items():
            config.ensemble[name] = value
        name = f"{title}: {data}"
        runs |= dict(named(scale, name, config))
        for model, target in targets.items():
            where |= {(f"{data}, {model}", m): place(scale, name, m, target=target) for m in given}
    return Experiment(runs, where)


def arm(scale: str, weight: float = 0.8, *, own: bool = True, **more: Any) -> dict[str, Any]:
    """OnceEdit's arm; what the paper does not state is as the method has it.

    Args:
        scale: "tiny" or "paper".
        weight: lambda.
        own: whether the embedded plug-in brings its training settings, which were chosen on other
            facts (its editing.json); one that brings none is told the same.
        **more: further settings of the arm.
    """
    training: dict[str, Any] = {"weight": weight}
    if scale == PAPER:
        training["learning_rate"] = 1e-4
    elif not own:
        training |= plug_in_settings()
    return {"method": "onceedit", "title": "OnceEdit", "training": training, **more}


def side_by_side(scale: str, seed: int, titles: Sequence[str]) -> tuple[dict[str, Any], Places]:
    """The main table's runs of some methods, OnceEdit last, and where each number is found.

    Returns:
        Runs by name, and places by data set, title and model.
    """
    others, ours = baselines(scale, seed), once(scale, seed)
    places = {
        (data, title, model): others.where[f"{data}, {model}", PRINTED[title]]
        for data in DATA[scale]
        for title in titles
        for model in MODELS[scale]
    }
    places |= {
        (data, "OnceEdit", model): ours.where[f"{data}, {model}", "onceedit"]
        for data in DATA[scale]
        for model in MODELS[scale]
    }
    used = {where.run for where in places.values()}
    runs = {**ours.runs, **others.runs}
    return {name: config for name, config in runs.items() if name in used}, places


def over_models(places: Places, reader: Reader, data: str, title: str) -> Named:
    """A method's mean over the models, the paper's score."""
    own = [where for (d, t, _), where in places.items() if (d, t) == (data, title)]
    return Named(f"{title} on {data}", mean_over(reader, own))


def _scored(config: Any, scale: str) -> None:
    """After all edits, by both of EasyEdit's protocols."""
    config.eval.immediate = False
    config.eval.generate = ("before", "after_all")
    config.eval.protocols = PROTOCOLS
    config.checkpoint_every = config.facts.limit
    config.dtype = "float32" if scale == TINY else "bfloat16"
