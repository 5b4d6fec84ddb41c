"""Statistics on disk: a file a layer, passes that go on, and wrong files that are never used."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from jaxedit.editors import moment_files
from jaxedit.editors import statistics as passes
from jaxedit.editors.corpus import Corpus
from jaxedit.editors.resources import fingerprint, statistics
from jaxedit.editors.statistics import Moments
from jaxedit.errors import UserError
from tests.tiny import tiny_model

NAMES = ("Mira", "Tolan", "Ester", "Jovan", "Arden")
TEXTS = [f"{NAMES[i % 5]} {i}" for i in range(500)]  # four batches of one shape


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    (tmp_path / "corpus.txt").write_text("\n".join(TEXTS))
    return Corpus(str(tmp_path / "corpus.txt"))


def make(corpus: Corpus, cache: Path, layers: tuple[int, ...] = (1,), **how: Any) -> Moments:
    return statistics(tiny_model(), layers, corpus, documents=500, cache=cache, **how)


def files(cache: Path) -> list[Path]:
    return sorted(path for path in cache.iterdir())


class Batches:
    """Counts the batches that the model runs on, and fails or stops after some."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.layers: list[tuple[int, ...]] = []
        self.fail_after: tuple[int, type[BaseException]] | None = None
        plain = passes.data_parallel_sum

        def counted(fn: Any, mesh: Any, **static: Any) -> Any:
            call = plain(fn, mesh, **static)

            def run(*inputs: Any) -> Any:
                if self.fail_after and len(self.layers) == self.fail_after[0]:
                    raise self.fail_after[1]
                self.layers.append(static["layers"])
                return call(*inputs)

            return run

        monkeypatch.setattr(passes, "data_parallel_sum", counted)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Batches:
    return Batches(monkeypatch)


def test_only_layers_that_are_not_there_are_computed(corpus: Corpus, tmp_path: Path, run: Batches):
    cache = tmp_path / "cache"
    first = make(corpus, cache, (1, 2))
    assert len(files(cache)) == 2
    second = make(corpus, cache, (1, 2, 3))
    third = make(corpus, cache, (3, 1))
    assert run.layers == [(1, 2)] * 4 + [(3,)] * 4
    assert list(second.matrices) == [1, 2, 3] and list(third.matrices) == [1, 3]
    assert first.tokens == second.tokens == third.tokens
    assert np.array_equal(first.matrices[1], third.matrices[1])
    assert np.array_equal(second.matrices[3], third.matrices[3])


def test_each_part_of_the_key_asks_for_another_file(corpus: Corpus, tmp_path: Path):
    lm, cache = tiny_model(), tmp_path / "cache"
    other = lm.with_params(jax.tree.map(lambda x: x * 1.001, lm.params))
    (tmp_path / "other.txt").write_text("Mira 1")
    statistics(lm, (1,), corpus, tokens=50, cache=cache)
    statistics(lm, (1,), corpus, tokens=60, cache=cache)
    statistics(lm, (1,), corpus, documents=50, cache=cache)
    statistics(lm, (1,), corpus, tokens=50, length=3, cache=cache)
    statistics(lm, (1,), Corpus(str(tmp_path / "other.txt")), tokens=50, cache=cache)
    statistics(other, (1,), corpus, tokens=50, cache=cache)
    assert len(files(cache)) == 6


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_stopped_pass_goes_on_with_equal_numbers(
    corpus: Corpus,
    tmp_path: Path,
    run: Batches,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException],
):
    monkeypatch.setattr(passes, "GROUP", 200)  # three groups, of two batches and one
    whole = make(corpus, tmp_path / "whole", (1, 2))
    count, cache = len(run.layers), tmp_path / "cache"
    run.layers.clear()
    run.fail_after = (3, error)
    # An interruption is written down when it comes; for others there is the last record.
    with pytest.raises(error):
        make(corpus, cache, (1, 2), every=1e9 if error is KeyboardInterrupt else 0)
    [path] = files(cache)
    assert path.name.startswith("unfinished-")
    run.fail_after = None
    again = make(corpus, cache, (1, 2))
    assert len(run.layers) == count == 5
    assert again.tokens == whole.tokens
    for layer in (1, 2):
        assert np.array_equal(again.matrices[layer], whole.matrices[layer])
    assert [path.name[:7] for path in files(cache)] == ["moments"] * 2


def test_a_pass_of_other_layers_is_not_taken(corpus: Corpus, tmp_path: Path, run: Batches):
    run.fail_after = (2, KeyboardInterrupt)
    with pytest.raises(KeyboardInterrupt):
        make(corpus, tmp_path, (1, 2))
    run.fail_after = None
    make(corpus, tmp_path, (1,))
    assert run.layers == [(1, 2)] * 2 + [(1,)] * 4


