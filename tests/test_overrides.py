"""Which settings the command line may give, and what their texts mean."""

from typing import Any

import pytest
from ml_collections import ConfigDict

from jaxedit.errors import UserError
from jaxedit.overrides import check_override, is_left_out, is_ours, put


def config() -> ConfigDict:
    arm = {"method": "ft_m", "values": {"steps": 2}}
    return ConfigDict({"seed": 0, "arms": {"ft": arm, "bare": {}}}, sort_keys=False).lock()


@pytest.mark.parametrize(
    ("path", "left_out", "ours"),
    [
        ("config.seed", False, False),
        ("config.arms.ft.method", False, False),
        ("config.arms.ft.training.epochs", True, True),
        ("config.arms.ft.values.rate", True, True),
        ("config.arms.ft.values.steps", False, True),  # config_flags would find the dictionary's
        ("config.arms.ft.values.steps.x", False, True),
        ("config.arms.bare.rate", False, False),  # no method, whose setting it could be
        ("config.arms.gone.rate", False, False),
        ("config.eval.rate", False, False),
    ],
)
def test_whose_setting_it_is(path: str, left_out: bool, ours: bool):
    assert (is_left_out(config(), path), is_ours(config(), path)) == (left_out, ours)


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("config.sed", "1", r"^--config.sed: no such setting; did you mean seed\?"),
        ("config.arms.gone.rate", "1", "^--config.arms.gone: no such setting"),
        ("config.arms.bare.rate", "1", "^--config.arms.bare.rate: no such setting"),
        ("config.arms.ft.values.steps.x", "1", "steps.x: no such setting; it is a value"),
        ("config.arms.ft.values.steps", "many", "values.steps: expected int, got 'many'"),
    ],
)
def test_what_is_refused(path: str, value: str, said: str):
    with pytest.raises(UserError, match=said):
        check_override(config(), path, value)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        *(("3", 3), ("1e-3", 1e-3), ("None", None), ("(1,2)", (1, 2)), ("false", False)),
        *(("soft", "soft"), ("a b", "a b"), ("", "")),
    ],
)
def test_what_a_text_means(text: str, meant: Any):
    changed = config()
    for path in ("config.arms.ft.training.x.y", "config.arms.ft.values.steps"):
        check_override(changed, path, "1")
        put(changed, path, text)
    arm = changed.to_dict()["arms"]["ft"]
    assert arm["training"] == {"x": {"y": meant}}
    assert arm["values"] == {"steps": meant} and type(arm["values"]["steps"]) is type(meant)
    assert arm["method"] == "ft_m" and changed.is_locked
