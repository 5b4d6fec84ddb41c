"""OnceEdit, Tables 5 and 9: what it costs to join a plug-in to one more model. Counted, not run.

    python -m jaxedit.report --batch=runs/onceedit_table5.py --out=out/runs

Operations of appendix C from the models' shapes and the numbers of anchors that DeePEn's rule finds
in the real tokenizers (31,999, 24,184 and 17,830 with TinyLlama; a test finds them again); the
paper's 12.638, 9.552 and 9.739 TFLOPs and 973, 683 and 886 tokens come out to the last digit. At
the tiny scale the embedded models' own are beside them.
"""

import dataclasses

from jaxedit.architectures import ARCHITECTURES
from jaxedit.batches.batch import Batch
from jaxedit.ensemble.costs import migration
from jaxedit.models.families import read_config
from jaxedit.papers.claims import FAILS, HOLDS, Claim, Verdict
from jaxedit.papers.printed import table
from jaxedit.papers.readers import Found, Value, seconds_an_edit
from jaxedit.papers.tables import Row, Table

PLUGIN = "TinyLlama/TinyLlama-1.1B-intermediate-step-1431k-3T"
MODELS = {
    "Llama2-7B": ("meta-llama/Llama-2-7b-hf", 31_999),
    "Mistral-7B-v0.1": ("mistralai/Mistral-7B-v0.1", 24_184),
    "GPT-J-6B": ("EleutherAI/gpt-j-6b", 17_830),
}
COSTS = ("TFLOPS/token", "TFLOPS", "Num")
SIZES = ("Vocab. Size", "AW Num", "Embedding Dim.")


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    del seed
    return Batch(
        title="OnceEdit, Tables 5 and 9: joining a model",
        about="Operations of both relative transfer matrices, and tokens that cost as much.",
        runs={},
        tables=(
            Table(
                "Table 5: operations",
                dict.fromkeys(COSTS, seconds_an_edit),
                [Row({"model": name}, costs(name)) for name in MODELS],
                table("onceedit", "5"),
                unit="",
            ),
            Table(
                "Table 9: vocabularies",
                dict.fromkeys(SIZES, seconds_an_edit),
                [Row({"model": name}, sizes(name)) for name in MODELS],
                table("onceedit", "9"),
                unit="",
            ),
        ),
        claims=(
            Claim(
                "Appendix C's count gives Table 5 to the last digit.",
                "OnceEdit, section 5.2 and appendix C",
                exact,
            ),
        ),
    )


def numbers(name: str) -> tuple[float, float, int]:
    hub, anchors = MODELS[name]
    plugin = read_config(ARCHITECTURES[PLUGIN])
    with_gate = dataclasses.replace(plugin, vocab_size=plugin.vocab_size + 1)  # [WEIGHT]
    made = migration(read_config(ARCHITECTURES[hub]), with_gate, anchors)
    return made.tera_per_token, made.tera, made.tokens


def costs(name: str):
    return lambda found: dict(zip(COSTS, map(Value, numbers(name)), strict=True))


def sizes(name: str):
    config = read_config(ARCHITECTURES[MODELS[name][0]])
    values = (config.vocab_size, MODELS[name][1], config.d_model)
    return lambda found: dict(zip(SIZES, map(Value, map(float, values)), strict=True))


def exact(found: Found) -> Verdict:
    del found
    printed = table("onceedit", "5")
    wrong = [
        f"{name} {column}: {ours:g} for {printed.value(column, model=name):g}"
        for name in MODELS
        for column, ours in zip(COSTS, numbers(name), strict=True)
        if ours != printed.value(column, model=name)
    ]
    said = "; ".join(f"{name} {numbers(name)[1]:.3f} TFLOPs" for name in MODELS)
    return Verdict(FAILS, "; ".join(wrong)) if wrong else Verdict(HOLDS, said)
