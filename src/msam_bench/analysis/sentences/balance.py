"""The words of a diagnosis: each sentence is generated from the one decision, so that none contradicts another.

" ".join(balance_sentences(weigh(measure, joint, chance, contributions, apart, probes)))
# "text dominates: it contributes 54.0 of 68.2 points above the majority class, audio 14.2 (adjusted p 0.0002), ..."
"""

from __future__ import annotations

from collections.abc import Iterator

from msam_bench.analysis.balance import EFFECT, Balance, BalanceState, above
from msam_bench.analysis.contrasts import FEWEST_SEEDS, Contrast
from msam_bench.analysis.sentences.phrases import format_p, join_names


def balance_sentences(balance: Balance) -> tuple[str, ...]:
    """The sentences of a diagnosis."""
    parts = {BalanceState.UNTESTED: (_untested,), BalanceState.NOTHING: (_nothing,)}.get(
        balance.state, (_state, _use, _silence, _together, _shared)
    )
    return tuple(sentence for part in parts for sentence in part(balance))


def _untested(balance: Balance) -> Iterator[str]:
    n = balance.joint.estimate.seeds
    yield (
        f"Too few seeds to tell (n = {n}): {balance.leader} contributes most, {_contributed(balance)}; "
        f"with {FEWEST_SEEDS} seeds or more, and two folds or more, this is tested."
    )


def _nothing(balance: Balance) -> Iterator[str]:
    low, high = balance.measure.span(*balance.joint.interval)
    yield (
        f"{balance.model} is not shown to be better than {balance.chance_name} "
        f"({balance.measure.value(balance.chance)}; the difference fits {low} to {high} {balance.measure.unit}): there "
        "is nothing to balance, and how such a model uses its modalities means nothing."
    )


def _state(balance: Balance) -> Iterator[str]:
    leader, effect = balance.leader, balance.measure.amount(EFFECT)
    match balance.state:
        case BalanceState.DOMINATED:
            yield f"{leader} dominates: it contributes {_contributed(balance)}, and another modality is under-used."
        case BalanceState.LED:
            yield f"{leader} leads: it contributes {_contributed(balance)}."
        case BalanceState.BALANCED:
            yield (
                f"Balanced: contributions differ by less than {effect}, and no encoder learns {effect} more when "
                "trained apart."
            )
        case _:
            yield f"No modality is shown to lead: {leader} contributes most, {_contributed(balance)}."


def _contributed(balance: Balance) -> str:
    """What the leader contributes, beside the second."""
    (_, most), (second, less), *_ = balance.contributions.items()
    scale, total = balance.measure.scale, sum(each.difference for each in balance.contributions.values())
    p = format_p(max(each.adjusted for each in balance.behind.values()))
    tested = "" if balance.state is BalanceState.UNTESTED else f" (adjusted p {p})"
    return (
        f"{scale * most.difference:.1f} of {scale * total:.1f} {balance.measure.unit} above {balance.chance_name}, "
        f"{second} {scale * less.difference:.1f}{tested}"
    )


def _use(balance: Balance) -> Iterator[str]:
    if balance.state is BalanceState.BALANCED:
        return
    if starved := balance.starved:
        gaps = [
            f"{name}{' itself' if name == balance.leader else ''} by {_interval(balance, gap)}"
            for name, gap in starved.items()
        ]
        yield f"Under-used, since encoders trained apart learn more: {join_names(gaps, len(gaps))}."
    else:
        widest = max(balance.gaps, key=lambda name: balance.gaps[name].difference)
        yield (
            f"No encoder is shown to be under-used: the widest gap is that of {widest}, "
            f"{_interval(balance, balance.gaps[widest])}."
        )


def _interval(balance: Balance, contrast: Contrast) -> str:
    low, high = balance.measure.span(*contrast.interval)
    shown = f"[{low}, {high}], adjusted p {format_p(contrast.adjusted)}"
    return f"{balance.measure.signed(contrast.difference)} {balance.measure.unit} ({shown})"


def _silence(balance: Balance) -> Iterator[str]:
    if balance.silent:
        parts = [f"{name} {_interval(balance, balance.contributions[name])}" for name in balance.silent]
        yield f"Nothing that matters is contributed by {join_names(parts, len(parts))}."


def _together(balance: Balance) -> Iterator[str]:
    """What only the modalities together tell."""
    if not above(balance.synergy):
        return
    tells = [name for name, each in balance.apart.items() if each.outcome.direction > 0]
    gain = f"{balance.model} is {_interval(balance, balance.synergy)} above {balance.best}, the best modality alone"
    if tells:
        yield f"Synergy: {gain}."
    else:
        yield f"Synergy: {gain}, and no modality alone is shown to tell anything: what they tell, they tell together."


def _shared(balance: Balance) -> Iterator[str]:
    """What more than one modality tells."""
    if above(balance.redundancy):
        yield f"Redundancy: {_interval(balance, balance.redundancy)} are told by more than one modality."
