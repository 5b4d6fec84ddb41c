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
