"""`msam.integrations.accelerate` beyond the conformance trajectories: what a saved state holds, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from msam import AGM, Joint, Method
from zoo import batch, model, same

accelerate = pytest.importorskip("accelerate")
if accelerate:
    from accelerate.state import AcceleratorState
    from accelerate.utils import DistributedType

    from msam.integrations.accelerate import bound


def accelerator(**options: Any) -> Any:
    AcceleratorState._reset_state(reset_partial_state=True)
    return accelerate.Accelerator(cpu=True, **options)


def trained(engine: Any, method: Method, numbers: list[int], folder: Path | None = None) -> dict[str, Tensor]:
    """Some steps, from a saved state if there is one; the state is saved at the end."""
    net = model(2, noisy=False, dtype=torch.float32)
    prepared, optimizer = engine.prepare(net, torch.optim.SGD(net.parameters(), 0.1, momentum=0.9))
    backward = bound(method, engine, prepared, F.cross_entropy)
    if folder is not None and folder.exists():
        engine.load_state(folder)
    for number in numbers:
        backward(*batch(2, seed=number, dtype=torch.float32))
        optimizer.step()
        optimizer.zero_grad()
    if folder is not None:
        engine.save_state(folder)
    return dict(net.named_parameters())


def test_a_saved_state_holds_what_the_method_remembers(tmp_path: Path) -> None:
    """AGM's coefficients come from running means of all batches so far."""
    whole = trained(accelerator(), AGM(1.5), [0, 1, 2, 3])
    trained(accelerator(), AGM(1.5), [0, 1], tmp_path / "state")
    assert same(trained(accelerator(), AGM(1.5), [2, 3], tmp_path / "state"), whole)
    assert not same(trained(accelerator(), AGM(1.5), [0, 1]), whole)


def test_what_would_be_wrong_is_refused_in_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    net, sentence = model(2), r"Accelerate has no fp16 on this device .*; use mixed_precision='bf16'\."
    with pytest.raises(ValueError, match=sentence):
        bound(Joint(), accelerator(mixed_precision="fp16"), net, F.cross_entropy)
    engine = accelerator()
    monkeypatch.setattr(type(engine), "num_processes", 2)
    with pytest.raises(ValueError, match=r"Expected the model that accelerator\.prepare returned"):
        bound(Joint(), engine, net, F.cross_entropy)
    monkeypatch.setattr(type(engine), "distributed_type", DistributedType.FSDP)
    with pytest.raises(ValueError, match=r"found FSDP, which is not supported: .* launch with MULTI_GPU or MULTI_CPU"):
        bound(Joint(), engine, net, F.cross_entropy)