def relabelled(path: Path, **changes: Any) -> None:
    """Writes the file again with another label."""
    with np.load(path) as stored:
        arrays = dict(stored)
    label = {**json.loads(str(arrays["label"])), **changes}
    np.savez(path, **{**arrays, "label": json.dumps(label, sort_keys=True)})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "f" * 64}, r"model ffffffffffff\.\.\. instead of \w+\.\.\."),
        ({"layer": 2}, "layer 2 instead of 1"),
        ({"corpus": "model 0"}, "corpus model 0 instead of"),
        ({"documents": 7}, "documents 7 instead of 500"),
        ({"site": "mlp.up.in"}, "site mlp.up.in instead of mlp.down.in"),
    ],
)
def test_a_file_of_something_else_is_refused(
    corpus: Corpus, tmp_path: Path, changes: dict[str, Any], said: str
):
    make(corpus, tmp_path / "cache")
    [path] = files(tmp_path / "cache")
    relabelled(path, **changes)
    with pytest.raises(UserError, match=rf"{path.name} holds something else .*{said}.*remove"):
        make(corpus, tmp_path / "cache")


def test_a_renamed_file_of_another_layer_is_refused(corpus: Corpus, tmp_path: Path):
    make(corpus, tmp_path / "cache", (1, 2))
    one, two = files(tmp_path / "cache")
    shutil.copy(two, one)
    with pytest.raises(UserError, match="layer 2 instead of 1"):
        make(corpus, tmp_path / "cache")


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_damaged_file_is_reported_and_made_again(
    corpus: Corpus, tmp_path: Path, caplog: pytest.LogCaptureFixture, content: bytes | None
):
    first = make(corpus, tmp_path / "cache")
    [path] = files(tmp_path / "cache")
    path.write_bytes(path.read_bytes()[:-1000] if content is None else content)
    with caplog.at_level(logging.WARNING):
        again = make(corpus, tmp_path / "cache")
    assert f"{path.name} is not used" in caplog.text
    assert np.array_equal(first.matrices[1], again.matrices[1])
    assert make(corpus, tmp_path / "cache").tokens == first.tokens


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (np.full((48, 48), np.nan), "are not finite"),
        (np.eye(47), r"have shape \(47, 47\)"),
        (np.eye(48) + np.eye(48, k=1), "are not symmetric"),
    ],
)
def test_a_matrix_that_cannot_be_one_is_refused(
    corpus: Corpus, tmp_path: Path, matrix: np.ndarray, said: str
):
    make(corpus, tmp_path / "cache")
    [path] = files(tmp_path / "cache")
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez(path, **{**arrays, "matrix": matrix})
    with pytest.raises(UserError, match=rf"{path.name} \(remove it\): .* layer 1 {said}"):
        make(corpus, tmp_path / "cache")


def test_what_is_kept_of_a_model_is_listed(corpus: Corpus, tmp_path: Path):
    make(corpus, tmp_path / "cache", (2, 1))
    shutil.copy(tmp_path / "corpus.txt", tmp_path / "cache" / "moments-of-mine.npz")
    found = moment_files.listed(tmp_path / "cache", fingerprint(tiny_model()))
    assert [one.label["layer"] for one in found] == [1, 2]
    assert {one.source for one in found} == {corpus.source}
    assert moment_files.listed(tmp_path / "cache", "0" * 64) == []
    assert moment_files.listed(tmp_path / "nowhere", "0" * 64) == []


def test_a_cache_that_cannot_be_written_is_named(corpus: Corpus, tmp_path: Path, run: Batches):
    with pytest.raises(UserError, match=r"cache .* cannot be written .*\$JAXEDIT_CACHE"):
        make(corpus, tmp_path / "corpus.txt" / "cache")
    assert not run.layers


def test_another_model_has_another_fingerprint():
    lm = tiny_model()
    other = lm.with_params(jax.tree.map(lambda x: x * 1.001, lm.params))
    assert fingerprint(lm) == fingerprint(tiny_model()) != fingerprint(other)


def test_bad_input_is_named(tmp_path: Path, corpus: Corpus):
    with pytest.raises(UserError, match=r"nowhere\.txt does not exist.*'model'"):
        statistics(tiny_model(), (1,), Corpus("nowhere.txt"), cache=tmp_path)
    with pytest.raises(UserError, match="layer 9 does not exist"):
        statistics(tiny_model(), (1, 9), corpus, cache=tmp_path)
    (tmp_path / "empty.txt").write_text("\n \n")
    with pytest.raises(UserError, match=r"empty\.txt holds no text"):
        statistics(tiny_model(), (1,), Corpus(str(tmp_path / "empty.txt")), cache=tmp_path)
