"""Memory by part, from shapes alone: also of models that are not here."""

import jax
import pytest

from jaxedit.config import run_config
from jaxedit.errors import UserError
from jaxedit.models import param_shapes
from jaxedit.preflight import Estimate, Part, estimate, known_shape, refuse_if_too_large
from jaxedit.run import dry_run
from tests.test_configs import published

GIB = 1024**3


def by_name(found: Estimate) -> dict[str, float]:
    return {part.name: part.size / GIB for part in found.parts}


def test_gptj_at_full_width():
    model = known_shape("EleutherAI/gpt-j-6b")
    parameters = sum(leaf.size for leaf in jax.tree.leaves(param_shapes(model)))
    assert parameters == 6_050_882_784  # as the published model has
    found = estimate(run_config(published("d4s_gptj")), model)
    sizes = by_name(found)
    assert sizes["parameters"] == pytest.approx(4 * parameters / GIB)
    assert sizes["D4S sums R K^T and K K^T, float64"] == pytest.approx(16.1e9 / GIB, rel=0.01)
    assert 60 < found.peak / GIB < 139  # one H200


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("meta-llama/Llama-2-7b-hf", 6_738),
        ("meta-llama/Meta-Llama-3-8B", 8_030),
        ("openai-community/gpt2-xl", 1_558),
    ],
)
def test_shapes_of_published_models(name: str, millions: int):
    leaves = jax.tree.leaves(param_shapes(known_shape(name)))
    assert sum(leaf.size for leaf in leaves) // 10**6 == pytest.approx(millions, abs=1)


def test_dry_run_prints_every_part_without_weights(capsys: pytest.CaptureFixture[str]):
    dry_run(run_config(published("d4s_gptj")))
    printed = capsys.readouterr().out
    for word in ("parameters", "values", "statistics", "D4S inverse", "cache", "checkpoint"):
        assert word in printed
    assert printed.splitlines()[-1].startswith("peak on one device")


def test_halving_the_dtype_halves_the_parameters():
    model = known_shape("EleutherAI/gpt-j-6b")
    raw = published("d4s_gptj")
    wide, narrow = (
        by_name(estimate(run_config({**raw, "dtype": dtype}), model))["parameters"]
        for dtype in ("float32", "bfloat16")
    )
    assert wide == 2 * narrow


def test_an_unknown_shape_and_a_layer_that_is_not_there():
    with pytest.raises(UserError, match="its shape is not known without one"):
        known_shape("someone/some-model")
    with pytest.raises(UserError, match=r"layer 28 does not exist; .* has layers 0 to 27"):
        dry_run(run_config({**published("d4s_gptj"), "layers": (3, 28)}))


def test_what_cannot_fit_names_its_largest_part():
    needed = Estimate("d4s", (Part("parameters", 3 * GIB, "always"), Part("sums", GIB, "editing")))
    refuse_if_too_large(needed, None)
    refuse_if_too_large(needed, 4 * GIB)
    with pytest.raises(UserError, match=r"needs about 4.0 GiB .* largest part is parameters"):
        refuse_if_too_large(needed, 3 * GIB)
