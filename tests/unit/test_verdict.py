"""Verdicts: what sentences say is read back from their words and checked, on hand-made pages and on random ones."""

import itertools
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from msam_bench.analysis.contrasts import Contrast, Decision, family
from msam_bench.analysis.leader import Leader, leading
from msam_bench.analysis.sentences.verdict import sentences, text
from msam_bench.analysis.stability import Collapse
from msam_bench.analysis.verdict import Baselines, Chance, Claim, Divergence, Relation, Verdict, alone, contradictions
from msam_bench.metrics.measure import Measure
from msam_bench.metrics.uncertainty import Estimate

BEATS, EQUALS, OPEN, UNSEPARATED = Relation
CHANCE = "the majority class"


def estimate(points, error=0.4, n=12, basis="samples", fixed=False):
    return Estimate(points / 100, error / 100, n - 1, n, basis, fixed, wins=n / 2, units=400)


def page(methods, apart=None, ensemble=None, above=None, reference="joint", **more):
    """A page as the product builds it, from mean differences in points (or estimates)."""
    made = {name: each if isinstance(each, Estimate) else estimate(each) for name, each in methods.items()}
    contrasts = family(made)
    baselines = None
    if apart:
        simple = {name: each if isinstance(each, Estimate) else estimate(each) for name, each in apart.items()}
        if ensemble is not None:
            simple["+"] = ensemble if isinstance(ensemble, Estimate) else estimate(ensemble)
        rows = family(simple)
        together = rows.pop("+", None)
        baselines = Baselines(rows, together)
    found = Verdict(Measure(), reference, contrasts, baselines=baselines, **more)
    known = found.contrasts

    def pair(first, second):
        means = {reference: 0.0, **{name: each.difference for name, each in known.items()}}
        return Estimate(means[first] - means[second], 0.004, 11, 12, "samples", False, 6.0, 400)

    chance = None
    if above is not None:
        rows = [reference, *known]
        values = above if isinstance(above, dict) else dict.fromkeys(rows, above)
        chance = Chance(0.687, family({name: estimate(values.get(name, 30)) for name in rows}))
    return replace(found, leader=leading(reference, known, pair) if known else None, chance=chance)


# ---- a reader that knows nothing of the generator but English --------------------------------------------------------

AMOUNT = r" by \d+\.\d\d \w+ \(\[[^\]]*\], adjusted p [^)]*\)"
RANGE = r" at [+-]\d+\.\d\d \([^)]*\)"
CLEAN = re.compile(rf"{AMOUNT}|{RANGE}|, for which the data fit [+-][\d.]+ to [+-][\d.]+")


def names(part):
    return [each for each in re.split(r", | and ", CLEAN.sub("", part)) if each]


def read(sentence, reference="joint"):
    """The claims of a sentence, by its words alone."""
    said = CLEAN.sub("", sentence).rstrip(".")
    if found := re.match(r"Against (\w+) \(.*? matter\): (.*)", said):
        base, claims = found[1], []
        for part in found[2].split("; "):
            outcome, _, members = part.partition(": ")
            for name in names(members):
                if "better" in outcome:
                    claims.append(Claim(BEATS, name, base))
                elif "worse" in outcome:
                    claims.append(Claim(BEATS, base, name))
                else:
                    claims.append(Claim({"undecided": OPEN}.get(outcome, EQUALS), name, base))
        return claims
    if found := re.match(r"(.+) is the best: it is better than each of the other", said):
        return [("best", found[1])]
    if found := re.match(
        r"No single best is shown: (.+) has the highest mean(?: difference to \w+)?, and is not shown .* than (.+)",
        said,
    ):
        return [Claim(UNSEPARATED, found[1], name) for name in names(found[2])]
    if found := re.match(r"Fusion does not pay \(n = \d+\): better than (\w+) (?:is|are) (.+)", said):
        return [Claim(BEATS, name, found[1]) for name in names(found[2])]
    if found := re.match(r"Fusion pays.* \(n = \d+\): (\w+) is better than each modality alone", said):
        return [("pays", found[1])]
    if found := re.match(r"Fusion brings nothing that matters \(n = \d+\): (\w+) and (\w+ alone) differ", said):
        return [Claim(EQUALS, found[2], found[1])]
    if found := re.match(
        r"Fusion is not shown to pay \(n = \d+\): (\w+) is not shown to be better than (\w+ alone);", said
    ):
        return [Claim(UNSEPARATED, found[1], found[2])]
    if found := re.match(r"The late ensemble of the modalities is (better|worse) than (\w+)", said):
        pair = ("late ensemble", found[2])
        return [Claim(BEATS, *(pair if found[1] == "better" else pair[::-1]))]
    if found := re.match(r"The late ensemble of the modalities and (\w+) differ by less", said):
        return [Claim(EQUALS, "late ensemble", found[1])]
    if found := re.match(r"Whether the late ensemble of the modalities differs from (\w+) is undecided", said):
        return [Claim(OPEN, "late ensemble", found[1])]
    if re.match("Nothing here is shown to be better than", said):
        return [("nothing",)]
    if found := re.match(r"Not shown to be better than the majority class \(.*\): (.+)", said):
        return [Claim(UNSEPARATED, name, CHANCE) for name in names(found[1])]
    return []


