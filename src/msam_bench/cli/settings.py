"""The runs of a command: a data set's settings, changes to them, methods and seeds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from msam_bench.cli.screen import console

if TYPE_CHECKING:
    from msam_bench.config.run import RunConfig
    from msam_bench.reporting.comparing import Question
    from msam_bench.runs.choice import Choice

METHODS = "joint,sam,gnp,msam,msam-encoder"
Fusion = Literal["late", "early", "sum", "gated", "film", "bilinear", "transformer"]
"""As in `config.run`, which is not imported for help."""
Data = Annotated[str, Parameter(name=("--data", "--experiment"))]
"""The name of a data set, or `package.module:name` of an experiment."""
DataOrNone = Annotated[str | None, Parameter(name=("--data", "--experiment"))]


@Parameter(name="*")
@dataclass(frozen=True)
class Settings:
    """What to change of a data set's default settings; a file is read first, these come after it."""

    epochs: int | None = None
    "Passes over the training split."
    budget: Literal["epochs", "gradients"] | None = None
    "What all methods get the same number of: epochs, or the gradients that joint training makes in these epochs."
    batch_size: int | None = None
    "Samples a step."
    optimizer: Literal["sgd", "adam", "adamw"] | None = None
    "The base optimizer, the same for every method."
    lr: float | None = None
    "Its learning rate."
    momentum: float | None = None
    "Its momentum (sgd)."
    weight_decay: float | None = None
    "Its weight decay."
    schedule: Literal["constant", "cosine", "step", "inverse-sqrt"] | None = None
    "How the learning rate changes over epochs."
    features: int | None = None
    "Width of each encoder's output."
    hidden: int | None = None
    "Width of the encoders' hidden layers."
    select: Literal["best", "last"] | None = None
    "Which epoch's weights are tested: best on validation, or last."
    early_stopping: int | None = None
    "Epochs without a better validation score after which training ends; never if not given."
    clip: float | None = None
    "Largest norm of the gradient of a step."
    accumulate: int | None = None
    "Batches a step."
    device: str | None = None
    "Where to train: auto (a GPU if there is one), cpu, cuda, cuda:N or mps."
    precision: Literal["32", "bf16", "16"] | None = None
    "Of forward passes: 32, bf16, or 16 with a gradient scaler."
    loader_workers: int | None = None
    "Processes that load the Datasets of an experiment."
    snapshots: int | None = None
    "Keep the weights every so many epochs; a finished run without them is trained again."
    config: Path | None = None
    "A TOML file with any of these settings."
    tuned: Path | None = None
    "A TOML file that `msam sweep` wrote; it comes over the shipped defaults, before everything above."


@Parameter(name="*")
@dataclass(frozen=True)
class Paired:
    """The seeds on which methods are paired, and the fusion."""

    seeds: int = 12
    "Number of paired seeds; a seed draws the split, the initial weights and the batches."
    first_seed: int = 0
    "The first of them."
    fusion: Fusion = "late"
    "Late (linear on the concatenated features), early (a maxout trunk), or sum, gated, film, bilinear, transformer."

    @property
    def numbers(self) -> range:
        """The seeds themselves.

        Raises:
            ValueError: if there is none.
        """
        check_positive(seeds=self.seeds)
        return range(self.first_seed, self.first_seed + self.seeds)


@Parameter(name="*")
@dataclass(frozen=True)
class Judged:
    """What is asked of the runs."""

    metric: str | None = None
    "What is compared, such as macro-f1, auroc or nll; the score of the runs (accuracy, or R2) if not given."
    margin: float = 0.5
    "Smallest difference that matters: in points, or in hundredths of the metric's unit."
    baselines: int = 6
    "Seeds on which each modality is trained apart too, to tell whether fusion pays; 0 for none."

    def by_default(self, runs: Sequence[RunConfig]) -> Judged:
        """The same, with the first metric of an experiment where none is named."""
        metrics = runs[0].experiment.metrics if runs and runs[0].experiment else ()
        return self if self.metric or not metrics else replace(self, metric=metrics[0])

    def question(self, diverged: Sequence[RunConfig] = (), untuned: Sequence[str] = ()) -> Question:
        """The question to runs, of which some diverged.

        Raises:
            ValueError: a margin that is not positive.
        """
        from msam_bench.analysis.assessment import diverged_seeds
        from msam_bench.reporting.comparing import Question

        if not self.margin > 0:
            raise ValueError(
                f"Expected a margin above 0, found {self.margin}: name the smallest difference that matters."
            )
        return Question(self.metric, self.margin / 100, diverged_seeds(diverged), untuned)


