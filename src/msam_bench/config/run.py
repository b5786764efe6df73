"""One run, fully described, as plain data: the file format, the command line and the record of a run are this model.

config = RunConfig(data="digits6", method=parse_method("msam:rho=0.1"), seed=3)
config.identity                 # two runs with the same identity are the same run

`msam_bench.config.resolve` fills in what files hold: the settings of a data set, and what was tuned.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from importlib import metadata
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from msam_bench.names import nearest

Fusion = Literal["late", "early", "sum", "gated", "film", "bilinear", "transformer"]
Scalar = bool | int | float | str
MOST, WIDEST = 10**9, 2**16
"""Above these, a number of epochs, samples or features is a slip of the hand: no machine could hold or do it."""


class Frozen(BaseModel):
    """A pydantic model that cannot be changed and takes no unknown key."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MethodConfig(Frozen):
    """A method by name with its constructor's arguments.

    Args:
        name: as the bench knows it, or `package.module:Class`.
        params: all arguments that are not the constructor's defaults.
        tuned: those that a file of tuned settings has for it, which need no mention; decides no number.
    """

    name: str
    params: dict[str, Scalar] = {}
    tuned: dict[str, Scalar] = {}

    def text(self, known: dict[str, Scalar]) -> str:
        """The method as one writes it, such as `msam:rho=0.1`, without arguments that are known."""
        known = {**known, **self.tuned}
        shown = {key: value for key, value in self.params.items() if known.get(key) != value}
        return ":".join([self.name, *(f"{key}={_text(value)}" for key, value in shown.items())])


class OptimizerConfig(Frozen):
    """The base optimizer, the same for every method of a comparison."""

    name: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: float = Field(0.1, gt=0, allow_inf_nan=False)
    momentum: float = Field(0.9, ge=0, lt=1)
    weight_decay: float = Field(1e-4, ge=0, allow_inf_nan=False)
    schedule: Literal["constant", "cosine", "step", "inverse-sqrt"] = "cosine"
    step_epochs: int = Field(70, ge=1, le=MOST)


class EncoderConfig(Frozen):
    """The encoder of one modality; what is not said is the data set's or the run's.

    Args:
        name: one of `msam_bench.encoders.encoders()`, or `package.module:function`.
        features: width of its output; the run's `features` if None.
        params: further arguments of that encoder, such as `layers`.
        weights: a file with its initial weights, safetensors or torch.
        sha256: of that file; filled in when a run is resolved.
    """

    name: str | None = None
    features: int | None = Field(None, ge=1, le=WIDEST)
    params: dict[str, Scalar] = {}
    weights: str | None = None
    sha256: str | None = None


class ExperimentConfig(Frozen):
    """The code of an experiment of the user's own; where it lies is the run's `data`.

    Args:
        sources: module, or function without a file -> sha256 of its code.
        parts: field of the experiment -> the function that fills it.
        metrics: names; the first one selects the epoch.
    """

    sources: dict[str, str]
    parts: dict[str, str] = {}
    metrics: tuple[str, ...] = ()


