"""Published hyper-parameters: the fields of each method's editor, for each model that has any.

Sources: the hparams folders of the authors' repositories (ROME and MEMIT of kmeng01, PMET,
AlphaEdit, unified-model-editing for EMMET, UltraEdit, LocFT) and EasyEdit's where the authors have
none. D4S runs with EasyEdit's MEMIT files. Where two of them differ, the authors' own stands here.
"""

from collections.abc import Mapping
from typing import Any

from jaxedit.editors.meta_training import MetaTraining
from jaxedit.editors.pmet import RELAXED
from jaxedit.editors.values import ValueSettings

GPT2_XL, GPT_J, LLAMA_2, LLAMA_3 = "gpt2-xl", "gpt-j-6b", "llama-2-7b", "llama-3-8b"
MISTRAL, QWEN = "mistral-7b", "qwen2.5-7b"

# (model_type, d_model, n_layers, vocabulary): Llama-2 and Llama-3 differ in the last.
SHAPES: Mapping[tuple[str, int, int, int], str] = {
    ("gpt2", 1600, 48, 50257): GPT2_XL,
    ("gptj", 4096, 28, 50400): GPT_J,
    ("llama", 4096, 32, 32000): LLAMA_2,
    ("llama", 4096, 32, 128256): LLAMA_3,
    ("mistral", 4096, 32, 32000): MISTRAL,
    ("mistral", 4096, 32, 32768): MISTRAL,
    ("qwen2", 3584, 28, 152064): QWEN,
}

Fields = dict[str, Any]
Table = dict[str, dict[str, Fields]]


def _values(
    steps: int, rate: float, decay: float, clamp: float, kl: float = 0.0625, relaxed: float = 1.0
) -> ValueSettings:
    return ValueSettings(
        steps=steps,
        learning_rate=rate,
        weight_decay=decay,
        clamp_norm_factor=clamp,
        kl_factor=kl,
        relaxed_factor=relaxed,
    )


def _located(layers: tuple[int, ...], values: ValueSettings, weight: float, **more: Any) -> Fields:
    return {"layers": layers, "values": values, "moment_weight": weight, **more}


_THREE_TO_EIGHT, _FOUR_TO_EIGHT = tuple(range(3, 9)), tuple(range(4, 9))
_GPT2_LAYERS = tuple(range(13, 18))
_SHORT, _GPTJ = _values(20, 0.5, 0.5, 0.75), _values(25, 0.5, 0.5, 0.75)
_LLAMA, _LLAMA3 = _values(25, 0.5, 1e-3, 4.0), _values(25, 0.1, 0.5, 0.75)
_LEGACY = {"legacy_targets": True}  # made with the bare "▁" of Llama-2's tokenizer

_ROME = {
    GPT2_XL: _located((17,), _values(20, 0.5, 0.5, 4.0), 1.0),
    GPT_J: _located((5,), _values(20, 0.5, 0.5, 4.0), 1.0),
    LLAMA_2: _located((5,), _LLAMA, 1.0, **_LEGACY),
    LLAMA_3: _located((5,), _LLAMA, 1.0),
    MISTRAL: _located((5,), _LLAMA, 1.0),
    QWEN: _located((5,), _LLAMA, 1.0),
}
_MEMIT = {
    GPT2_XL: _located(_GPT2_LAYERS, _SHORT, 20_000.0),
    GPT_J: _located(_THREE_TO_EIGHT, _GPTJ, 15_000.0),
    LLAMA_2: _located(_FOUR_TO_EIGHT, _LLAMA, 15_000.0, **_LEGACY),
    LLAMA_3: _located(_FOUR_TO_EIGHT, _LLAMA3, 15_000.0),
    MISTRAL: _located(_FOUR_TO_EIGHT, _LLAMA, 15_000.0),
    QWEN: _located(_FOUR_TO_EIGHT, _LLAMA, 15_000.0),
}


def _null_space(layers: tuple[int, ...], values: ValueSettings, ridge: float) -> Fields:
    return {"layers": layers, "values": values, "threshold": 0.02, "ridge": ridge}


def _tuned(layer: int, **more: Any) -> Fields:
    return {"layers": (layer,), "learning_rate": 5e-4, "steps": 25, "weight_decay": 0.0, **more}


_FT = {
    GPT2_XL: _tuned(1),
    GPT_J: _tuned(21),
    LLAMA_2: _tuned(21, **_LEGACY),
    LLAMA_3: _tuned(21),
    QWEN: _tuned(27),
}


def _neurons(steps: int, threshold: float) -> Fields:
    return {"layers": (), "steps": steps, "threshold": threshold, "refine": False}


def _ultra(layers: tuple[int, ...], *modules: str) -> Fields:
    return {"layers": layers, "modules": modules, "learning_rate": 1e-6, "micro_batch": 10}


def _codebook(layer: int, steps: int) -> Fields:
    return {"layers": (layer,), "learning_rate": 1.0, "steps": steps, "radius": 1.0}


def _deferring(layer: int) -> Fields:
    return {"layers": (layer,), "learning_rate": 7e-5, "steps": 100, "threshold": 0.5}


def _beside(layer: int, alpha: float, beta: float, gamma: float) -> Fields:
    return {"layers": (layer,), "alpha": alpha, "beta": beta, "gamma": gamma}


def _linears(module: str, first: int, last: int) -> tuple[str, ...]:
    return tuple(f"layers_{layer}/{module}" for layer in range(first, last + 1))


