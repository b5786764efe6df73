"""What a run says it has cost is what happened: passes seen by PyTorch's own hooks, beside those that are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from contract.test_methods import cases, make
from msam import MSES
from msam.coalition import lattice
from zoo import NAMES, WIDTHS, batch, model

ENCODERS = {width: name for name, width in zip(NAMES[:5], WIDTHS, strict=False)}
"""What an encoder takes (and a teacher, which is like one) -> its modality."""


BATCH = 12


class Watched(torch.autograd.Function):
    """The identity, which says when a gradient comes by."""

    @staticmethod
    def forward(ctx: Any, layer: Tensor, told: list[tuple[str, float]], name: str, part: float) -> Tensor:
        ctx.told, ctx.name, ctx.part = told, name, part
        return layer.view_as(layer)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor, None, None, None]:
        ctx.told.append((ctx.name, ctx.part))
        return slope, None, None, None


class Watch:
    """Forward passes of encoders, and calls of the autograd engine by what they reach."""

    def __init__(self) -> None:
        self.forwards: Counter[str] = Counter()
        self.backwards: Counter[str] = Counter()
        self.calls = 0.0
        self.told: list[tuple[str, float]] = []
        self.weights: set[Tensor] = set()
        self.inside = False

    def layer(self, module: nn.Module, arguments: Any, output: Any) -> Any:
        if not isinstance(module, nn.Linear | nn.Sequential) or len(output) == 1:
            return None
        name = ENCODERS.get(arguments[0].shape[-1], "") if isinstance(module, nn.Sequential) else ""
        part = min(1.0, len(output) / BATCH)
        self.forwards.update({name: part} if name else {})
        return Watched.apply(output, self.told, name, part)

    def engine(self, run: Any) -> Any:
        def watched(*arguments: Any, **options: Any) -> Any:
            if self.inside:  # a part of a graph that is back-propagated on its own, within the call that counts
                return run(*arguments, **options)
            self.told.clear()
            self.inside = True
            try:
                slopes = run(*arguments, **options)
            finally:
                self.inside = False
            for name, part in self.told:
                self.backwards.update({name: part} if name else {})
            inputs = () if slopes is None else [arguments[1]] if isinstance(arguments[1], Tensor) else arguments[1]
            wanted = zip(inputs, slopes or (), strict=True)
            reached = slopes is None or any(weight in self.weights and slope is not None for weight, slope in wanted)
            self.calls += max((part for _, part in self.told), default=0.0) * reached
            return slopes

        return watched


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    seen = Watch()
    handle = register_module_forward_hook(seen.layer)
    monkeypatch.setattr(torch.autograd, "backward", seen.engine(torch.autograd.backward))
    monkeypatch.setattr(torch.autograd, "grad", seen.engine(torch.autograd.grad))
    yield seen
    handle.remove()


@cases(2)
def test_every_pass_is_counted(name: str, count: int, fusion: str, watch: Watch) -> None:
    fresh = {"mses": "paper", "mses-code": "code"}  # the table's have seen another model
    method = MSES(patience=1, faithful=fresh[name]) if name in fresh else make(name, count)  # type: ignore[arg-type]
    net = model(count, fusion)
    backward = method.on(net, F.cross_entropy)
    with backward.objective.runtime.uncounted():  # what coalitions assume of a model is tested once
        inputs, _ = batch(count, BATCH)
        backward.objective.coalition_logits(inputs, lattice(count), "zero-input")
        backward.objective.evaluation.assumptions.require_rows_apart(inputs, BATCH, "A part of the batch")
    watch.__init__()  # type: ignore[misc]  # neither that nor what making the method took is training
    watch.weights = set(net.parameters())
    for epoch in range(2):
        for step in range(2):
            backward(*batch(count, BATCH, seed=10 * epoch + step))
        backward.next_epoch([batch(count, 24, seed=7)], [batch(count, 20, seed=8), batch(count, 20, seed=9)])
    counts = backward.objective.counts
    assert counts.encoder_forwards == watch.forwards
    assert counts.encoder_backwards == watch.backwards
    assert counts.backwards == watch.calls
