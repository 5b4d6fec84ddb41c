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
    }
