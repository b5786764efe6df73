"""From names and files to the configuration of a run: settings of the data set, what was tuned, a file, options.

config = resolve("digits6", "late", "msam:rho=0.1", seed=3, epochs=20)
label_of(config)                # "msam:rho=0.1", as short as it can be written
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from msam_bench.config.run import MethodConfig, OptimizerConfig, RunConfig, parse_method, validated
from msam_bench.config.tuned import checked
from msam_bench.data import source
from msam_bench.registry import methods as known_methods


def resolve(
    data: str, fusion: str, method: str, file: Path | None = None, tuned: Path | None = None, **settings: Any
) -> RunConfig:
    """The configuration of a run: the data set's defaults, then what was tuned, then a file, then what is given here.

    Args:
        data: name of a data set.
        fusion: late or early.
        method: as `parse_method` reads it; arguments that are not given come from the tuned settings, those of a method
            `of` from its own; a method with arguments may have been tuned as it is written.
        file: a TOML file with the fields of `RunConfig`.
        tuned: a TOML file with the sections of the defaults, which comes over those that are shipped.
        **settings: fields of `RunConfig`; those of the optimizer by their own names; None means not given.

    Raises:
        ValueError: an unknown key, a value out of range, or a file that is not TOML.
    """
    given = parse_method(method)
    known = _known(data, fusion, tuned)
    sections = known.get(fusion, {})
    section = sections.get(method) or sections.get(given.name, {})
    optimizer = {"optimizer": section.get("optimizer", {})}
    values = _merged(known.get("run", {}), optimizer, read_toml(file) if file else {}, _nested(settings))
    chosen = _arguments(section) | _arguments_of(given, sections)
    named = {"name": given.name, "params": {**chosen, **given.params}, "tuned": chosen if tuned else {}}
    values |= {"data": data, "fusion": fusion, "method": named}
    return _with_weight_hashes(validated(values))


def label_of(config: RunConfig) -> str:
    """The method of a run as one writes it, without the arguments that are tuned for its data set."""
    sections = _known(config.data, config.fusion, None).get(config.fusion, {})
    known = tuned(config.data, config.fusion, config.method.name) | _arguments_of(config.method, sections)
    return config.method.text(known)


def defaults(data: str) -> dict[str, Any]:
    """The shipped settings of a data set: `run`, and `late` and `early` with what was tuned for each method.

    A published data set that is prepared under a name of its own has the settings of what it is; any other prepared
    store has those of imported data.
    """
    if own := _experiment(data):
        return own
    return _shipped(data) or _shipped(_published(data)) or (_shipped("imported") if _is_store(data) else {})


def _experiment(data: str) -> dict[str, Any]:
    """The settings of the experiment at `module:name`, over those of the data set that it takes, if it does."""
    from msam_bench.data.problems.planning import named_data, settings_at

    settings = settings_at(data)
    named = named_data(data) if settings else None
    return _merged(defaults(named) if named else {}, {"run": settings}) if settings else {}


@cache
def _shipped(data: str) -> dict[str, Any]:
    file = resources.files("msam_bench.config").joinpath("defaults", f"{data}.toml")
    return tomllib.loads(file.read_text()) if file.is_file() else {}


def _published(data: str) -> str:
    """The name that a data set gives itself; the given name or path, where there is none here."""
    try:
        return source(data).name
    except ValueError:
        return data


def _is_store(data: str) -> bool:
    """Whether a data set is a prepared store that is here."""
    from msam_bench.data.store.prepared import Prepared

    try:
        return isinstance(source(data), Prepared)
    except ValueError:
        return False


def tuned(data: str, fusion: str, method: str, file: Path | None = None) -> dict[str, Any]:
    """The arguments of a method that validation chose on a data set: those that are shipped, then those of a file."""
    return _arguments(_known(data, fusion, file).get(fusion, {}).get(method, {}))


def tuned_sections(data: str, fusion: str, file: Path | None = None) -> dict[str, Any]:
    """Method -> what was chosen for it on a data set with a fusion; empty where nothing was."""
    sections: dict[str, Any] = _known(data, fusion, file).get(fusion, {})
    return sections


def untuned(data: str, fusion: str, methods: Iterable[str], file: Path | None = None) -> tuple[str, ...]:
    """The methods of which no setting was chosen for a data set; those with arguments have what the user chose.

    Where others were tuned, a method that searches the learning rate alone has theirs.
    """
    sections = tuned_sections(data, fusion, file)
    own = {name: entry.search.keys() - {"lr"} for name, entry in known_methods().items()}
    names = [name for name in methods if name not in sections and not parse_method(name).params]
    return tuple(name for name in names if not sections or own.get(name))


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

    encoders = {
        name: encoder.model_copy(update={"sha256": sha256(Path(encoder.weights))}) if encoder.weights else encoder
        for name, encoder in config.encoders.items()
    }
    return config.model_copy(update={"encoders": encoders})


def _known(data: str, fusion: str, file: Path | None) -> dict[str, Any]:
    """The defaults of a data set, with a file of tuned settings over them."""
    return _merged(defaults(data), checked(read_toml(file), file, fusion)) if file else defaults(data)


def _arguments(section: dict[str, Any]) -> dict[str, Any]:
    """The arguments that were chosen for a method, without its optimizer's part."""
    return {key: value for key, value in section.items() if key != "optimizer"}


def _arguments_of(method: MethodConfig, sections: dict[str, Any]) -> dict[str, Any]:
    """The arguments that were chosen for the method `of` another, if it has one."""
    section = sections.get(str(method.params.get("of", "")), {})
    return {f"of.{key}": value for key, value in _arguments(section).items()}


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
