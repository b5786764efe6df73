"""The decision of a diagnosis and its words, by hand and on random decisions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msam_bench.analysis.balance import EFFECT, Balance, BalanceState, weigh
from msam_bench.analysis.contrasts import family
from msam_bench.analysis.sentences.balance import balance_sentences
from msam_bench.metrics.measure import Measure
from msam_bench.metrics.uncertainty import Estimate, RunScores, combined


def estimate(points, error=0.4, n=12):
    return Estimate(points / 100, error / 100, n - 1, n, "samples", False, n / 2, 400)


def contrasts_of(**points):
    made = {name: each if isinstance(each, Estimate) else estimate(each) for name, each in points.items()}
    return family(made, EFFECT)


def balance(contributions, gaps, joint=30, synergy=5, redundancy=0, apart=None):
    ordered = dict(sorted(contributions.items(), key=lambda pair: -pair[1]))
    leader, *others = ordered
    one = lambda points: contrasts_of(only=points)["only"]  # noqa: E731
    return Balance(
        Measure(),
        0.55,
        one(joint),
        contrasts_of(**ordered),
        contrasts_of(**{name: ordered[name] - ordered[leader] for name in others}),
        contrasts_of(**gaps),
        one(synergy),
        one(redundancy),
        leader,
        contrasts_of(**(apart or dict.fromkeys(contributions, 20))),
    )


def test_dominated():
    found = balance({"text": 24, "audio": 6}, {"text": 0.1, "audio": 8})
    assert found.state is BalanceState.DOMINATED
    assert balance_sentences(found)[:2] == (
        "text dominates: it contributes 24.0 of 30.0 points above the majority class, audio 6.0 "
        "(adjusted p < 0.0001), and another modality is under-used.",
        "Under-used, since encoders trained apart learn more: audio by +8.00 points ([+6.97, +9.03], adjusted p < "
        "0.0001).",
    )


def test_led_without_an_underused_partner_is_not_dominated():
    found = balance({"text": 24, "audio": 6}, {"text": 0.1, "audio": 0.2})
    assert found.state is BalanceState.LED
    assert "dominates" not in " ".join(balance_sentences(found))


@pytest.mark.parametrize("lead", [1.9, 0.0])
def test_no_lead_below_the_smallest_effect(lead):
    found = balance({"text": 15 + lead, "audio": 15}, {"text": 0.1, "audio": 8})
    assert found.state is BalanceState.UNDERUSED


def test_balanced_is_shown_by_equivalence():
    assert balance({"text": 15.2, "audio": 15}, {"text": 0.1, "audio": 0.2}).state is BalanceState.BALANCED
    assert balance({"text": 16.5, "audio": 15}, {"text": 0.1, "audio": 0.2}).state is BalanceState.UNDECIDED
    assert balance({"text": 15.2, "audio": 15}, {"text": 0.1, "audio": 1.7}).state is BalanceState.UNDECIDED


def test_nothing_is_weighed_where_the_model_knows_nothing():
    found = balance({"text": 24, "audio": 6}, {"text": 0.1, "audio": 8}, joint=0.5)
    assert found.state is BalanceState.NOTHING
    (sentence,) = balance_sentences(found)
    assert sentence.startswith("joint is not shown to be better than the majority class (55.00 %; the difference fits ")
    assert "nothing to balance" in sentence


def test_too_few_seeds_are_told():
    found = balance({"text": 24, "audio": 6}, {"text": estimate(0, n=3), "audio": estimate(8, n=3)})
    assert found.state is BalanceState.UNTESTED
    assert balance_sentences(found)[0].startswith("Too few seeds to tell (n = ")


def test_what_is_silent_shared_and_told_only_together():
    found = balance({"text": 29, "audio": 0.1}, {"text": 0, "audio": 0}, redundancy=9, synergy=12)
    words = balance_sentences(found)
    assert "Nothing that matters is contributed by audio +0.10 points ([" in words[2]
    assert words[3].startswith("Synergy: joint is +12.00 points ([")
    assert words[4].startswith("Redundancy: +9.00 points ([")
    alone = balance({"a": 15, "b": 15}, {"a": 0, "b": 0}, synergy=30, apart={"a": 0.1, "b": -0.2})
    assert "no modality alone is shown to tell anything" in " ".join(balance_sentences(alone))


points = st.floats(-9, 30).map(lambda x: round(x, 2))
names = ["text", "audio", "video"]
decisions = st.builds(
    balance,
    st.fixed_dictionaries(dict.fromkeys(names, points)),
    st.fixed_dictionaries(dict.fromkeys(names, points)),
    points,
    points,
    points,
    st.fixed_dictionaries(dict.fromkeys(names, points)),
)


@settings(max_examples=100, deadline=None)
@given(decisions)
def test_the_sentences_of_a_diagnosis_do_not_contradict_one_another(found):
    words = " ".join(balance_sentences(found))
    has = {
        key: key in words
        for key in ("dominates:", " leads:", "Balanced:", "is shown to lead", "is shown to be under-used", "Under-used")
    }
    assert sum(has[key] for key in ("dominates:", " leads:", "Balanced:", "is shown to lead")) == (
        found.state is not BalanceState.NOTHING
    )
    assert not (has["Under-used"] and has["is shown to be under-used"])
    if has["dominates:"]:
        assert has["Under-used"]
    if has["Balanced:"]:
        assert not has["Under-used"]
    assert has["Under-used"] == (bool(found.starved) and found.state is not BalanceState.NOTHING)
    for name in found.silent if found.state is not BalanceState.NOTHING else ():
        assert f"{name} dominates" not in words
        assert f"{name} leads" not in words


def test_weighing_subtracts_chance_from_every_modality():
    rows, n = np.arange(40), 6
    run = lambda value: {s: RunScores.of(np.full(40, value), rows) for s in range(n)}  # noqa: E731
    found = weigh(
        Measure(),
        run(0.9),
        run(0.5),
        {"a": run(0.65), "b": run(0.25)},
        {"a": run(0.9), "b": run(0.5)},
        {"a": (run(0.9), run(0.9)), "b": (run(0.5), run(0.5))},
    )
    means = {name: each.difference for name, each in found.contributions.items()}
    assert means == pytest.approx({"a": 0.4, "b": 0.0})
    assert found.synergy.difference == pytest.approx(0)
    assert found.redundancy.difference == pytest.approx(0)
    assert (found.best, found.chance) == ("a", 0.5)


def test_combined_scores():
    one = {0: RunScores.of(np.array([1.0, 0.0]), np.arange(2)), 1: RunScores(0.5)}
    twice = combined((1, one), (1, one))
    assert twice[0].contributions.tolist() == [2.0, 0.0]
    assert (twice[0].score, twice[1].score, twice[1].contributions) == (1.0, 1.0, None)
    assert list(combined((1, one), (1, {0: one[0]}))) == [0]