def read_page(verdict):
    """All claims of a page by its words, general ones spelled out."""
    rows = [verdict.reference, *verdict.contrasts]
    for sentence in sentences(verdict):
        for each in read(sentence.text):
            match each:
                case ("best", name):
                    yield from (Claim(BEATS, name, other) for other in rows if other != name)
                case ("pays", name):
                    yield from (Claim(BEATS, name, alone(modality)) for modality in verdict.baselines.apart)
                case ("nothing",):
                    yield from (Claim(UNSEPARATED, name, CHANCE) for name in rows)
                case _:
                    yield each


def above_chance(verdict):
    shown = verdict.above_chance
    return [Claim(BEATS, name, CHANCE) for name in shown]


# ---- random pages ----------------------------------------------------------------------------------------------------

points = st.floats(-6, 6).map(lambda x: round(x, 2))
estimates = st.builds(
    estimate,
    points,
    st.sampled_from([0.05, 0.2, 0.6, 2.0]),
    st.sampled_from([3, 6, 12]),
    st.sampled_from(["samples", "seeds", "folds", "groups"]),
    st.booleans(),
)
ROWS = ["sam", "gnp", "msam", "umt", "agm", "lfm", "pmr", "mla", "asam", "esam"]


@st.composite
def pages(draw):
    methods = draw(st.dictionaries(st.sampled_from(ROWS), estimates, max_size=10))
    apart = draw(st.dictionaries(st.sampled_from(["text", "audio", "video"]), estimates, max_size=3))
    ensemble = draw(st.none() | estimates) if apart else None
    rows = ["joint", *methods, *map(alone, apart), *(["late ensemble"] if ensemble else [])]
    above = draw(st.none() | st.fixed_dictionaries(dict.fromkeys(rows, points)))
    return page(methods, apart, ensemble, above, untuned=draw(st.sampled_from([(), ("joint", "sam")])))


@settings(max_examples=150, deadline=None)
@given(pages())
def test_no_two_sentences_of_a_page_contradict(verdict):
    claims = [each for sentence in sentences(verdict) for each in sentence.claims]
    assert contradictions([*claims, *above_chance(verdict)]) == []


@settings(max_examples=150, deadline=None)
@given(pages())
def test_the_words_of_a_page_say_its_claims_and_nothing_else(verdict):
    claims = {each for sentence in sentences(verdict) for each in sentence.claims}
    assert set(read_page(verdict)) == claims


@settings(max_examples=100, deadline=None)
@given(pages())
def test_a_verdict_begins_with_untuned_where_settings_were_not_chosen(verdict):
    assert text(verdict).startswith("Untuned: ") == bool(verdict.untuned)


@settings(max_examples=100, deadline=None)
@given(pages())
def test_better_is_said_only_with_significance_and_relevance_only_beyond_the_margin(verdict):
    for contrast in verdict.contrasts.values():
        low, high = contrast.interval
        assert (contrast.outcome.direction != 0) == (not contrast.described and (low > 0 or high < 0))
        if contrast.outcome in (Decision.RELEVANTLY_BETTER, Decision.RELEVANTLY_WORSE):
            assert min(abs(low), abs(high)) > contrast.margin


@settings(max_examples=100, deadline=None)
@given(pages())
def test_no_method_is_recommended_where_nothing_beats_the_majority_class(verdict):
    if verdict.chance and not verdict.above_chance:
        assert "is the best" not in text(verdict)
        assert "highest mean" not in text(verdict)


# ---- the checker itself ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "claims",
    [
        [Claim(BEATS, "a", "b"), Claim(BEATS, "b", "a")],
        [Claim(BEATS, "a", "b"), Claim(OPEN, "b", "a")],
        [Claim(BEATS, "a", "b"), Claim(EQUALS, "a", "b")],
        [Claim(BEATS, "a", "b"), Claim(UNSEPARATED, "a", "b")],
        [Claim(EQUALS, "a", "b"), Claim(OPEN, "b", "a")],
        [Claim(BEATS, "a", "b"), Claim(BEATS, "b", "c"), Claim(UNSEPARATED, "a", "c")],
        [Claim(BEATS, "a", "b"), Claim(BEATS, "b", "c"), Claim(BEATS, "c", "a")],
    ],
)
def test_contradictions_are_found(claims):
    assert contradictions(claims)


def test_what_does_not_contradict_is_left_alone():
    claims = [Claim(BEATS, "a", "b"), Claim(UNSEPARATED, "b", "a"), Claim(EQUALS, "c", "b"), Claim(OPEN, "a", "c")]
    claims += [Claim(UNSEPARATED, "c", "b")]
    assert contradictions(claims) == []


# ---- pages by hand ---------------------------------------------------------------------------------------------------


