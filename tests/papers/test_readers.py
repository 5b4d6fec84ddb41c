"""Numbers of a batch's runs: after all edits, on the way, in a target, over seeds."""

import pytest

from jaxedit.papers.readers import (
    Found,
    Value,
    Where,
    average,
    growth,
    immediate,
    mean_over,
    norm_growth,
    score,
    seconds_an_edit,
    seconds_of_editing,
    task,
    unedited,
)
from tests.papers import made

HERE = Where("run", "d4s")
EFFICACY = score("efficacy")
GENERATED = score(
    "reliability",
    decoding="generation",
    reading="token_accuracy",
    protocol="easyedit_generation",
)


def found(*arms: dict, **more) -> Found:
    return Found({"run": [made.result(*arms, **more)]})


def value(one: Value | None) -> float:
    assert one is not None
    return one.value


def test_a_score_after_all_edits_with_what_it_stands_on():
    one = EFFICACY(found(), HERE)
    assert one == Value(0.8, pytest.approx(0.7), pytest.approx(0.85), 10)  # type: ignore[arg-type]
    assert value(score("specificity", against="unedited")(found(), HERE)) == pytest.approx(0.65)
    assert value(GENERATED(found(), HERE)) == 0.8
    assert EFFICACY(found(), Where("run", "rome")) is None
    assert EFFICACY(Found(), HERE) is None and score("portability")(found(), HERE) is None


@pytest.mark.parametrize(
    ("at", "level"), [(0, 0.1), (5, 1.0), (10, 1.0), (11, 0.9), (20, 0.9), (25, None), (30, 0.8)]
)
def test_a_score_at_a_step_is_of_the_first_evaluation_past_it(at: int, level: float | None):
    one = EFFICACY(found(), HERE.after(at))
    assert (one and one.value) == (level and pytest.approx(level))


def test_before_any_edit_and_right_after_each():
    assert value(unedited("efficacy")(found(level=0.3), HERE)) == 0.3
    assert value(immediate("efficacy")(found(), HERE)) == pytest.approx(0.9)


def test_a_target_and_a_mode():
    told = found(made.arm(targets=made.fused(0.6)))
    there = Where("run", "d4s", target=made.TARGET)
    assert value(EFFICACY(told, there)) == 0.6
    assert value(EFFICACY(told, there.fused("deepen"))) == 0.15
    assert value(unedited("efficacy")(told, there)) == 0.0
    assert EFFICACY(told, there.fused("dw_zi")) is None
    assert EFFICACY(told, Where("run", "d4s", target="another")) is None
    assert unedited("efficacy")(found(), there) is None  # the arm has no targets at all


def test_seeds_give_their_mean_the_least_and_the_greatest():
    seeds = [made.result(made.arm(level=level)) for level in (0.2, 0.6, 0.4)]
    told = Found({"run": [*seeds, made.result(made.arm("another"))]})  # of whom one is not done
    assert EFFICACY(told, HERE) == Value(pytest.approx(0.4), 0.2, 0.6, 10, 3)  # type: ignore[arg-type]
    both = average(EFFICACY, score("paraphrase"))(told, HERE)
    assert both == Value(pytest.approx(0.375), seeds=3)  # type: ignore[arg-type]


def test_means_need_all_their_parts():
    told = Found({"run": [made.result()], "other": [made.result(made.arm(level=0.4))]})
    places = [HERE, Where("other", "d4s")]
    assert value(mean_over(EFFICACY, places)(told)) == pytest.approx(0.6)
    assert mean_over(EFFICACY, [*places, Where("gone", "d4s")])(told) is None
    assert mean_over(EFFICACY, [])(told) is None
    assert average(EFFICACY, score("portability"))(told, HERE) is None


def test_downstream_tests_by_their_usual_metric():
    names = ("world_facts", "arc_challenge")
    records = [
        {"step": step, "scores": made.task_scores(level, names)}
        for step, level in ((0, 0.9), (10, 0.8), (30, 0.6))
    ]
    told = found(made.arm(tasks=records))
    read = task("world_facts")
    levels = [value(read(told, HERE.after(at))) for at in (0, 1, 10, 11, None)]
    assert levels == [0.9, 0.8, 0.8, 0.6, 0.6]
    assert value(task("arc_challenge")(told, HERE)) == 0.3  # acc_norm
    assert task("winogrande")(told, HERE) is None and read(found(), HERE) is None
    lost = made.task_scores(0.5)
    lost[0]["value"] = None
    assert read(found(made.arm(tasks=[{"step": 0, "scores": lost}])), HERE) is None


def test_seconds_norms_and_perplexities_are_no_shares():
    told = found()
    perplexity = unedited("perplexity", reading="per_target")
    readers = [norm_growth, seconds_an_edit, seconds_of_editing, perplexity]
    values = [read(told, HERE) for read in readers]
    assert [value(one) for one in values] == [1.75, 0.25, 60.0, 20.0]
    assert not any(one and one.share for one in values)
    one = average(*readers[:2])(told, HERE)
    assert one is not None and not one.share
    none = found(made.arm(timing={}))
    assert seconds_an_edit(none, HERE) is None


def test_growth_on_the_way_and_where_there_is_none():
    arm = made.arm()
    assert [growth(arm, at) for at in (None, 30, 0, 10)] == [1.75, 1.75, 1.0, None]
    assert growth(made.arm(norms=[])) is None
    assert growth(made.arm(norms=[{"step": s, "layers": {}} for s in (0, 5)])) is None  # GRACE
    gone = {"layers_1/mlp.down": {"l1": None}}
    first = {"layers_1/mlp.down": {"l1": 0.5}}
    arm = made.arm(norms=[{"step": 0, "layers": first}, {"step": 5, "layers": gone}])
    assert growth(arm) is None  # a weight is not finite
