"""The words of a verdict, all of them: each sentence is generated from the one structure, with the claims it makes.

    for sentence in sentences(verdict):
        print(sentence.text)               # "Fusion pays: joint is better than each modality alone, ..."

The order is that of a reader's questions: were settings chosen, is anything better than knowing nothing, does fusion
pay, what does the declared family show, which method is the best, of what does this hold, and which runs went wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from msam_bench.analysis.contrasts import FEWEST_SEEDS, Contrast, Decision
from msam_bench.analysis.sentences.phrases import format_p, join_names
from msam_bench.analysis.verdict import (
    ENSEMBLE,
    Baselines,
    Chance,
    Claim,
    Divergence,
    Relation,
    Sentence,
    Verdict,
    alone,
    claim,
    ordered,
)
from msam_bench.metrics.measure import Measure

SPELLED = 8
"""Undecided comparisons that are written one by one; of more, the range."""


def sentences(verdict: Verdict) -> tuple[Sentence, ...]:
    """Every sentence of a page, in the order to read them."""
    questions = (_untuned, _nothing, _fusion, _ensemble, _family, _described, _best, _chance)
    parts = (*questions, _scope, _unkept, _diverged, _collapsed)
    return tuple(sentence for part in parts for sentence in part(verdict))


def text(verdict: Verdict) -> str:
    """The sentences as one paragraph."""
    return " ".join(sentence.text for sentence in sentences(verdict))


def _untuned(verdict: Verdict) -> Iterator[Sentence]:
    if verdict.untuned:
        yield Sentence(
            f"Untuned: no setting of {_all(verdict.untuned)} was chosen for these data, so that a difference may be "
            "one of settings, not of methods."
        )


def _nothing(verdict: Verdict) -> Iterator[Sentence]:
    chance, short = verdict.chance, _not_above_chance(verdict)
    if chance and short and len(short) == len(chance.contrasts):
        claims = tuple(Claim(Relation.UNSEPARATED, name, chance.name) for name in short)
        yield Sentence(
            f"Nothing here is shown to be better than {_worth(chance, verdict.measure)}: no method is recommended.",
            claims,
        )


def _chance(verdict: Verdict) -> Iterator[Sentence]:
    chance, short = verdict.chance, _not_above_chance(verdict)
    if chance and short and len(short) < len(chance.contrasts):
        claims = tuple(Claim(Relation.UNSEPARATED, name, chance.name) for name in short)
        yield Sentence(f"Not shown to be better than {_worth(chance, verdict.measure)}: {_all(short)}.", claims)


def _worth(chance: Chance, measure: Measure) -> str:
    return f"{chance.name} ({measure.value(chance.score)})"


def _not_above_chance(verdict: Verdict) -> list[str]:
    """The rows that were tested against chance and not shown to be better."""
    contrasts = verdict.chance.contrasts if verdict.chance else {}
    tested = [name for name, contrast in contrasts.items() if contrast.outcome is not Decision.DESCRIBED]
    return [name for name in tested if name not in verdict.above_chance]


def _fusion(verdict: Verdict) -> Iterator[Sentence]:
    if verdict.baselines is None or not verdict.baselines.apart:
        return
    baselines, reference, measure = verdict.baselines, verdict.reference, verdict.measure
    apart, best = baselines.apart, baselines.apart[baselines.strongest]
    directions = {each.outcome.direction for each in apart.values()}
    if any(each.outcome is Decision.DESCRIBED for each in apart.values()):
        yield _untested(baselines, reference, measure)
    elif 1 in directions:
        yield _costs(baselines, reference, measure)
    elif directions == {-1}:
        yield _pays(baselines, reference, measure)
    elif best.outcome is Decision.EQUIVALENT:
        yield Sentence(
            f"Fusion brings nothing that matters ({_n(best)}): {reference} and {alone(baselines.strongest)} differ by "
            f"less than {measure.amount(best.margin)}.",
            (Claim(Relation.EQUALS, alone(baselines.strongest), reference),),
        )
    else:
        yield _unpaid(baselines, reference, measure)


def _untested(baselines: Baselines, reference: str, measure: Measure) -> Sentence:
    best = baselines.strongest
    gain = baselines.apart[best].reversed
    return Sentence(
        f"Whether fusion pays is not tested: {reference} minus {alone(best)}, the best modality, is "
        f"{measure.signed(gain.difference)} {measure.unit} (n = {gain.estimate.seeds})."
    )


def _costs(baselines: Baselines, reference: str, measure: Measure) -> Sentence:
    ahead = {name: each for name, each in baselines.apart.items() if each.outcome.direction > 0}
    amounts = [f"{alone(name)} by {_amount(each, measure)}" for name, each in ahead.items()]
    return Sentence(
        f"Fusion does not pay ({_n(next(iter(ahead.values())))}): better than {reference} "
        f"{'is' if len(ahead) == 1 else 'are'} {_all(amounts)}.",
        tuple(Claim(Relation.BEATS, alone(name), reference) for name in ahead),
    )


def _pays(baselines: Baselines, reference: str, measure: Measure) -> Sentence:
    best = baselines.strongest
    contrast = baselines.apart[best]
    small = ", but by less than matters" if contrast.outcome is Decision.NEGLIGIBLY_WORSE else ""
    claims = tuple(Claim(Relation.BEATS, reference, alone(name)) for name in baselines.apart)
    return Sentence(
        f"Fusion pays{small} ({_n(contrast)}): {reference} is better than each modality alone, and better than {best}, "
        f"the best of them, by {_amount(contrast.reversed, measure)}.",
        claims,
    )


def _n(contrast: Contrast) -> str:
    return f"n = {contrast.estimate.seeds}"


def _unpaid(baselines: Baselines, reference: str, measure: Measure) -> Sentence:
    """No modality is better, and not every one is worse: the strongest of those that are not worse is named."""
    level = {name: each.reversed for name, each in baselines.apart.items() if each.outcome.direction == 0}
    name = min(level, key=lambda each: level[each].difference)
    low, high = measure.span(*level[name].interval)
    return Sentence(
        f"Fusion is not shown to pay ({_n(level[name])}): {reference} is not shown to be better than {alone(name)}; "
        f"the data fit {low} to {high} {measure.unit}.",
        (Claim(Relation.UNSEPARATED, reference, alone(name)),),
    )


def _ensemble(verdict: Verdict) -> Iterator[Sentence]:
    contrast = verdict.baselines.ensemble if verdict.baselines else None
    if contrast is None:
        return
    name, reference, measure = f"The {ENSEMBLE} of the modalities", verdict.reference, verdict.measure
    low, high = measure.span(*contrast.interval)
    words = {
        1: f"{name} is better than {reference} by {_amount(contrast, measure)}.",
        -1: f"{name} is worse than {reference} by {_amount(contrast, measure)}.",
    }.get(contrast.outcome.direction)
    if contrast.outcome is Decision.EQUIVALENT:
        words = f"{name} and {reference} differ by less than {measure.amount(contrast.margin)}."
    elif contrast.outcome is Decision.UNDECIDED:
        words = (
            f"Whether {name[0].lower()}{name[1:]} differs from {reference} is undecided: the data fit {low} to {high}."
        )
    stated = claim(ENSEMBLE, contrast, reference)
    if words and stated:
        yield Sentence(words, (stated,))


def _family(verdict: Verdict) -> Iterator[Sentence]:
    tested = {name: each for name, each in verdict.methods.items() if each.outcome is not Decision.DESCRIBED}
    if not tested:
        if not verdict.methods:
            yield Sentence(f"There is no method to compare with {verdict.reference}.")
        return
    by_outcome = {
        outcome: {name: each for name, each in tested.items() if each.outcome is outcome} for outcome in Decision
    }
    parts = [
        f"{outcome.value}: {_members(outcome, members, verdict.measure)}"
        for outcome, members in by_outcome.items()
        if members
    ]
    claims = [claim(name, each, verdict.reference) for name, each in tested.items()]
    yield Sentence(
        f"Against {verdict.reference} ({_declared(tested, verdict)}): {'; '.join(parts)}.",
        tuple(each for each in claims if each),
    )


def _declared(tested: Mapping[str, Contrast], verdict: Verdict) -> str:
    """The family as it was declared."""
    seeds = sorted({each.estimate.seeds for each in tested.values()})
    n = f"n = {seeds[0]}" if len(seeds) == 1 else f"n = {seeds[0]} to {seeds[-1]}"
    count = len(tested)
    family = f"one family of {count} comparisons" if count > 1 else "one comparison"
    margin = verdict.measure.amount(verdict.margin)
    return f"{n} paired seeds, {family}, simultaneous 95 % intervals; {margin} and more matter"


def _members(outcome: Decision, members: Mapping[str, Contrast], measure: Measure) -> str:
    if outcome.direction:
        return _all([f"{name} by {_amount(each, measure)}" for name, each in members.items()])
    if len(members) > SPELLED:
        low, high = measure.span(
            min(each.interval[0] for each in members.values()), max(each.interval[1] for each in members.values())
        )
        return f"{_all(members)}, for which the data fit {low} to {high}"
    return join_names([_range(name, each, measure) for name, each in members.items()])


def _range(name: str, contrast: Contrast, measure: Measure) -> str:
    low, high = measure.span(*contrast.interval)
    size = contrast.size_in_words
    return f"{name} at {measure.signed(contrast.difference)} ({size}; the data fit {low} to {high})"


def _amount(contrast: Contrast, measure: Measure) -> str:
    low, high = measure.span(*contrast.interval)
    shown = f"[{low}, {high}], adjusted p {format_p(contrast.adjusted)}, {contrast.size_in_words}"
    return f"{measure.amount(contrast.difference)} ({shown})"


def _described(verdict: Verdict) -> Iterator[Sentence]:
    few = {name: each for name, each in verdict.methods.items() if each.outcome is Decision.DESCRIBED}
    if few:
        parts = [
            f"{name} at {verdict.measure.signed(each.difference)} (better on {each.estimate.wins:g} of "
            f"{each.estimate.seeds} seeds)"
            for name, each in few.items()
        ]
        yield Sentence(
            f"Described, not tested, for fewer than {FEWEST_SEEDS} seeds or a single fold cannot tell: {_all(parts)}."
        )


def _best(verdict: Verdict) -> Iterator[Sentence]:
    leader, count = verdict.leader, 1 + len(verdict.contrasts)
    if leader is None or not leader.tested or count < 3:
        return
    if verdict.chance and leader.name not in verdict.above_chance:
        return
    if leader.best:
        claims = [each for each in ordered(verdict) if each.first == leader.name]
        yield Sentence(f"{leader.name} is the best: it is better than each of the other {count - 1}.", tuple(claims))
    else:
        claims = [Claim(Relation.UNSEPARATED, leader.name, rival) for rival in leader.rivals]
        over = "" if leader.name == verdict.reference else f" difference to {verdict.reference}"
        yield Sentence(
            f"No single best is shown: {leader.name} has the highest mean{over}, and is not shown to be better than "
            f"{_all(leader.rivals)}.",
            tuple(claims),
        )


def _scope(verdict: Verdict) -> Iterator[Sentence]:
    estimates = [each.estimate for each in verdict.contrasts.values() if each.outcome is not Decision.DESCRIBED]
    bases = {estimate.basis for estimate in estimates}
    group = verdict.group or "group"
    if "folds" in bases:
        folds = max(estimate.units for estimate in estimates)
        yield Sentence(f"This holds for {group}s like those of these {folds} folds; p is that of the folds' means.")
    elif bases & {"samples", "groups"}:
        tested = f"{group}s" if "groups" in bases else "samples"
        if any(estimate.fixed for estimate in estimates):
            yield Sentence(
                f"This holds on this split, for test {tested} like these; retraining on other data is not covered."
            )
        else:
            yield Sentence(f"This holds on data like this pool, of which each seed tests other {tested}.")


def _unkept(verdict: Verdict) -> Iterator[Sentence]:
    estimates = [each.estimate for each in verdict.contrasts.values() if each.outcome is not Decision.DESCRIBED]
    if any(estimate.basis == "seeds" for estimate in estimates):
        names = f" ({join_names(verdict.unkept)})" if verdict.unkept else ""
        yield Sentence(
            f"Where runs kept no predictions{names}, this holds over seeds of this pool alone, not for other test "
            "samples: train again to have them."
        )


def _diverged(verdict: Verdict) -> Iterator[Sentence]:
    chance = verdict.chance.name if verdict.chance else "chance"
    for name, divergence in verdict.divergences.items():
        fate = f"count as {chance}" if divergence.counted else "are left out, in its favour"
        yield Sentence(
            f"{name} diverged in {len(divergence.seeds)} of {divergence.runs} runs, which {fate}"
            f"{_without(divergence, verdict.measure)}."
        )


def _without(divergence: Divergence, measure: Measure) -> str:
    """The comparison without the runs that diverged, where it differs from that with them."""
    if divergence.without is None or not divergence.counted:
        return ""
    n, difference = divergence.without.estimate.seeds, measure.signed(divergence.without.difference)
    return f"; without them, in its favour, it is at {difference} (n = {n})"


def _collapsed(verdict: Verdict) -> Iterator[Sentence]:
    for name, collapse in verdict.collapses.items():
        if collapse.seeds:
            yield Sentence(
                f"{name} collapsed in {len(collapse.seeds)} of {collapse.runs} runs, more than 5 median absolute "
                f"deviations below its median of {verdict.measure.value(collapse.median)}."
            )


def _all(names: Collection[str]) -> str:
    """The names as a sentence joins them, none left out: each is a claim."""
    return join_names(names, max(1, len(names)))
