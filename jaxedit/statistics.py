"""Computes the statistics that editing a model needs, ahead of time, and says what they are like.

    python -m jaxedit.statistics --model=embedded:gptj
    python -m jaxedit.statistics --model=path/to/model --corpus=texts/ --documents=100000
    python -m jaxedit.statistics --model=path/to/model --show

One pass over the text serves all layers. What was computed before is not computed again, and an
interrupted pass goes on when the same command is given. ``--show`` lists what is kept.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from jaxedit import cli
from jaxedit.cache import default_cache
from jaxedit.config_checks import DTYPES
from jaxedit.editors import moment_files
from jaxedit.editors.corpus import EMBEDDED, MODEL, Corpus
from jaxedit.editors.resources import fingerprint, request, statistics
from jaxedit.editors.settings import settings_for
from jaxedit.editors.statistics import Budget, budget
from jaxedit.errors import UserError
from jaxedit.models.loading import load_model
from jaxedit.models.transformer import Transformer
from jaxedit.sharding import make_mesh

USUAL = "memit"  # the method whose layers are computed if none are named
NULL_SPACE = 0.02  # AlphaEdit's threshold: eigenvalues under it span what an edit may use


class Spectrum(NamedTuple):
    """What one layer's second moment is like.

    Attributes:
      mean: trace / d_ff, the mean square of a key's entry.
      largest: eigenvalue.
      smallest: eigenvalue; rounding may leave it below 0.
      null: share of the eigenvalues under AlphaEdit's threshold.
    """

    mean: float
    largest: float
    smallest: float
    null: float

    @property
    def condition(self) -> float:
        """Largest over smallest eigenvalue; infinite if that is not positive."""
        return self.largest / self.smallest if self.smallest > 0 else float("inf")


def spectrum(matrix: np.ndarray) -> Spectrum:
    """Of a second moment, [v, v] float64."""
    with jax.enable_x64(True):
        values = np.asarray(jnp.linalg.eigvalsh(jnp.asarray(matrix, jnp.float64)))
    return Spectrum(
        float(np.trace(matrix)) / len(matrix),
        float(values[-1]),
        float(values[0]),
        float(np.mean(values < NULL_SPACE)),
    )


def compute(
    lm: Transformer, layers: Sequence[int], corpus: Corpus, wanted: Budget, cache: Path
) -> None:
    """Prints what each layer's statistics are like; computes those that are not kept.

    Raises:
      UserError: see `jaxedit.editors.resources.statistics`.
    """
    corpus.check()
    asked = request(lm, corpus, wanted)
    paths = {layer: asked.path(cache, layer) for layer in layers}
    there = {layer for layer, path in paths.items() if path.is_file()}
    moments = statistics(lm, layers, corpus, **wanted._asdict(), cache=cache)
    print(f"{lm.name}: {moments.tokens} tokens of {corpus.source}, keys of width {lm.config.d_ff}")
    print(f"{'layer':>5} {'tokens':>9} {'trace/d_ff':>10} {'largest':>9} {'smallest':>9} ", end="")
    print(f"{'condition':>9} {'< ' + str(NULL_SPACE):>7}  file")
    for layer in layers:
        found = spectrum(moments.matrices[layer])
        how = "cached" if layer in there else "computed"
        print(
            f"{layer:>5} {moments.tokens:>9} {found.mean:>10.4g} {found.largest:>9.3g} "
            f"{found.smallest:>9.2g} {found.condition:>9.2g} {100 * found.null:>6.1f}%  "
            f"{how} {paths[layer]}"
        )


def show(lm: Transformer, cache: Path) -> None:
    """Prints what is kept of a model."""
    found = moment_files.listed(cache, fingerprint(lm))
    if not found:
        print(f"{lm.name}: nothing in {cache}")
    for one in found:
        label = one.label
        wanted = f"{label['documents']} documents" if label["documents"] else f"{label['tokens']}"
        print(
            f"layer {label['layer']}: {one.tokens} tokens ({wanted} wanted, documents of at most "
            f"{label['length']}) of {one.source}, {label['dtype']}: {one.path}"
        )


def choose_layers(lm: Transformer, given: Sequence[str] | None) -> list[int]:
    """The layers asked for, or those that are usually edited in this model, or all.

    Raises:
      UserError: a layer is no number, or the model does not have it.
    """
    if not given:
        try:
            return list(settings_for(lm.config, lm.name, USUAL)["layers"])
        except UserError:
            return list(range(lm.config.n_layers))
    for text in given:
        if not text.strip().isdigit() or int(text) >= lm.config.n_layers:
            raise UserError(
                f"--layers: {text!r} is no layer; {lm.name} has 0 to {lm.config.n_layers - 1}, "
                "to be given like --layers=1,2"
            )
    return sorted({int(text) for text in given})


def choose_corpus(model: str, given: str | None, seed: int) -> Corpus:
    """The text asked for, or an embedded model's own world.

    Raises:
      UserError: none is given and the model brings none.
    """
    if given is None and not model.startswith("embedded:"):
        raise UserError(
            "--corpus: missing; give a text file or folder like the model's training text, or "
            f"--corpus={MODEL} for text that the model writes itself"
        )
    return Corpus(given or EMBEDDED, seed)


def stop_gently(*_: Any) -> None:
    """A handler for SIGTERM: as Ctrl-C, so that how far the pass is gets written."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    _MODEL = flags.DEFINE_string("model", None, "a directory, a hub id or embedded:NAME")
    _CORPUS = flags.DEFINE_string("corpus", None, "a text file, a folder, 'embedded' or 'model'")
    _LAYERS = flags.DEFINE_list("layers", None, "default: those usually edited, or else all")
    _TOKENS = flags.DEFINE_integer("tokens", None, "how many; default 10 x d_ff")
    _DOCUMENTS = flags.DEFINE_integer("documents", None, "how many documents, instead")
    _LENGTH = flags.DEFINE_integer("length", None, "tokens kept of a document; default all")
    _DTYPE = flags.DEFINE_enum("dtype", "float32", DTYPES, "of the forward pass")
    _CACHE = flags.DEFINE_string("cache", None, "directory; default $JAXEDIT_CACHE")
    _SEED = flags.DEFINE_integer("seed", 0, "of the text that is generated")
    _SHOW = flags.DEFINE_bool("show", False, "only list what is kept of this model")

    _MESH = cli.mesh_flags()

    def _main() -> None:
        signal.signal(signal.SIGTERM, stop_gently)
        if not _MODEL.value:
            raise UserError("--model: missing; give a directory, a hub id or embedded:gptj")
        cache = Path(_CACHE.value) if _CACHE.value else default_cache()
        if _SHOW.value:
            show(load_model(_MODEL.value, _DTYPE.value), cache)
            return
        corpus = choose_corpus(_MODEL.value, _CORPUS.value, _SEED.value)
        corpus.check()
        lm = load_model(_MODEL.value, _DTYPE.value, make_mesh(**_MESH()))
        wanted = budget(lm, _TOKENS.value, _DOCUMENTS.value, _LENGTH.value)
        compute(lm, choose_layers(lm, _LAYERS.value), corpus, wanted, cache)

    cli.run(_main)
