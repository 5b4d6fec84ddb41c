"""How alpha lies: numbers, and a picture that shows them."""

import dataclasses
from xml.etree import ElementTree

import pytest

from jaxedit.ensemble.histograms import alpha_histograms, picture
from jaxedit.ensemble.plugin import alpha, with_gate
from jaxedit.metrics.formats import FORMATS
from tests.tiny import SENTENCES, tiny_model


def test_histograms_and_their_picture():
    plugin = with_gate(tiny_model())
    form = "onceedit_counterfact"
    made = alpha_histograms(
        plugin, {"edits": SENTENCES, "none": [], "neighbours": SENTENCES[:2]}, form
    )
    wrapped = [FORMATS[form].replace("{}", text) for text in SENTENCES]
    assert [one.kind for one in made] == ["edits", "neighbours"]
    values = alpha(plugin, wrapped)
    assert made[0].values == pytest.approx(values) and sum(made[0].counts) == len(SENTENCES)
    assert made[0].mean == pytest.approx(values.mean())
    assert made[0].open == (values >= 0.5).mean()
    plain = [dataclasses.asdict(one) for one in made]
    drawn = picture({"one": plain})
    assert len(drawn.panels) == 2
    assert "edits (5)" in drawn.panels[0] and "currentColor" in drawn.panels[0]
    assert ElementTree.fromstring(drawn.panels[1]).tag.endswith("svg")
    assert picture({"one": plain}) == drawn
    both = picture({"first arm": plain, "second arm": plain[1:]})
    assert "second arm" not in both.panels[0] and "edits (5)" in both.panels[0]
    assert "first arm" not in drawn.panels[0]


def test_the_formats_of_the_paper():
    assert FORMATS["onceedit_zsre"] == "Answer this question:\n[Question]: {}\n[Answer]:"
    expected = "Complete this half sentence.\n [Half Sentence]: {}\n[Answer]:"
    assert FORMATS["onceedit_counterfact"] == expected
