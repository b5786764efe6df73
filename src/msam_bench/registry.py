"""Which methods the bench knows by name. A method that is not here is named `package.module:Class`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from msam_bench.names import nearest

if TYPE_CHECKING:
    from msam import Method, Shapley
    from msam_bench.config.run import MethodConfig

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "joint": ("msam:Joint", {}),
    "unimodal": ("msam:Unimodal", {}),
    "sam": ("msam:SAM", {}),
    "asam": ("msam:ASAM", {}),
    "gnp": ("msam:GNP", {}),
    "esam": ("msam:ESAM", {}),
    "looksam": ("msam:LookSAM", {}),
    "ae-sam": ("msam:AESAM", {}),
    "f-sam": ("msam:FSAM", {}),
    "msam": ("msam:MSAM", {}),
    "msam-encoder": ("msam:MSAM", {"scope": "encoder"}),
    "msam-encoder+head": ("msam:MSAM", {"scope": "encoder+head"}),
    "msam-shapley": ("msam:MSAM", {"scope": "shapley"}),
    "msam-random": ("msam:MSAM", {"dominant": "random"}),
    "msam-weakest": ("msam:MSAM", {"dominant": "weakest"}),
    "msam-mean-share": ("msam_bench.studies.controls:MeanShare", {}),
    "msam-shuffled-share": ("msam_bench.studies.controls:ShuffledShare", {}),
    "msam-gradient-share": ("msam_bench.studies.controls:GradientShare", {}),
    "ogm": ("msam:OGM", {}),
    "ogm-pairwise": ("msam:OGM", {"extension": "pairwise-mean"}),
    "ogm-ge": ("msam:OGMGE", {}),
    "ogm-ge-pairwise": ("msam:OGMGE", {"extension": "pairwise-mean"}),
    "agm": ("msam:AGM", {}),
    "cggm": ("msam:CGGM", {}),
    "mmpareto": ("msam:MMPareto", {}),
    "masam": ("msam:MASAM", {}),
    "pmr": ("msam:PMR", {}),
    "pmr-mean-of-others": ("msam:PMR", {"extension": "mean-of-others"}),
    "mslr": ("msam:MSLR", {}),
    "mses": ("msam:MSES", {}),
    "g-blending": ("msam:GBlending", {}),
    "mmcosine": ("msam:MMCosine", {}),
    "mla": ("msam:MLA", {}),
    "reconboost": ("msam:ReconBoost", {}),
    "umt": ("msam:UMT", {}),
    "opm": ("msam:OPM", {}),
    "opm-pairwise": ("msam:OPM", {"extension": "pairwise-mean"}),
    "cml": ("msam:CML", {}),
    "lfm": ("msam:LFM", {}),
    "mbsd": ("msam:MBSD", {}),
}
"""Name -> class, and the arguments that the name stands for."""

EXTENSIONS = {
    "ogm": "ogm-pairwise",
    "ogm-ge": "ogm-ge-pairwise",
    "pmr": "pmr-mean-of-others",
    "opm": "opm-pairwise",
}
"""A method that its authors define for two modalities -> its extension to any number, which is the same for two."""

CONTROLS = frozenset(
    {
        "unimodal",
        "msam-random",
        "msam-weakest",
        "msam-mean-share",
        "msam-shuffled-share",
        "msam-gradient-share",
    }
)
"""What answers a question about another method, and is no rival of it."""


def build(config: MethodConfig, widths: Mapping[str, int], classes: int, value: str = "accuracy") -> Method:
    """The method of a configuration; `attribution.key` arguments go to its Shapley values.

    Args:
        config: its name and arguments.
        widths: modality -> width of its feature, for methods with classifiers of their own.
        classes: number of logits, likewise.
        value: the value function of contributions, unless the configuration names one.

    Raises:
        ValueError: an unknown method or argument (with the nearest name), or a value out of range.
    """
    location, fixed = _located(config.name)
    cls = _imported(location)
    sizes = {"widths": widths, "classes": classes}
    offered = {key: size for key, size in sizes.items() if key in inspect.signature(cls).parameters}
    params: dict[str, Any] = {**offered, **fixed, **config.params}
    inner: dict[str, Any] = {
        key.partition(".")[2]: params.pop(key) for key in list(params) if key.startswith("attribution.")
    }
    _check_names(config.name, cls, params)
    if value != "accuracy" and "attribution" in inspect.signature(cls).parameters:
        inner = {"value": value, **inner}
    try:
        if inner:
            params["attribution"] = _attribution(config.name, inner)
        method: Method = cls(**params)
    except TypeError as error:
        raise ValueError(f"Method {config.name!r} cannot be made from {params | inner}: {error}.") from None
    return method


def _attribution(name: str, params: dict[str, Any]) -> Shapley:
    from msam import Shapley

    _check_names(f"{name}'s attribution", Shapley, params)
    return Shapley(**params)


def _located(name: str) -> tuple[str, dict[str, Any]]:
    if name in METHODS:
        return METHODS[name]
    if ":" in name:
        return name, {}
    raise ValueError(f"Unknown method {name!r}: {nearest(name, list(METHODS))}, or name your own package.module:Class.")


def _imported(location: str) -> Any:
    module, _, attribute = location.partition(":")
    try:
        return getattr(import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"Expected a method class at {location!r}, found none: {error}.") from None


def _check_names(name: str, cls: Any, params: dict[str, Any]) -> None:
    known = list(inspect.signature(cls).parameters)
    for key in params:
        if key not in known:
            raise ValueError(f"Method {name!r} has no argument {key!r}: {nearest(key, known)}.")
