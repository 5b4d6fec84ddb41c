"""What an editor needs of a model once: statistics, kept on disk for the next run.

Each layer's statistics are kept by themselves, under a hash of the model, its dtype, the layer,
the place in it, the corpus and how much of it is read. A pass that is interrupted goes on when
the same is asked for again, and ends with the same numbers (on a CPU, bit for bit).
"""

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

import jax
from absl import logging

from jaxedit import hosts
from jaxedit.cache import default_cache
from jaxedit.editors import moment_files
from jaxedit.editors.corpus import Corpus
from jaxedit.editors.moment_files import Request
from jaxedit.editors.statistics import (
    Budget,
    Moments,
    Pass,
    budget,
    check_moments,
    finish,
    go_through,
)
from jaxedit.editors.weights import check_layers
from jaxedit.errors import UserError
from jaxedit.models.transformer import Transformer
from jaxedit.progress import progress
from jaxedit.sharding import fetch, replicate

SAMPLE = 4096  # entries of a parameter that its fingerprint reads
SECONDS_BETWEEN_SAVES = 60.0
SAVING_SHARE = 10  # a pass computes at least so many times as long as it writes


def fingerprint(lm: Transformer) -> str:
    """A hash of the model: config, shapes, dtypes and evenly spread entries of every parameter."""
    digest = hashlib.sha256(repr(lm.config).encode())
    leaves, _ = jax.tree_util.tree_flatten_with_path(lm.params)
    for path, leaf in leaves:
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.shape} {leaf.dtype}".encode())
        flat = leaf.reshape(-1)
        digest.update(fetch(flat[:: max(1, flat.size // SAMPLE)]).tobytes())
    return digest.hexdigest()


def request(lm: Transformer, corpus: Corpus, wanted: Budget) -> Request:
    """The key under which statistics are kept."""
    dtype = str(lm.params["embed"]["tokens"].dtype)  # the forward pass follows it
    return Request(fingerprint(lm), dtype, corpus.identity(), *wanted)


def statistics(
    lm: Transformer,
    layers: Sequence[int],
    corpus: Corpus,
    *,
    tokens: int | None = None,
    documents: int | None = None,
    length: int | None = None,
    cache: Path | None = None,
    every: float = SECONDS_BETWEEN_SAVES,
) -> Moments:
    """Second moments of `layers`: from the cache where they are, else computed and kept.

    One pass computes all layers that are not there, and only those.

    Args:
      lm: the unedited model.
      layers: which blocks.
      corpus: the text.
      tokens: how many; 10 x d_ff by default.
      documents: how many documents instead; the published recipe takes 100,000.
      length: tokens kept of a document; the model's maximum by default.
      cache: directory; `default_cache` by default.
      every: seconds between two records of how far the pass is, at least.

    Raises:
      UserError: a layer or the corpus is not there, or it holds no text; a file of the cache is
        of something else; the cache cannot be written; a key is not finite.
    """
    corpus.check()
    directory = default_cache() if cache is None else Path(cache)
    wanted = budget(lm, tokens, documents, length)
    asked = request(lm, corpus, wanted)
    layers = sorted(set(layers))
    check_layers(lm, tuple(layers))
    kept = {}
    for layer in layers:
        found = moment_files.load(asked.path(directory, layer), asked.label(layer), lm.config.d_ff)
        if found is not None and found.matrix is not None:
            kept[layer] = found
    there = hosts.agree([layer in kept for layer in layers])
    missing = [layer for layer, known in zip(layers, there, strict=True) if not known]
    kept = {layer: found for layer, found in kept.items() if layer not in missing}
    matrices = {layer: found.matrix for layer, found in kept.items()}
    seen = min((found.tokens for found in kept.values()), default=0)
    if missing:
        check_writable(directory)
        computed = _computed(lm, missing, corpus, wanted, asked, directory, every)
        matrices, seen = {**matrices, **computed.matrices}, computed.tokens
    return Moments({layer: matrices[layer] for layer in layers}, seen)


def _computed(
    lm: Transformer,
    layers: list[int],
    corpus: Corpus,
    wanted: Budget,
    asked: Request,
    directory: Path,
    every: float,
) -> Moments:
    """Second moments from a pass that goes on where an earlier one stopped; they are kept."""
    devices = lm.mesh.data
    beside = asked.pass_path(directory, layers, devices)
    label = asked.pass_label(layers, devices)
    begun = moment_files.load_pass(beside, label)
    if begun is not None:
        logging.info("statistics: going on after %d tokens (%s)", begun.tokens, beside)
        with jax.enable_x64(True):
            begun = begun._replace(sums=replicate(begun.sums, lm.mesh))
    state = _followed(lm, layers, corpus, wanted, begun, (beside, label), every)
    name = f"the corpus {corpus.source}"
    moments = finish(state, wanted, name)
    check_moments(moments.matrices, layers, lm.config.d_ff, name)
    if hosts.first():
        moment_files.save(
            {asked.path(directory, j): (asked.label(j), moments.matrices[j]) for j in layers},
            moments.tokens,
            corpus.source,
        )
        beside.unlink(missing_ok=True)
    return moments


def _followed(
    lm: Transformer,
    layers: list[int],
    corpus: Corpus,
    wanted: Budget,
    begun: Pass | None,
    beside: tuple[Path, dict],
    every: float,
) -> Pass | None:
    """The pass to its end, shown, and recorded every so often and when it is interrupted."""
    counted = "documents" if wanted.tokens is None else "tokens"
    total = wanted.documents or wanted.tokens or 0
    state, saved = begun, begun
    start = 0 if begun is None else begun.start
    done = 0 if begun is None else min(getattr(begun, counted), total)
    title = f"statistics of layers {', '.join(map(str, layers))}"
    wait, last = every, time.monotonic()
    try:
        with progress(title, total, done, unit=counted) as advance:
            for state in go_through(lm, layers, corpus.texts(lm, start), wanted, begun):
                now = min(getattr(state, counted), total)
                advance(now - done)
                done = now
                if time.monotonic() - last >= wait:
                    began = time.monotonic()
                    _save_pass(*beside, state)
                    saved, last = state, time.monotonic()
                    wait = max(every, SAVING_SHARE * (last - began)) if every else 0.0
    except KeyboardInterrupt:
        if state is not None and state is not saved:
            _save_pass(*beside, state)
        raise
    return state


def _save_pass(path: Path, label: dict, state: Pass) -> None:
    if hosts.first():
        moment_files.save_pass(path, label, state)


def check_writable(directory: Path) -> None:
    """Says before hours of work that they could not be kept.

    Raises:
      UserError: the directory cannot be made, or written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        reason = None if os.access(directory, os.W_OK) else "permission denied"
    except OSError as error:
        reason = error.strerror
    if reason is not None:
        raise UserError(
            f"the cache {directory} cannot be written ({reason}); give another one, with --cache, "
            "cache= or $JAXEDIT_CACHE"
        )
