"""Former names work, and warn with the present one and the release that removes them."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from msam import Objective
from msam.deprecation import MODULES, NAMES, REMOVED_IN, Renamed
from msam.objective.coalitions import Coalitions
from msam.objective.gradients import LossGradients
from zoo import batch, model

DOCUMENT = (Path(__file__).parents[2] / "docs" / "deprecation.md").read_text()
NEEDS = {"msam.lightning": "lightning", "msam.accelerate": "accelerate", "msam.transformers": "transformers"}
FORMER = [name for name, value in vars(Objective).items() if isinstance(value, Renamed)]


@pytest.mark.parametrize("old", MODULES)
def test_a_former_module_warns_and_is_the_present_one(old: str) -> None:
    if old in NEEDS:
        pytest.importorskip(NEEDS[old])
    sys.modules.pop(old, None)
    with pytest.warns(DeprecationWarning, match=f"{old} is now {MODULES[old]}; .*{REMOVED_IN}"):
        former = importlib.import_module(old)
    present = importlib.import_module(MODULES[old])
    public = [name for name in vars(present) if not name.startswith("_")]
    assert public
    assert all(getattr(former, name) is getattr(present, name) for name in public)


def test_former_names_in_a_former_module_are_the_present_ones() -> None:
    sys.modules.pop("msam.ascent", None)
    with pytest.warns(DeprecationWarning, match=r"msam\.perturbation"):
        from msam.ascent import steepest  # type: ignore[import-not-found, unused-ignore]
    from msam.perturbation import sam_perturbation

    assert steepest is sam_perturbation
    homes = [importlib.import_module(new) for old, new in MODULES.items() if old not in NEEDS]
    assert all(any(hasattr(home, new) for home in homes) for new in NAMES.values())


def test_an_unknown_module_is_still_unknown() -> None:
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("msam.lighting")


@pytest.mark.parametrize("old", FORMER)
def test_a_former_attribute_warns_and_is_the_present_one(old: str) -> None:
    objective = Objective(model(2), F.cross_entropy)
    renamed = vars(Objective)[old]
    with pytest.warns(DeprecationWarning, match=rf"Objective\.{old} is now Objective\.{renamed.new}; .*{REMOVED_IN}"):
        former = getattr(objective, old)
    present: object = objective
    for name in renamed.new.split("."):
        present = getattr(present, name)
    assert former == present


def test_calling_a_part_as_the_method_it_was_warns_and_computes_the_same() -> None:
    objective, (inputs, target) = Objective(model(2), F.cross_entropy), batch(2)
    live = objective.forward(inputs, target)
    with pytest.warns(DeprecationWarning, match="LossGradients.compute_gradients"):
        former = objective.gradients(live.loss, objective.parameters())
    assert all(torch.equal(former[w], g) for w, g in objective.compute_gradients(live.loss, former).items())
    masks = torch.tensor([[True, False], [True, True]])
    with pytest.warns(DeprecationWarning, match="Coalitions.training_logits"):
        logits = objective.coalitions(live, inputs, masks)
    assert torch.equal(logits, objective.coalitions.training_logits(live, inputs, masks))
    assert isinstance(objective.gradients, LossGradients)
    assert isinstance(objective.coalitions, Coalitions)


def test_the_document_lists_every_former_module_and_the_release() -> None:
    assert all(f"`{old}`" in DOCUMENT for old in MODULES)
    assert f"Removed in {REMOVED_IN}" in DOCUMENT
