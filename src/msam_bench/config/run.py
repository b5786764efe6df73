"""One run, fully described: the same frozen model is the file format, the command line and the record of a run.

config = resolve("digits6", "late", "msam:rho=0.1", seed=3, epochs=20)
config.identity                 # two runs with the same identity are the same run
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib import metadata, resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from msam_bench.config.tuned import checked
from msam_bench.names import nearest

Fusion = Literal["late", "early"]
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
        told = {key: value for key, value in self.params.items() if known.get(key) != value}
        return ":".join([self.name, *(f"{key}={_text(value)}" for key, value in told.items())])


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
        name: one of `msam_bench.encoders.ENCODERS`.
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


class RunConfig(Frozen):
    """Everything that decides the numbers of a run.

    Args:
        data: name of the data set, or path of a prepared one.
        method: what turns a batch into gradients.
        seed: of the split, the initial weights, the order of batches and dropout.
        fusion: late (linear on the concatenation) or early (maxout trunk).
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

    @property
    def label(self) -> str:
        """The method as one writes it, without the data set's tuned arguments."""
        return self.method.text(tuned(self.data, self.fusion, self.method.name))

    def encoder(self, modality: str) -> EncoderConfig:
        """What is said of a modality's encoder, its features filled in."""
        said = self.encoders.get(modality, EncoderConfig())
        return said.model_copy(update={"features": said.features or self.features})

    def widths(self, modalities: Iterable[str]) -> dict[str, int]:
        """Modality -> size of its feature vector."""
        return {name: self.encoder(name).features or self.features for name in modalities}

    @property
    def identity(self) -> str:
        """A hash of everything above that decides a number, and of the version of the software."""
        decisive = self.model_dump(mode="json", exclude={"snapshots": True, "method": {"tuned"}})
        text = json.dumps([metadata.version("msam"), decisive], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def parse_method(text: str) -> MethodConfig:
    """A method as one writes it: `name`, `name:key=value:key=value` or `package.module:Class:key=value`.

    Raises:
        ValueError: if a part is not `key=value`.
    """
    name, *parts = text.strip().split(":")
    if "." in name and parts and "=" not in parts[0]:
        name = f"{name}:{parts.pop(0)}"
    params = {}
    for part in parts:
        key, equals, value = part.partition("=")
        if not (equals and key and value):
            raise ValueError(f"A method is written name:key=value, such as sam:rho=0.1; found {part!r} in {text!r}.")
        params[key] = _scalar(value)
    return MethodConfig(name=name, params=params)


def resolve(
    data: str, fusion: str, method: str, file: Path | None = None, tuned: Path | None = None, **settings: Any
) -> RunConfig:
    """The configuration of a run: the data set's defaults, then what was tuned, then a file, then what is given here.

    Args:
        data: name of a data set.
        fusion: late or early.
        method: as `parse_method` reads it; arguments that are not given come from the tuned settings.
        file: a TOML file with the fields of `RunConfig`.
        tuned: a TOML file with the sections of the defaults, which comes over those that are shipped.
        **settings: fields of `RunConfig`; those of the optimizer by their own names; None means not given.

    Raises:
        ValueError: an unknown key, a value out of range, or a file that is not TOML.
    """
    asked = parse_method(method)
    known = _known(data, fusion, tuned)
    own = known.get(fusion, {}).get(asked.name, {})
    optimizer = {"optimizer": own.get("optimizer", {})}
    values = _merged(known.get("run", {}), optimizer, read_toml(file) if file else {}, _nested(settings))
    found = _arguments(own)
    named = {"name": asked.name, "params": {**found, **asked.params}, "tuned": found if tuned else {}}
    values |= {"data": data, "fusion": fusion, "method": named}
    return _with_weight_hashes(validated(values))


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


def defaults(data: str) -> dict[str, Any]:
    """The shipped settings of a data set: `run`, and `late` and `early` with what was tuned for each method.

    A published data set that is prepared under a name of its own has the settings of what it is.
    """
    return _shipped(data) or _shipped(_published(data))


@cache
def _shipped(data: str) -> dict[str, Any]:
    file = resources.files("msam_bench.config").joinpath("defaults", f"{data}.toml")
    return tomllib.loads(file.read_text()) if file.is_file() else {}


def _published(data: str) -> str:
    """What the data set of that name or path calls itself; the name itself, where there is none here."""
    from msam_bench.data import source

    try:
        return source(data).name
    except ValueError:
        return data


def tuned(data: str, fusion: str, method: str, file: Path | None = None) -> dict[str, Any]:
    """The arguments of a method that validation chose on a data set: those that are shipped, then those of a file."""
    return _arguments(_known(data, fusion, file).get(fusion, {}).get(method, {}))


def read_toml(path: Path) -> dict[str, Any]:
    """A TOML file as a dict.

    Raises:
        ValueError: if there is no such file or it is not TOML.
    """
    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ValueError(f"Expected a TOML file at {path}, found: {error}.") from None


def _with_weight_hashes(config: RunConfig) -> RunConfig:
    """The configuration with the sha256 of every file of weights that it names."""
    from msam_bench.encoders.weights import sha256

    sealed = {
        name: said.model_copy(update={"sha256": sha256(Path(said.weights))}) if said.weights else said
        for name, said in config.encoders.items()
    }
    return config.model_copy(update={"encoders": sealed})


def _known(data: str, fusion: str, file: Path | None) -> dict[str, Any]:
    """The defaults of a data set, with a file of tuned settings over them."""
    return _merged(defaults(data), checked(read_toml(file), file, fusion)) if file else defaults(data)


def _arguments(own: dict[str, Any]) -> dict[str, Any]:
    """What was chosen for a method, without its optimizer's part."""
    return {key: value for key, value in own.items() if key != "optimizer"}


def _nested(settings: dict[str, Any]) -> dict[str, Any]:
    given = {key: value for key, value in settings.items() if value is not None}
    inner = {key: given.pop(key) for key in list(given) if key in OptimizerConfig.model_fields}
    if "optimizer" in given:
        inner["name"] = given.pop("optimizer")
    return {**given, **({"optimizer": inner} if inner else {})}


def _merged(*layers: dict[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            both = isinstance(merged.get(key), dict) and isinstance(value, dict)
            merged[key] = _merged(merged[key], value) if both else value
    return merged


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
    found = repr(first["input"])
    short = found if len(found) < 80 else f"{found[:60]}..."
    return f"Setting {key!r}: {first['msg'][0].lower()}{first['msg'][1:]}, found {short}."
