"""Former names: they work for one release longer, with a warning that says the new name (docs/deprecation.md).

class Objective:
    descend = Renamed("accumulate_gradient")     # objective.descend(...) warns and does the same

import msam.lightning                            # warns, and is msam.integrations.lightning
"""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from operator import attrgetter
from types import ModuleType
from typing import Any

REMOVED_IN = "0.3.0"
"""The release in which the former names that this one still knows are removed."""

MODULES = {
    "msam.lightning": "msam.integrations.lightning",
    "msam.accelerate": "msam.integrations.accelerate",
    "msam.transformers": "msam.integrations.transformers",
    "msam.interventions": "msam.model_state",
    "msam.walk": "msam.model_state",
    "msam.ascent": "msam.perturbation",
    "msam.twopass": "msam.perturbation",
    "msam.sets": "msam.batches",
    "msam.methods.base": "msam.method",
}
"""Former module -> the one that has its content."""

NAMES = {
    "Aside": "StashedGradients",
    "Climb": "Perturbation",
    "averaged": "average_over",
    "captured": "Capture",
    "only": "requires_grad_only",
    "reinstated": "restore_state",
    "scaled_ball": "asam_epsilon",
    "scaled_steepest": "asam_perturbation",
    "steepest": "sam_perturbation",
    "told": "on_gradient",
}
"""Former name of something in those modules -> its name there."""


def warn(old: str, new: str, stacklevel: int = 3) -> None:
    """Warns that a name has become another."""
    warnings.warn(
        f"{old} is now {new}; the former name is removed in msam {REMOVED_IN}.", DeprecationWarning, stacklevel
    )


class Renamed:
    """A former name of an attribute, or of an attribute of a part (`"curvature.gradient"`)."""

    def __init__(self, new: str) -> None:
        self.new, self._current = new, attrgetter(new)

    def __set_name__(self, owner: type, name: str) -> None:
        self._old, self._owner = f"{owner.__name__}.{name}", owner.__name__

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None:
            return self
        warn(self._old, f"{self._owner}.{self.new}")
        return self._current(instance)


class FormerModules(MetaPathFinder, Loader):
    """Finds modules under the names that they had before."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A spec for a former name, else None."""
        return ModuleSpec(name, self) if name in MODULES else None

    def create_module(self, spec: ModuleSpec) -> None:
        """Leaves the module itself to the import system."""

    def exec_module(self, module: ModuleType) -> None:
        """Fills a former module with what is in the present one."""
        new = MODULES[module.__name__]
        warn(module.__name__, new)
        present = importlib.import_module(new)
        public = {name: value for name, value in vars(present).items() if not name.startswith("__")}
        vars(module).update(public, **{old: public[name] for old, name in NAMES.items() if name in public})


def install() -> None:
    """Lets former module names be imported; once."""
    if not any(isinstance(finder, FormerModules) for finder in sys.meta_path):
        sys.meta_path.append(FormerModules())
