"""OnceEdit, Table 9: vocabularies, anchors and widths of the models. Counted, not run.

    python -m jaxedit.report --batch=runs/onceedit_table9.py --out=out/runs

The paper's 31,999, 24,184 and 17,830 anchors are what DeePEn's rule finds in the real tokenizers
with TinyLlama's (a test finds them again where the files are): Llama's lacks one of its own, for
its literal U+0120 is taken for a space. The embedded models have theirs beside them.
"""

from jaxedit.architectures import ARCHITECTURES
from jaxedit.batches.batch import Batch
from jaxedit.ensemble.anchors import find_anchors
from jaxedit.models.families import read_config
from jaxedit.models.loading import load_config, resolve
from jaxedit.models.text import Tokenizer
from jaxedit.papers import onceedit
from jaxedit.papers.claims import Claim, as_printed
from jaxedit.papers.printed import table
from jaxedit.papers.readers import Found, Value, seconds_an_edit
from jaxedit.papers.scale import PAPER, TINY
from jaxedit.papers.tables import Row, Table

SIZES = ("Vocab. Size", "AW Num", "Embedding Dim.")


def get_batch(scale: str = "tiny", seed: int = 0) -> Batch:
    del seed
    rows = [Row({"model": name}, printed_sizes(name)) for name in onceedit.ANCHORS]
    if scale == TINY:
        rows += [Row({"model": name}, embedded(name)) for name in onceedit.MODELS[TINY].values()]
    return Batch(
        title="OnceEdit, Table 9: vocabularies and anchors",
        about="Tokens, those in common with the plug-in, and widths of the embeddings.",
        runs={},
        tables=(
            Table(
                "Sizes",
                dict.fromkeys(SIZES, seconds_an_edit),
                rows,
                table("onceedit", "9"),
                unit="",
            ),
        ),
        claims=(
            Claim(
                "Vocabularies, anchors and widths are as printed.",
                "OnceEdit, Table 9",
                as_printed(table("onceedit", "9"), numbers, list(onceedit.ANCHORS)),
            ),
        ),
    )


def numbers(name: str) -> tuple[int, int, int]:
    config = read_config(ARCHITECTURES[onceedit.MODELS[PAPER][name]])
    return config.vocab_size, onceedit.ANCHORS[name], config.d_model


def printed_sizes(name: str):
    return lambda found: told(numbers(name))


def embedded(name: str):
    """Of an embedded model, from its tokenizer and the plug-in's."""

    def read(found: Found) -> dict[str, Value]:
        del found
        here, plugin = resolve(name), resolve(onceedit.PLUGINS[TINY]["Tiny-Llama"])
        config = load_config(here)
        shared = find_anchors(Tokenizer.from_dir(here), Tokenizer.from_dir(plugin))
        return told((config.vocab_size, shared.count, config.d_model))

    return read


def told(sizes: tuple[int, int, int]) -> dict[str, Value]:
    values = (Value(float(size), share=False) for size in sizes)
    return dict(zip(SIZES, values, strict=True))