def test_a_page_in_full():
    verdict = page({"sam": 3.0, "gnp": 0.3, "msam": estimate(0.1, 0.05)}, {"text": -5.0, "audio": -9.0}, 0.2, 25)
    assert [sentence.text for sentence in sentences(verdict)] == [
        "Fusion pays (n = 12): joint is better than each modality alone, and better than text, the best of them, by "
        "5.00 points ([+3.88, +6.12], adjusted p < 0.0001, large).",
        "Whether the late ensemble of the modalities differs from joint is undecided: the data fit -0.92 to +1.32.",
        "Against joint (n = 12 paired seeds, one family of 3 comparisons, simultaneous 95 % intervals; 0.50 points "
        "and more matter): relevantly better: sam by 3.00 points ([+1.88, +4.12], adjusted p < 0.0001, moderate); no "
        "difference that matters: msam at +0.10 (negligible; the data fit -0.04 to +0.24); undecided: gnp at +0.30 "
        "(negligible; the data fit -0.82 to +1.42).",
        "sam is the best: it is better than each of the other 6.",
        "This holds on data like this pool, of which each seed tests other samples.",
    ]


def test_fusion_that_does_not_pay():
    said = text(page({"sam": 0.2}, {"text": 2.8, "audio": -9.0}))
    assert said.startswith("Fusion does not pay (n = 12): better than joint is text alone by 2.80 points ([")


@pytest.mark.parametrize(
    ("apart", "words"),
    [
        (
            {"text": estimate(0.05, 0.05)},
            "Fusion brings nothing that matters (n = 12): joint and text alone differ by less",
        ),
        (
            {"text": 0.5},
            "Fusion is not shown to pay (n = 12): joint is not shown to be better than text alone; the data fit ",
        ),
        ({"text": estimate(-0.2, 0.02)}, "Fusion pays, but by less than matters (n = 12): joint is better than each"),
        ({"text": estimate(-3, n=3)}, "Whether fusion pays is not tested: joint minus text alone, the best modality, "),
        (
            {"text": -4.0, "audio": estimate(-4.5, 3)},
            "Fusion is not shown to pay (n = 12): joint is not shown to be better ",
        ),
    ],
)
def test_whether_fusion_pays(apart, words):
    assert text(page({"sam": 0.0}, apart)).startswith(words)


def test_nothing_beats_the_majority_class():
    said = text(page({"sam": 3.0, "gnp": -2.0}, above=0.1))
    assert said.startswith(
        "Nothing here is shown to be better than the majority class (68.70 %): no method is recommended."
    )
    assert "best" not in said


def test_some_beat_the_majority_class():
    said = text(page({"sam": 3.0, "gnp": 0.1}, above={"joint": 0.2, "sam": 3.2, "gnp": 0.3}))
    assert "Not shown to be better than the majority class (68.70 %): joint and gnp." in said


def test_few_seeds_are_only_described():
    said = text(page({"sam": estimate(3, n=3), "gnp": estimate(1, n=12)}))
    assert "relevantly better" not in said.replace("gnp", "")
    assert "one comparison" in said
    assert "Described, not tested, for fewer than 6 seeds or a single fold cannot tell: sam at +3.00 (better on" in said
    assert "best" not in said


def test_scope():
    def scope(basis, fixed):
        return text(page({"sam": estimate(3, basis=basis, fixed=fixed)}, group="subject", unkept=("sam",)))

    assert "on this split, for test samples like these; retraining on other data is not covered" in scope(
        "samples", True
    )
    assert "on data like this pool, of which each seed tests other subjects" in scope("groups", False)
    assert "for subjects like those of these 400 folds" in scope("folds", False)
    assert "Where runs kept no predictions (sam), this holds over seeds of this pool alone" in scope("seeds", None)


def test_runs_that_went_wrong():
    verdict = page(
        {"sam": 3.0},
        collapses={"sam": Collapse((4, 7), 0.951, 12), "joint": Collapse((), 0.9, 12)},
        divergences={"sam": Divergence((1,), 12, Contrast(estimate(4, n=11)))},
    )
    said = text(verdict)
    assert (
        "sam diverged in 1 of 12 runs, which count as chance; without them, in its favour, it is at +4.00 (n = 11)."
        in said
    )
    assert "sam collapsed in 2 of 12 runs, more than 5 median absolute deviations below its median of 95.10 %." in said
    assert "joint collapsed" not in said


def test_many_undecided_methods_are_summed_up():
    methods = {f"m{i}": estimate(0.1 * i, 1.0) for i in range(10)}
    said = text(page(methods))
    assert "undecided: m0, m1, m2, m3, m4, m5, m6, m7, m8 and m9, for which the data fit -" in said


def test_nothing_to_compare():
    assert text(page({})) == "There is no method to compare with joint."


def test_a_measure_where_lower_is_better_is_written_as_it_is():
    verdict = replace(page({"sam": 3.0}), measure=Measure("nll", 1.0, "nats", -1))
    said = text(verdict)
    assert "relevantly better: sam by 0.03 nats ([-0.04, -0.02]" in said


def test_leaders_without_pairs_are_not_the_best():
    assert Leader("sam", ("gnp",)).best is False
    assert Leader("sam", (), tested=False).best is False
    assert list(itertools.chain(leading("joint", family({"a": estimate(3)}), lambda a, b: None).rivals)) == []
