"""Greedy traces of the published ensemble: text and ids of every step, and what is chosen.

The stored weights of [WEIGHT] stay in the plug-in's distribution there, and end-of-text has no
part of its own.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jaxedit.ensemble.anchors import find_anchors
from jaxedit.ensemble.decode import Parts, Rules, decode_ids
from jaxedit.ensemble.fusion import Fusion
from jaxedit.ensemble.plugin import Plugin
from jaxedit.ensemble.relative import make_space
from jaxedit.ensemble.sync import MODES, Sync
from tests.ensemble import golden_models
from tests.shared import needs_golden

pytestmark = needs_golden


def traces(main: str, mode: str) -> list[dict[str, Any]]:
    return [t for t in golden_models.read("greedy_sync.json")[main] if t["sync"] == mode]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("main", golden_models.mains())
def test_text_and_ids_of_every_step(main: str, mode: Any) -> None:
    sync = Sync(golden_models.tokenizer(main), golden_models.tokenizer("plug"), mode)
    for trace in traces(main, mode):
        ids: tuple[int, ...] = ()
        for step, stored in enumerate(trace["steps"]):
            read = sync.read(trace["prompt"], trace["main_new_ids"][:step], ids)
            assert read.text == stored["plug_text"]
            assert list(read.ids) == stored["plug_ids"]
            assert read.ids[: read.kept] == ids[: read.kept]
            ids = read.ids
        assert sync.read(trace["prompt"], trace["main_new_ids"]).text == trace["final_text"]


@pytest.mark.parametrize("main", golden_models.mains())
def test_tokens_with_caches(main: str, tmp_path: Path) -> None:
    target, lm = golden_models.model(main, tmp_path), golden_models.model("plug", tmp_path)
    gate = golden_models.read("configs.json")["weight_token_id"]
    anchors = find_anchors(target.tokenizer, lm.tokenizer, "deepen")
    space = make_space(target.params["embed"]["tokens"], lm.params["embed"]["tokens"], anchors)
    for mode in MODES:
        stored = traces(main, mode)
        for kind in dict.fromkeys(trace["mode"] for trace in stored):
            own = [trace for trace in stored if trace["mode"] == kind]
            fusion = Fusion(mode=kind, mask_gate=False, eos="fuse")
            sync = Sync(target.tokenizer, lm.tokenizer, mode)
            parts = Parts(target, Plugin(lm, gate), space, fusion, sync)
            made = decode_ids(
                parts,
                [trace["prompt"] for trace in own],
                [target.tokenizer.encode(trace["prompt"]) for trace in own],
                np.array([trace["alpha"] for trace in own], np.float32),
                Rules((), max(len(trace["main_new_ids"]) for trace in own)),
            )
            expected = [trace["main_new_ids"] for trace in own]
            assert [ids[: len(e)] for ids, e in zip(made, expected, strict=True)] == expected