def _rewriting(first: int, last: int, *modules: str, **more: Any) -> Fields:
    return {"layers": tuple(range(first, last + 1)), "modules": modules, **more}


_PLAIN_MLP, _GATED_MLP = ("mlp.up", "mlp.down"), ("mlp.gate", "mlp.up", "mlp.down")
_RLEDIT: Fields = {"rank": 1024, "blocks": 4, "local_weight": 0.6}  # MALMEN as RLEdit compares it

# EasyEdit's SERAC, but for the classifier's rate: ours is a matrix, not a DistilBERT.
_CACHED: Fields = {
    "objective": "joint",
    "inside_weight": 0.1,
    "outside_weight": 1.0,
    "others": 0,
    "swap": False,
    "key": "published",
    "floor": 0.0,
    "training": MetaTraining(
        steps=100_000, batch=10, accumulate=10, learning_rate=1e-5, patience=40_000
    ),
}

PUBLISHED: Table = {
    "ft": _FT,
    "ft_l": {
        GPT2_XL: _tuned(0, norm_constraint=5e-4),
        GPT_J: _tuned(0, norm_constraint=5e-5),
        MISTRAL: _tuned(21, norm_constraint=5e-5),
    },
    "ft_m": {
        **{model: {**fields, "legacy_targets": False} for model, fields in _FT.items()},
        GPT2_XL: _tuned(0, norm_constraint=5e-4),
        MISTRAL: _tuned(21, norm_constraint=5e-5),
    },
    "locft_bf": {
        LLAMA_3: _tuned(22, minibatch=100),
        MISTRAL: {**_tuned(23, minibatch=100, modules=("block",)), "learning_rate": 5e-5},
        QWEN: _tuned(6, minibatch=100),
    },
    "kn": {
        GPT2_XL: _neurons(20, 0.2),
        GPT_J: _neurons(20, 0.1),
        **{model: _neurons(1, 0.2) for model in (LLAMA_2, LLAMA_3, MISTRAL, QWEN)},
    },
    "rome": _ROME,
    "r_rome": {model: _ROME[model] for model in (GPT2_XL, GPT_J, LLAMA_2, QWEN)},
    "memit": _MEMIT,
    "d4s": _MEMIT,
    "emmet": {
        GPT2_XL: _located((17,), _SHORT, 1000.0, slack=0.1, norm_weight=0.0),
        GPT_J: _located((5,), _GPTJ, 1.0, slack=0.1, norm_weight=0.0),
        LLAMA_2: _located((5,), _LLAMA, 1.0, slack=0.1, norm_weight=0.0),
    },
    "pmet": {
        GPT_J: _located(_THREE_TO_EIGHT, _values(30, 0.2, 0.5, 0.75, 1.0, RELAXED), 6000.0),
        LLAMA_2: _located(_FOUR_TO_EIGHT, _values(20, 0.5, 0.5, 1.0, 0.0625, RELAXED), 15_000.0),
    },
    "alphaedit": {
        GPT2_XL: _null_space(_GPT2_LAYERS, _SHORT, 10.0),
        GPT_J: _null_space(_THREE_TO_EIGHT, _GPTJ, 10.0),
        LLAMA_3: _null_space(_FOUR_TO_EIGHT, _LLAMA3, 10.0),
        QWEN: _null_space(_FOUR_TO_EIGHT, _LLAMA, 1.0),
    },
    "ultraedit": {
        GPT_J: _ultra(tuple(range(18, 27)), "mlp.down"),
        LLAMA_3: _ultra(
            (*range(11, 16), *range(18, 25)),
            *_linears("mlp.gate", 11, 15),
            *_linears("mlp.up", 18, 24),
        ),
        MISTRAL: _ultra((29, 30), "mlp.down"),
        QWEN: _ultra(tuple(range(18, 27)), "mlp.gate", "mlp.up"),
    },
    "mend": {
        GPT_J: _rewriting(25, 27, *_PLAIN_MLP),
        LLAMA_2: _rewriting(29, 31, *_GATED_MLP),
        MISTRAL: _rewriting(29, 31, *_GATED_MLP),
        QWEN: _rewriting(25, 27, *_GATED_MLP),
    },
    "malmen": {
        GPT2_XL: _rewriting(42, 47, "mlp.down"),
        GPT_J: _rewriting(22, 27, "mlp.down"),
        LLAMA_3: _rewriting(22, 30, "mlp.gate", "mlp.up", **_RLEDIT),
        MISTRAL: _rewriting(17, 18, "mlp.down", **_RLEDIT),
    },
    "retrieval": {},
    "ike": {},  # 32 demonstrations: the editor's default
    "grace": {
        GPT_J: _codebook(25, 200),
        LLAMA_2: _codebook(27, 50),
        MISTRAL: _codebook(27, 50),  # Llama-2's, whose shape it has; it has no file of its own
        QWEN: _codebook(18, 50),
    },
    "defer": {GPT_J: _deferring(25), LLAMA_2: _deferring(27), MISTRAL: _deferring(27)},
    "wise": {  # GPT-J's margins were found with versions that lack the bias: see `legacy`
        GPT_J: _beside(21, 15.0, 40.0, 20.0),
        LLAMA_2: _beside(27, 5.0, 20.0, 10.0),
        MISTRAL: _beside(27, 5.0, 20.0, 10.0),
        QWEN: _beside(23, 5.0, 20.0, 10.0),
    },
    "serac": {GPT_J: _CACHED, LLAMA_2: _CACHED},
    "onceedit": {},  # the paper gives a learning rate and lambda: the editor's defaults
}