def chosen_methods(data: str, fusion: str, methods: str, seed: int, settings: Settings) -> Choice:
    """The methods of a list, `all` standing for every one that suits the data and the fusion; says which do not.

    Raises:
        ValueError: the data are not here.
    """
    from msam_bench.data import source
    from msam_bench.runs.choice import choose, refusal

    _ = source(data).fingerprint  # data that are not here are refused before any process is started
    whole = cache(lambda: source(data).load(seed))
    refuse = cache(lambda name: refusal(resolved(data, fusion, name, seed, settings), whole()))
    choice = choose(methods, refuse)
    for note in choice.notes:
        console.print(note, soft_wrap=True, highlight=False, markup=False)
    check_pairs(choice.methods, data, refuse)
    return choice


def check_pairs(methods: Sequence[str], data: str, refuse: Callable[[str], str | None]) -> None:
    """Raises a ValueError, before the first run, if a method cannot be trained on the data."""
    from msam_bench.registry import methods as known

    for name in methods:
        if reason := refuse(name):
            entry = known().get(name.partition(":")[0])
            other = entry.extension if entry else None
            instead = f" Name {other} instead." if other and other not in reason and not refuse(other) else ""
            raise ValueError(f"{name} cannot be trained on {data}: {reason}{instead}")


def baselines(data: str, paired: Paired, judged: Judged, settings: Settings) -> list[RunConfig]:
    """The runs of each modality apart, on the first seeds; none where there is a single modality."""
    from msam_bench.data import source

    names = source(data).modalities
    if len(names) < 2:
        return []
    seeds = paired.numbers[: max(0, judged.baselines)]
    runs = [
        resolved(data, paired.fusion, f"unimodal:modality={name}", seed, settings) for seed in seeds for name in names
    ]
    return [] if runs and runs[0].experiment and _closed(runs[0]) else runs


def _closed(config: RunConfig) -> bool:
    """Whether the model of an experiment shows no encoders, so that no modality can be trained apart."""
    from msam_bench.data import source
    from msam_bench.runs.choice import refusal

    return refusal(config, source(config.data).load(config.seed)) is not None


def planned(data: str, methods: Sequence[str], paired: Paired, settings: Settings) -> list[RunConfig]:
    """The runs of a comparison, seed by seed."""
    check_positive(methods=len(methods))
    return [resolved(data, paired.fusion, name, seed, settings) for seed in paired.numbers for name in methods]


def resolved(data: str, fusion: str, method: str, seed: int, settings: Settings) -> RunConfig:
    """The configuration of a run, with everything checked that can be before training."""
    from msam_bench.config.resolve import resolve
    from msam_bench.config.run import check_encoders
    from msam_bench.data import source
    from msam_bench.registry import build
    from msam_bench.runs.machine import find_device

    dataset = source(data)
    given = asdict(settings)
    config = resolve(data, fusion, method, given.pop("config"), seed=seed, **given)
    check_encoders(config, dataset.modalities)
    find_device(config.device)
    value = "accuracy" if dataset.classes else "r2"
    build(config.method, config.widths(dataset.modalities), max(1, len(dataset.classes)), value)
    return config


def check_positive(**counts: int) -> None:
    """Raises a ValueError that names the first count below one."""
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"Expected at least one of {name.replace('_', ' ')}, found {count}.")
