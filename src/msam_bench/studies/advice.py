"""What to try after a diagnosis, in order: what these data ask for, what is known of it, and the command.

advice(joint, starved=["gyroscope"], leader="accelerometer", more=0)   # a few sentences each
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from msam_bench.analysis.run_summary import RunSummary, average, score_of
from msam_bench.analysis.sentences.phrases import join_names
from msam_bench.config.resolve import resolve
from msam_bench.config.run import RunConfig, validated
from msam_bench.data import source
from msam_bench.registry import methods, remedies
from msam_bench.runs.choice import refusal
from msam_bench.studies.evidence import evidence

MOST = 3
"""Methods that are recommended at a time."""
GAP = 0.1
"""tau above which training data are fitted much better than test data."""


def advice(joint: Sequence[RunSummary], starved: Sequence[str], leader: str | None, more: int) -> list[str]:
    """What to try, in order.

    Args:
        joint: the runs that were diagnosed.
        starved: modalities that are shown to be under-used.
        leader: the modality that is shown to dominate, if one is.
        more: seeds that could show what these could not; 0 if they could.
    """
    steps, tau = [], average(run.summary["tau"] for run in joint) or 0.0
    if more:
        steps.append(
            f"Train more seeds, for this diagnosis cannot tell: the same command with --seeds {max(more, 12)}."
        )
    if starved:
        one = len(starved) == 1
        need = "a loss of its own: its encoder learns" if one else "losses of their own: their encoders learn"
        steps.append(_try(joint, f"Give {join_names(starved)} {need} more when trained apart.", remedies("support")))
    if leader and set(starved) - {leader}:
        others = join_names([name for name in starved if name != leader])
        steps.append(
            _try(joint, f"Hold {leader} back, which leads while {others} could learn more.", remedies("restraint"))
        )
    if leader and not starved and not more:
        why = "but no encoder is shown to learn more when trained apart"
        steps.append(f"Balance asks for no other method than {joint[0].label}: {leader} says more, {why}.")
    if tau > GAP:
        means = [100 * (average(run.summary[f"{key}_accuracy"] for run in joint) or 0.0) for key in ("train", "test")]
        reached = (
            f"{score_of({'': joint})} is {means[0]:.1f} % in training and {means[1]:.1f} % in test (tau {tau:.2f})"
        )
        steps.append(_try(joint, f"Look for flatter minima: {reached}.", remedies("flatness")))
    return [step for step in steps if step] or [f"Nothing here asks for another method than {joint[0].label}."]


def _try(joint: Sequence[RunSummary], need: str, candidates: Sequence[str]) -> str:
    """A need, the methods that meet it, the evidence for them, and the command; empty where no method suits."""
    config = validated(dict(joint[0].config))
    suited = [name for name in _suited(config, candidates) if name != joint[0].label]
    if not suited:
        return ""
    known = evidence(joint, suited)
    best = known.best(suited, MOST)
    picked = f" (the highest of {len(suited)} that suit, so expect less)" if len(suited) > len(best) else ""
    behind = "" if known.mean(best[0]) > 0 else f" No such method is known to be ahead of {joint[0].label}, though."
    return f"{need}{behind} Evidence{picked}: {known.words(best)}. `{_command(joint, config, best)}`"


def _suited(config: RunConfig, names: Sequence[str]) -> list[str]:
    """The methods that can be trained on these data with this fusion, an extension where the original cannot."""
    dataset = source(config.data).load(config.seed)

    @cache
    def fits(name: str) -> bool:
        return refusal(resolve(config.data, config.fusion, name, seed=config.seed), dataset) is None

    chosen = (name if fits(name) else methods()[name].extension or name for name in names)
    return [name for name in chosen if fits(name)]


def _command(joint: Sequence[RunSummary], config: RunConfig, methods: Sequence[str]) -> str:
    """The comparison on the same data, seeds and settings, so that the runs at hand are used again."""
    seeds = sorted(run.seed for run in joint)
    given = {"data": config.data, "fusion": config.fusion, "seeds": len(seeds), "first-seed": seeds[0]}
    usual = {"data": "digits6", "fusion": "late", "seeds": 12, "first-seed": 0}
    mine, shipped = (_settings(one) for one in (config, resolve(config.data, config.fusion, joint[0].label)))
    given |= {key: value for key, value in mine.items() if value != shipped[key]}
    options = [f"--{key} {value}" for key, value in given.items() if usual.get(key) != value]
    folder = [] if str(joint[0].folder.parent) == "runs" else [f"--runs {joint[0].folder.parent}"]
    return " ".join(["msam compare", *options, *folder, f"--methods {','.join([joint[0].label, *methods])}"])


def _settings(config: RunConfig) -> dict[str, object]:
    """What the command line can change of a run."""
    run = {key: getattr(config, key) for key in ("epochs", "budget", "batch_size", "features", "hidden", "select")}
    base = {key: getattr(config.optimizer, key) for key in ("lr", "momentum", "weight_decay", "schedule")}
    values = {**run, "optimizer": config.optimizer.name, **base}
    return {key.replace("_", "-"): value for key, value in values.items()}
