"""What methods need that keep their edits beside the model, or train something once.

GRACE, DEFER and WISE put a memory behind one linear, SERAC a second model beside the first; MEND
and MALMEN train a network; retrieval and IKE ask longer questions. From shapes alone, as in
`preflight`: parts by name, in bytes on one device. Nothing of this is split over devices.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from jaxedit.editors import EDITORS
from jaxedit.editors.captures import CHUNK
from jaxedit.editors.defer import Defer
from jaxedit.editors.grace import Grace
from jaxedit.editors.hyper_editor import HyperEditor
from jaxedit.editors.ike import Ike
from jaxedit.editors.in_context import Retrieval
from jaxedit.editors.malmen import Malmen
from jaxedit.editors.scope import SMALLEST
from jaxedit.editors.serac import Serac
from jaxedit.editors.settings import fields
from jaxedit.editors.side_memory import FIRST
from jaxedit.editors.weights import DOWN
from jaxedit.editors.wise import Wise
from jaxedit.errors import UserError
from jaxedit.models import ModelConfig, param_shapes
from jaxedit.models.families import FAMILIES
from jaxedit.models.loading import load_config, resolve
from jaxedit.preflight_ensemble import BLOCK, COLUMNS, WIDE, parameter_count

DOUBLE = 8  # bytes of a float64
TRAINED = 8  # parameters, moments and a gradient: 2 + 4 beside a step's results, 1, and the best, 1

Parts = Mapping[str, int]


@dataclass(frozen=True)
class Needs:
    """Of one method.

    Attributes:
        written: entries of the kernels that it changes.
        kept: parts that stay from the first edit on.
        training: while something is trained, before the first edit.
        editing: while an edit is made.
        host: in a process's own memory.
        checkpoint: bytes.
        front: tokens that stand before a question, at most.
        others: models that are asked besides.
    """

    written: int = 0
    kept: Parts = field(default_factory=dict)
    training: Parts = field(default_factory=dict)
    editing: Parts = field(default_factory=dict)
    host: Parts = field(default_factory=dict)
    checkpoint: int = 0
    front: int = 0
    others: tuple[ModelConfig, ...] = ()


class Sizes(NamedTuple):
    """What a method's needs depend on besides its settings.

    Attributes:
        model: its shape.
        name: what it is loaded as.
        edits: in all.
        batch: edits an update.
        tokens: of a prompt.
    """

    model: ModelConfig
    name: str
    edits: int
    batch: int
    tokens: int


def needs(method: str, settings: Mapping[str, Any], sizes: Sizes) -> Needs | None:
    """Those of a method with these settings; None of one that this page is not about."""
    if not issubclass(EDITORS[method], HyperEditor | Serac | Retrieval | Grace | Defer | Wise):
        return None
    known = fields(method)
    editor = EDITORS[method](**{name: own for name, own in settings.items() if name in known})
    if isinstance(editor, HyperEditor):
        return _of_network(editor, sizes)
    if isinstance(editor, Serac):
        return _of_serac(editor, sizes)
    if isinstance(editor, Retrieval):
        return _of_context(editor, sizes)
    [shape] = kernel_shapes(sizes.model, editor.layers[:1], [getattr(editor, "module", DOWN)])
    if isinstance(editor, Grace):
        return _of_codebook(editor, shape, sizes.edits)
    return _of_maps(shape) if isinstance(editor, Defer) else _of_versions(editor, shape, sizes)


def kernel_shapes(
    model: ModelConfig, layers: Iterable[int], modules: Iterable[str]
) -> list[tuple[int, int]]:
    """(inputs, outputs) of these linears of each of these layers.

    Raises:
        UserError: the model has no such linear.
    """
    block, linears = param_shapes(model)["layers_0"], FAMILIES[model.hf_type].linears
    found = []
    for module in modules:
        if module not in linears:
            known = ", ".join(linears)
            raise UserError(f"the model has no linear {module!r} to edit; it has {known}")
        outer, inner = module.split(".")
        found.append(block[outer][inner]["kernel"].shape)
    return [shape for _ in layers for shape in found]


def network_size(shapes: Iterable[tuple[int, int]], rank: int, blocks: int) -> int:
    """Trained numbers of MEND's and MALMEN's networks for kernels of these shapes."""
    shapes = list(shapes)
    total = len(shapes)  # a rate each
    for shape in set(shapes):
        width = sum(shape)
        total += blocks * width * (2 * rank + 1 + 2 * shapes.count(shape))
    return total


def versions(editor: Wise, edits: int) -> int:
    """The most versions that WISE has stored at any time of so many edits."""
    group = editor.merge_freq // editor.save_freq
    merges, rest = divmod(edits, editor.merge_freq)
    kept = merges if editor.retrieve else min(merges, 1)
    before = (kept - 1 if editor.retrieve else min(merges - 1, 1)) + group if merges else 0
    return max(before, kept + rest // editor.save_freq)


def _of_codebook(editor: Grace, shape: tuple[int, int], edits: int) -> Needs:
    entry = WIDE * (sum(shape) + 1)
    capacity = _doubled(editor.capacity, edits + 1)
    return Needs(
        kept={"codebook, with room for more": capacity * entry},
        editing={"codebook before an edit": capacity * entry},
        checkpoint=edits * entry,
    )


def _of_maps(shape: tuple[int, int]) -> Needs:
    maps = WIDE * (shape[0] + 1 + (shape[0] + 1) * shape[1])
    return Needs(
        kept={"gate and map": maps},
        editing={"the same before an edit, gradient, Adam's moments": 4 * maps},
        checkpoint=maps,
    )


def _of_versions(editor: Wise, shape: tuple[int, int], sizes: Sizes) -> Needs:
    one, most = WIDE * math.prod(shape), versions(editor, sizes.edits)
    slots = _doubled(FIRST, most) if most else 0
    step = 4 * one  # gradient, decay, which entries are trained, and what is stepped from
    merged = (slots + 2 * editor.merge_freq // editor.save_freq) * one if most else 0
    return Needs(
        kept={"side memory: the version in training and those stored": (1 + slots) * one},
        editing={"a step of it, or a merge": max(step, merged)},
        checkpoint=(1 + most) * one,
    )


def _of_serac(editor: Serac, sizes: Sizes) -> Needs:
    model, training = sizes.model, editor.training
    other = editor.shape(model, sizes.name)
    read = [1 if blocks is None else len(blocks) for blocks in (editor.last, editor.mean)]
    reader = model if editor.encoder is None else load_config(resolve(editor.encoder))
    features = reader.d_model * sum(read)
    encoder = WIDE * parameter_count(reader) if editor.encoder else 0
    answers, classifier = WIDE * parameter_count(other), WIDE * features * (editor.width + 1)
    cache = _doubled(SMALLEST, sizes.edits) * editor.width * WIDE
    rows = training.batch * (1 if editor.objective == "apart" else 2)
    learned = rows * (_run(other, 2 * sizes.tokens) + COLUMNS * other.vocab_size * BLOCK)
    return Needs(
        kept={
            "counterfactual model, float32": answers,
            "scope classifier with its encoder, cached edits": classifier + cache + encoder,
        },
        training={
            "counterfactual model and classifier in training": TRAINED * (answers + classifier),
            "activations of a batch of answers": learned + encoder,
        },
        host={"cached edits": cache},
        checkpoint=cache,
        front=sizes.tokens,
        others=(other,),
    )


def _of_network(editor: HyperEditor, sizes: Sizes) -> Needs:
    model, training = sizes.model, editor.training
    shapes = kernel_shapes(model, editor.layers, editor.modules)
    written, widths = sum(map(math.prod, shapes)), sum(map(sum, shapes))
    size = WIDE * network_size(shapes, editor.rank, editor.blocks)
    tokens = sizes.tokens if editor.tokens == "all" else COLUMNS
    above = model.n_layers - editor.layers[0]
    ran = _run(model, sizes.tokens, 1 if editor.remat else above)
    ran += WIDE * above * sizes.tokens * model.d_model  # what enters each block
    rows = 2 * training.batch  # where the edit should show, and where not
    at_once = min(CHUNK, sizes.batch)
    passed = WIDE * tokens * widths * (2 + 3 * editor.blocks)
    solved = _solved(shapes, sizes.batch * tokens) if isinstance(editor, Malmen) else 0
    whole = _run(model, sizes.tokens, above) + COLUMNS * model.vocab_size * BLOCK
    name = "captured keys and gradients"
    return Needs(
        written=written,
        kept={"network, float32": size},
        training={
            "network in training": TRAINED * size,
            f"{name}, through the network and back": training.batch * passed,
            "kernels as edited, their change and its gradient": 3 * WIDE * written,
            "activations of a batch of edits": rows * (ran + COLUMNS * model.vocab_size * BLOCK),
        },
        editing={
            f"{name} of an update": at_once * (2 * tokens * widths * WIDE + whole) + solved,
            "change of the kernels": WIDE * written,
        },
        checkpoint=WIDE * written,
    )


def _solved(shapes: Iterable[tuple[int, int]], rows: int) -> int:
    """Rows of every kernel until they are solved, or their sums in float64; and one factor."""
    held = sum(min(rows * WIDE * (i + o), DOUBLE * i * (i + o)) for i, o in shapes)
    return held + DOUBLE * max(min(rows, i) ** 2 + i * o for i, o in shapes)


def _of_context(editor: Retrieval, sizes: Sizes) -> Needs:
    shown = editor.shown if isinstance(editor, Ike) else 0
    said = sizes.tokens // 2  # tokens of a fact
    front = said * (editor.most + 2 * (shown + bool(shown)))
    held = WIDE * sizes.model.d_model * (sizes.edits + len(editor.demonstrations))
    room = max(0, sizes.model.max_positions - sizes.tokens)
    return Needs(host={"facts' features": held}, checkpoint=held, front=min(front, room))


def _run(model: ModelConfig, tokens: int, layers: int | None = None) -> int:
    """What a row keeps of some blocks for its gradient, float32."""
    block = 8 * model.d_model + 3 * model.d_ff + model.n_heads * tokens
    return WIDE * tokens * block * (model.n_layers if layers is None else layers)


def _doubled(size: int, least: int) -> int:
    while size < least:
        size *= 2
    return size
