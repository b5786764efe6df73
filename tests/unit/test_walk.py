"""The short way through a model finds what torch's own finds, in its order."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from msam.model_state import modules, parameters


class Odd(nn.Module):
    """A module that appears twice, a weight that two modules share, a place that is empty, parameters of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.own = nn.Parameter(torch.zeros(2))
        self.inner = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.BatchNorm1d(2), nn.ReLU()))
        self.second_pass = self.inner[0]
        self.tied = nn.Linear(2, 2, bias=False)
        self.tied.weight = self.inner[0].weight
        self.later = nn.Parameter(torch.zeros(1))
        self.register_module("nothing", None)
        self.register_parameter("none", None)
        self.me = [self]


@pytest.mark.parametrize("model", [Odd(), nn.Linear(2, 3), nn.ModuleDict(), nn.LSTM(2, 3)])
def test_modules_and_parameters_are_those_of_torch_in_order(model: nn.Module) -> None:
    assert [id(module) for module in modules(model)] == [id(module) for module in model.modules()]
    assert [id(weight) for weight in parameters(model)] == [id(weight) for weight in model.parameters()]


def test_a_module_that_holds_itself_is_found_once() -> None:
    model = nn.Module()
    model._modules["self"] = model
    assert modules(model) == [model]
