"""The adapter against the harness's own model type for Hugging Face models, with torch."""

import warnings
from pathlib import Path

import pytest

pytest.importorskip("lm_eval", reason='needs pip install -e ".[harness,parity]"')
pytest.importorskip("torch", reason='needs pip install -e ".[harness,parity]"')
pytest.importorskip("accelerate", reason='needs pip install -e ".[harness,parity]"')

from lm_eval.api.instance import Instance

from jaxedit.downstream.harness import HarnessModel
from jaxedit.models.loading import resolve
from tests.shared import SHARED, needs_shared

TALE = "Once upon a time there was a girl named Lily. She liked the big red ball."
LONG = " ".join(f"{TALE} Number {i} was a dog." for i in range(16))
PAIRS = [
    ("Once upon a time", " there was a little girl"),
    ("Once upon a time", " the"),
    ("", "Once upon"),
    ("Lily said ", " yes"),  # spaces go over to the answer
    ("Tim", "my ran."),
    ("A\n\nB", "\nand more"),
    (LONG, " She liked to play"),
]
UNTIL = [
    ("Once upon a time", {"until": ["."], "max_gen_toks": 24}),
    ("Lily and Tim", {"until": ["\n\n", "girl"], "max_gen_toks": 24}),
    ("The big dog", {"until": [], "max_gen_toks": 24}),
]


@pytest.fixture(
    scope="module",
    params=[
        "embedded:llama",
        pytest.param("embedded:gptj", marks=pytest.mark.slow),
        pytest.param("stories260K", marks=[pytest.mark.slow, needs_shared]),
    ],
)
def both(request):
    """Theirs and ours on the same directory."""
    name = request.param
    directory = resolve(name) if ":" in name else Path(SHARED or "") / "models" / name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's and transformers' own
        from lm_eval.models.huggingface import HFLM

        theirs = HFLM(pretrained=str(directory), device="cpu", dtype="float32", batch_size=4)
    return theirs, HarnessModel(str(directory))


def ask(kind: str, *arguments) -> Instance:
    return Instance(kind, {}, arguments, 0)


def test_loglikelihoods_and_greediness_agree(both):
    asked = [ask("loglikelihood", *pair) for pair in PAIRS]
    theirs, ours = (model.loglikelihood(asked, disable_tqdm=True) for model in both)
    assert [total for total, _ in ours] == pytest.approx([total for total, _ in theirs], abs=1e-4)
    assert [greedy for _, greedy in ours] == [greedy for _, greedy in theirs]
    assert [cut > 0 for cut in both[1].dropped] == [False] * (len(PAIRS) - 1) + [True]


def test_what_is_generated_is_greedy_for_both(both):
    asked = [ask("generate_until", *pair) for pair in UNTIL]
    theirs, ours = (model.generate_until(asked, disable_tqdm=True) for model in both)
    assert ours == theirs
    (said,) = both[1].lm.continuations([UNTIL[2][0]], 24)
    row = (None, both[1].tok_encode(UNTIL[2][0]), list(said.ids))
    scored = [model._loglikelihood_tokens([row], disable_tqdm=True)[0] for model in both]
    assert [greedy for _, greedy in scored] == [True, True]
    assert scored[1][0] == pytest.approx(scored[0][0], abs=1e-4)


def test_rolling_loglikelihoods_agree(both):
    asked = [ask("loglikelihood_rolling", text) for text in (TALE, LONG, "A")]
    theirs, ours = (model.loglikelihood_rolling(asked, disable_tqdm=True) for model in both)
    assert ours == pytest.approx(theirs, rel=1e-6, abs=1e-3)