class RunConfig(Frozen):
    """Everything that decides the numbers of a run.

    Args:
        data: name of the data set, or path of a prepared one.
        method: what turns a batch into gradients.
        seed: of the split, the initial weights, the order of batches and dropout.
        fusion: late (linear on the concatenation), early (maxout trunk), or one of `msam_bench.fusions`.
        epochs: passes over the training split.
        budget: what every method gets the same number of: `epochs`, or `gradients`, which are as many as joint training
            makes in these epochs, so that a method with two a batch trains half as long.
        batch_size: samples a step.
        optimizer: the base optimizer.
        features: width of each encoder's output.
        hidden: width of the encoders' hidden layers.
        encoders: modality -> which encoder it gets; chosen by the kind of modality where nothing is said.
        trunk: widths of the early fusion's maxout layers.
        select: which epoch's weights are tested: `best` on validation, or `last`.
        snapshots: keep the weights every so many epochs, 0 for never; decides no number.
        early_stopping: epochs without a better validation score after which training ends; never if None.
        clip: largest norm of the gradient of a step; unlimited if None.
        accumulate: batches a step.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`; runs of different devices are one run, and their records say
            where they were trained.
        precision: of forward passes: `32`, `bf16`, or `16` with a gradient scaler.
        loader_workers: processes that load an experiment's Datasets.
        experiment: the code of an experiment of the user's own.
    """

    data: str = "digits6"
    method: MethodConfig = MethodConfig(name="joint")
    seed: int = Field(0, ge=0, lt=2**32)
    fusion: Fusion = "late"
    epochs: int = Field(40, ge=1, le=MOST)
    budget: Literal["epochs", "gradients"] = "epochs"
    batch_size: int = Field(32, ge=1, le=MOST)
    optimizer: OptimizerConfig = OptimizerConfig()
    features: int = Field(64, ge=1, le=WIDEST)
    hidden: int = Field(64, ge=1, le=WIDEST)
    encoders: dict[str, EncoderConfig] = {}
    trunk: tuple[Annotated[int, Field(ge=1, le=WIDEST)], ...] = (128, 64)
    select: Literal["best", "last"] = "best"
    snapshots: int = Field(0, ge=0)
    early_stopping: int | None = Field(None, ge=1, le=MOST)
    clip: float | None = Field(None, gt=0, allow_inf_nan=False)
    accumulate: int = Field(1, ge=1, le=MOST)
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda(:\d+)?|mps)$")
    precision: Literal["32", "bf16", "16"] = "32"
    loader_workers: int = Field(0, ge=0, le=1024)
    experiment: ExperimentConfig | None = None

    @model_validator(mode="after")
    def _check_stopping(self) -> RunConfig:
        """Early stopping counts from the best epoch, which `last` does not know."""
        if self.early_stopping and self.select == "last":
            raise ValueError("early stopping counts epochs since the best one: leave out select=last or early_stopping")
        return self

    def encoder(self, modality: str) -> EncoderConfig:
        """The configuration of a modality's encoder, its features filled in."""
        config = self.encoders.get(modality, EncoderConfig())
        return config.model_copy(update={"features": config.features or self.features})

    def widths(self, modalities: Iterable[str]) -> dict[str, int]:
        """Modality -> size of its feature vector."""
        return {name: self.encoder(name).features or self.features for name in modalities}

    @property
    def identity(self) -> str:
        """A hash of everything above that decides a number, and of the version of the software."""
        aside = {name for name in _LATER if getattr(self, name) == RunConfig.model_fields[name].default}
        exclude: Any = {"snapshots": True, "device": True, "method": {"tuned"}, **dict.fromkeys(aside, True)}
        decisive = self.model_dump(mode="json", exclude=exclude)
        text = json.dumps([metadata.version("msam"), decisive], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


_LATER = ("early_stopping", "clip", "accumulate", "precision", "loader_workers", "experiment")
"""Settings that count only where they are not the default, so that runs from before they were there are found."""


def parse_method(text: str) -> MethodConfig:
    """A method as one writes it: `name`, `name:key=value:key=value` or `package.module:Class:key=value`.

    A class of a module outside any package is `module:Class`; its name starts with a capital letter. A method whose
    gradient another one takes is the argument `of`, and its own arguments begin with `of.`:
    `msam:rho=0.3:of=mbsd:of.weight=3`.

    Raises:
        ValueError: if a part is not `key=value`.
    """
    name, *parts = text.strip().split(":")
    if parts and "=" not in parts[0] and ("." in name or parts[0][:1].isupper()):
        name = f"{name}:{parts.pop(0)}"
    params: dict[str, Scalar] = {}
    key = ""
    for part in parts:
        if key.rpartition(".")[2] == "of" and part[:1].isupper() and "=" not in part:
            params[key] = f"{params[key]}:{part}"
            continue
        key, equals, value = part.partition("=")
        if not (equals and key and value):
            raise ValueError(f"A method is written name:key=value, such as sam:rho=0.1; found {part!r} in {text!r}.")
        params[key] = _scalar(value)
    return MethodConfig(name=name, params=params)


def validated(values: dict[str, Any]) -> RunConfig:
    """A run from a plain dict.

    Raises:
        ValueError: one sentence that names the key, what was expected and what was found.
    """
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise ValueError(_sentence(error)) from None


def check_encoders(config: RunConfig, modalities: Iterable[str]) -> None:
    """Raises a ValueError if an encoder is named for a modality that the data set does not have."""
    for name in config.encoders:
        if name not in modalities:
            raise ValueError(f"{config.data} has no modality {name!r} for an encoder: {nearest(name, modalities)}.")


def _text(value: Scalar) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _scalar(text: str) -> Scalar:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        parts: dict[str, type[Frozen]] = {"optimizer": OptimizerConfig, "encoders": EncoderConfig}
        model = parts.get(key.partition(".")[0], RunConfig) if "." in key else RunConfig
        return f"Unknown setting {key!r}: {nearest(key.rpartition('.')[2], list(model.model_fields))}."
    value = repr(first["input"])
    short = value if len(value) < 80 else f"{value[:60]}..."
    return f"Setting {key!r}: {first['msg'][0].lower()}{first['msg'][1:]}, found {short}."
