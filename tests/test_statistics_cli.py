"""The statistics' entry point: what it prints, what it keeps, how it stops."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxedit.editors.corpus import Corpus
from jaxedit.editors.statistics import Budget
from jaxedit.errors import UserError
from jaxedit.statistics import (
    choose_corpus,
    choose_layers,
    compute,
    show,
    spectrum,
    stop_gently,
)
from tests.tiny import SENTENCES, tiny_model

WANTED = Budget(None, 20, 16)


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    (tmp_path / "corpus.txt").write_text("\n".join(SENTENCES * 4))
    return Corpus(str(tmp_path / "corpus.txt"))


def test_a_layer_is_made_once_and_shown(
    tmp_path: Path, corpus: Corpus, capsys: pytest.CaptureFixture[str]
):
    cache = tmp_path / "cache"
    compute(tiny_model(), [1], corpus, WANTED, cache)
    first = capsys.readouterr().out
    compute(tiny_model(), [1], corpus, WANTED, cache)
    second = capsys.readouterr().out
    [path] = cache.glob("*.npz")
    assert first.splitlines()[-1].endswith(f"computed {path}")
    assert second == first.replace("computed /", "cached /")
    assert f"{corpus.source}, keys of width 48" in first
    show(tiny_model(), cache)
    shown = capsys.readouterr().out
    assert shown.startswith("layer 1: ") and "20 documents wanted" in shown and str(path) in shown
    show(tiny_model(), tmp_path / "nowhere")
    assert "nothing in" in capsys.readouterr().out


def test_the_spectrum_of_a_known_matrix():
    turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))
    found = spectrum(turn @ np.diag([0.01, 0.015, 1.0, 3.0]) @ turn.T)
    assert found.mean == pytest.approx(4.025 / 4)
    assert (found.largest, found.smallest) == (pytest.approx(3), pytest.approx(0.01))
    assert found.condition == pytest.approx(300)
    assert found.null == 0.5
    assert spectrum(np.diag([0.0, 1.0])).condition == float("inf")


def test_layers():
    assert choose_layers(tiny_model(), ["2", " 0"]) == [0, 2]
    assert choose_layers(tiny_model(), None) == [0, 1, 2, 3]  # none are published for its shape
    for wrong in ("4", "-1", "x"):
        with pytest.raises(UserError, match=r"--layers: .* is no layer; tiny has 0 to 3"):
            choose_layers(tiny_model(), [wrong])


def test_an_embedded_model_brings_its_text():
    assert choose_corpus("embedded:gptj", None, 3) == Corpus("embedded", 3)
    with pytest.raises(UserError, match="--corpus: missing"):
        choose_corpus("some/model", None, 0)


def test_a_polite_kill_is_an_interruption():
    with pytest.raises(KeyboardInterrupt):
        stop_gently(signal.SIGTERM, None)


def test_a_mistake_is_one_line():
    command = [
        sys.executable,
        "-m",
        "jaxedit.statistics",
        "--model=embedded:gptj",
        "--corpus=no.txt",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert done.stderr.startswith("error: the corpus no.txt does not exist")
    assert done.stderr.count("\n") == 1
