"""What each method runs with on the shipped models, chosen on the world's tuning pool of facts."""

from __future__ import annotations

from typing import Any


def method_settings(layer: int) -> dict[str, dict[str, Any]]:
    """Fields of the editors that differ from what a model's methods share.

    Args:
        layer: the one that methods of a single layer edit.
    """
    wider: dict[str, Any] = {"clamp_norm_factor": 8.0}
    return {
        "ft": {"layers": [layer], "learning_rate": 2e-3},
        "ft_l": {"layers": [layer], "learning_rate": 2e-3, "norm_constraint": 0.02},
        "ft_m": {"layers": [layer], "learning_rate": 2e-3},
        "locft_bf": {"layers": [layer], "learning_rate": 4e-3, "minibatch": 16, "steps": 50},
        "rome": {"layers": [layer], "values": wider},
        "r_rome": {"layers": [layer], "values": wider},
        "emmet": {"layers": [layer]},
        "pmet": {"values": {"kl_factor": 1.0, "relaxed_factor": 0.1}},
        "alphaedit": {"threshold": 0.1, "ridge": 1.0},
        "ike": {"shown": 0},  # the models take 128 tokens
    }


def hyper_settings(
    *modules: str,
    mend: tuple[int, ...] = (3, 4, 5),
    malmen: tuple[int, ...] = (5, 6, 7),
) -> dict[str, dict[str, Any]]:
    """How MEND and MALMEN train and edit; see their editors. The default layers are for 8 blocks.

    Chosen for the GPT-J model on the tuning pool. There MEND's single edits, and ten in sequence or
    in one batch, reach nine tokens in ten and more, in other words too; a hundred leave nothing of
    the model, either way. MALMEN keeps nine in ten of a hundred in one batch, and three quarters
    where they come ten by ten. The Llama model takes MEND less well: eight in ten, singly or ten in
    one batch, and nothing of ten in sequence. The plug-in keeps seven in ten, singly, ten in
    sequence or ten in one batch; of a hundred MALMEN keeps three quarters in one batch there, and
    half where they come ten by ten. The plug-in's shares are of whole targets, the others of their
    tokens.

    Args:
        modules: the linears of the MLP, which MEND edits.
        mend: layers that it edits.
        malmen: layers that MALMEN edits.
    """
    training = {
        "learning_rate": 1e-4,
        "final_share": 0.1,
        "validate_every": 50,
        "validation": 0.05,
    }
    shared = {"rank": 96, "remat": False}
    of_mend = {
        **shared,
        "layers": list(mend),
        "modules": list(modules),
        "rate": -1e-3,
        "edit_weight": 1.0,
        "training": {**training, "steps": 600, "batch": 4, "accumulate": 1},
    }
    of_malmen = {
        **shared,
        "layers": list(malmen),
        "rate": 3e-3,
        "rates_learning_rate": 3e-4,
        "training": {**training, "steps": 200, "batch": 16, "clip": 1.0},
    }
    return {"mend": of_mend, "malmen": of_malmen}


def plug_in_settings() -> dict[str, Any]:
    """How OnceEdit trains the shipped plug-in; see `jaxedit.ensemble.plug_batches.Training`.

    On the tuning pool (200 edits) over nine tenths of the paraphrases are answered anew, where Adam
    brings about three quarters there in more steps. Answers to unrelated questions are trained,
    too: the gate then opens to more paraphrases and to no more neighbours.
    """
    return {
        "optimiser": "muon",
        "learning_rate": 5e-3,
        "epochs": 10,
        "batch": 8,
        "ratio": 3.0,
        "warmup": 10,
        "final_share": 0.05,
        "end_of_text": True,
        "learn_unrelated": True,
    }


def codebook_settings(grace: int, defer: int) -> dict[str, dict[str, Any]]:
    """How GRACE and DEFER edit, each behind the down-projection of a layer of its own.

    On the tuning pool (100 edits of the GPT-J) GRACE reaches 99 % of the edits, none of their
    paraphrases and moves no neighbour. Above the layers named, a value reaches an answer's later
    tokens less surely; below them, the ends of prompts about different subjects are too alike. The
    radius is the published one. Six times as large, a ball takes in a tenth of the paraphrases;
    a layer further up, twelve times as large, a third, and there one edit in ten fails.

    Args:
        grace: the layer of GRACE.
        defer: the layer of DEFER.
    """
    return {
        "grace": {"layers": [grace], "steps": 100, "stop_below": 0.05},
        "defer": {"layers": [defer], "learning_rate": 2e-3},
    }


def cache_settings() -> dict[str, Any]:
    """How SERAC's two parts are trained for models of eight blocks; see its editor."""
    training = {
        "steps": 500,
        "batch": 32,
        "learning_rate": 0.02,
        "final_share": 0.05,
        "warmup": 20,
        "validate_every": 50,
        "validation": 0.07,
    }
    return {"serac": {"depth": 3, "optimiser": "muon", "end_of_text": True, "training": training}}


def side_memory_settings(layer: int, rate: float = 1.0, margins: float = 1.0) -> dict[str, Any]:
    """How WISE edits, with more unrelated and earlier texts beside each edit than published.

    Chosen on the tuning pool. With one unrelated question beside an edit, the router is soon open
    to nearly everything; with several and no replay it forgets the edits; with the published weight
    the margins leave too little of what was learnt. Ten edits fill a version, as 500 do whose
    matrix has 350 times as many entries. Versions are not merged: what two of them move adds up,
    which carries most unrelated prompts over the thresholds.

    Args:
        layer: with the side memory.
        rate: of the steps.
        margins: in units of those published for Llama-2.
    """
    return {
        "wise": {
            "layers": [layer],
            "learning_rate": rate,
            "alpha": 5 * margins,
            "beta": 20 * margins,
            "gamma": 10 * margins,
            "steps": 35,
            "margin_weight": 0.05,
            "unrelated_rows": 8,
            "replay": 8,
            "save_freq": 10,
            "merge_freq": 10,
        }
    }
