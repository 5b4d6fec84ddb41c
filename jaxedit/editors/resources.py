"""What an editor needs of a model once: statistics, kept on disk for the next run.

Statistics are kept under a hash of the model, its dtype, the layer's place, the corpus and the
number of tokens; a file says all of that inside, and one that says something else is refused.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import logging

from jaxedit.editors.corpus import Corpus
from jaxedit.editors.statistics import TOKENS_PER_WIDTH, Moments, second_moments
from jaxedit.models.transformer import Transformer

SAMPLE = 4096  # entries of a parameter that its fingerprint reads


def default_cache() -> Path:
    """$JAXEDIT_CACHE, or jaxedit/ in the user's cache directory."""
    chosen = os.environ.get("JAXEDIT_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(chosen) if chosen else Path(base) / "jaxedit"


def fingerprint(lm: Transformer) -> str:
    """A hash of the model: config, shapes, dtypes and evenly spread entries of every parameter."""
    digest = hashlib.sha256(repr(lm.config).encode())
    leaves, _ = jax.tree_util.tree_flatten_with_path(lm.params)
    for path, leaf in leaves:
        digest.update(f"{jax.tree_util.keystr(path)} {leaf.shape} {leaf.dtype}".encode())
        flat = leaf.reshape(-1)
        digest.update(np.asarray(flat[:: max(1, flat.size // SAMPLE)]).tobytes())
    return digest.hexdigest()


def statistics(
    lm: Transformer,
    layers: Sequence[int],
    corpus: Corpus,
    *,
    tokens: int | None = None,
    cache: Path | None = None,
) -> Moments:
    """Second moments of `layers`, from the cache where they are, else computed and kept.

    Args:
      lm: the unedited model.
      layers: which blocks.
      corpus: the text.
      tokens: how many; 10 x d_ff by default.
      cache: directory; `default_cache` by default.

    Raises:
      UserError: the corpus is not there or holds no text.
    """
    corpus.check()
    directory = default_cache() if cache is None else cache
    wanted = TOKENS_PER_WIDTH * lm.config.d_ff if tokens is None else tokens
    label = {
        "model": fingerprint(lm),
        "corpus": corpus.identity(),
        "tokens": wanted,
        "site": "mlp.down.in",
        "layers": sorted(layers),
    }
    path = directory / f"moments-{hashlib.sha256(_text(label).encode()).hexdigest()[:20]}.npz"
    kept = _load(path, label)
    if kept is not None:
        return kept
    logging.info("statistics: %d tokens of %s for layers %s", wanted, corpus.source, list(layers))
    moments = second_moments(lm, layers, corpus.texts(lm), tokens=wanted)
    _save(path, label, moments)
    return moments


def _text(label: dict) -> str:
    return json.dumps(label, sort_keys=True)


def _load(path: Path, label: dict) -> Moments | None:
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as stored:
            if str(stored["label"]) != _text(label):
                raise ValueError("it was made for something else")
            matrices = {j: stored[f"layer_{j}"] for j in label["layers"]}
            return Moments(matrices, int(stored["count"]))
    except (OSError, ValueError, KeyError, EOFError) as error:
        logging.warning("%s is not used (%s); the statistics are computed again", path, error)
        return None


def _save(path: Path, label: dict, moments: Moments) -> None:
    """Written beside and renamed, so that no reader sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}.part.npz")
    arrays: dict[str, Any] = {f"layer_{j}": matrix for j, matrix in moments.matrices.items()}
    np.savez(beside, label=_text(label), count=moments.tokens, **arrays)
    os.replace(beside, path)
