"""`msam.integrations.lightning` beyond the conformance runs: schedules, records, resuming, refusals."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import ReduceLROnPlateau, StepLR
from torch.utils.data import DataLoader

from msam import AGM, MSAM, MSES, Joint, Method, MMPareto
from zoo import CLASSES, NAMES, batch, model, same

lightning = pytest.importorskip("lightning.pytorch")
if lightning:
    from msam.integrations.lightning import ByMethod, MethodModule

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on loaders, loggers and workers

BATCHES = 4


WIDTHS = dict.fromkeys(NAMES[:2], 6)


def net(fusion: str = "late", noisy: bool = True) -> nn.Module:
    return model(2, fusion, noisy, torch.float32)


def batches(first: int = 0) -> list[Any]:
    return [batch(2, seed=first + number, dtype=torch.float32) for number in range(BATCHES)]


def loader(batches: list[Any]) -> DataLoader[Any]:
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


def trainer(folder: Path, epochs: int, **options: Any) -> Any:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False}
    checkpoints = lightning.callbacks.ModelCheckpoint(folder, save_last=True)
    return lightning.Trainer(accelerator="cpu", max_epochs=epochs, callbacks=[checkpoints], **quiet, **options)


def module(method: Method, trained: nn.Module, **options: Any) -> MethodModule:
    options = {"scheduler": lambda optimizer: StepLR(optimizer, 2, 0.5), **options}
    return MethodModule(trained, method, F.cross_entropy, lambda weights: SGD(weights, 0.1, momentum=0.9), **options)


def test_an_epoch_steps_schedules_counts_and_records_once(tmp_path: Path) -> None:
    trained, engine = net("early"), trainer(tmp_path, 3)
    engine.fit(module(MSAM(0.1), trained, accumulate=3, clip=1.0), loader(batches()), loader(batches(10)))
    shown = engine.callback_metrics
    assert {"train/loss", "valid/loss", "valid/accuracy", "train/share", "train/sharpness"} <= shown.keys()
    assert sum(float(shown.get(f"train/dominant/{name}", 0)) for name in NAMES[:2]) == pytest.approx(1)
    assert engine.global_step == 3 * 2  # three micro-batches, then the one that is left
    assert engine.optimizers[0].param_groups[0]["lr"] == 0.05
    counts = [buffer for name, buffer in trained.named_buffers() if name.endswith("num_batches_tracked")]
    assert counts
    assert all(int(count) == 3 * BATCHES for count in counts)


@pytest.mark.parametrize("make", [lambda: MSAM(0.1, every=3), lambda: AGM(1.5), lambda: MMPareto(WIDTHS, CLASSES)])
def test_a_resumed_run_ends_in_the_same_bytes(tmp_path: Path, make: Any) -> None:
    """Without dropout: Lightning's checkpoints do not hold the random state."""
    whole, half, rest = (module(make(), net(noisy=False)) for _ in range(3))
    trainer(tmp_path / "whole", 3).fit(whole, loader(batches()))
    trainer(tmp_path / "half", 1).fit(half, loader(batches()))
    trainer(tmp_path / "rest", 3).fit(rest, loader(batches()), ckpt_path=tmp_path / "half/last.ckpt")
    tensors = [dict(each.named_parameters()) for each in (half, whole, rest)]
    assert same(*tensors[1:])
    assert not same(*tensors[:2])


class Own(ByMethod):
    """A module of somebody's, with batches of another form and a scheduler that waits for a metric."""

    def __init__(self, net: nn.Module, method: Method, optimizers: int = 1, watched: bool = True) -> None:
        super().__init__()
        self.net, self.count, self.seen = net, optimizers, list[int]()
        self.train_by(method, net, F.cross_entropy, monitor="watched" if watched else None)

    def unpack(self, batch: Any) -> Any:
        return batch["x"], batch["y"]

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("watched", F.cross_entropy(self.predict(batch["x"]), batch["y"]) * 0 + 1, batch_size=1)

    def configure_optimizers(self) -> Any:
        made = [SGD(self.net.parameters(), 0.1) for _ in range(self.count)]
        return made if self.count > 1 else (made, [ReduceLROnPlateau(made[0], patience=0)])


def keyed(first: int = 0) -> DataLoader[Any]:
    return loader([{"x": x, "y": y} for x, y in batches(first)])


def test_a_module_of_ones_own_learns_from_its_sets_and_waits_for_its_metric(tmp_path: Path) -> None:
    method, engine = MSES(patience=1), trainer(tmp_path, 3)
    engine.fit(Own(net(), method), keyed(), keyed(10))
    assert engine.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.1 * 0.1**2)  # the metric never improves
    assert method.get_extra_state() != MSES(patience=1).get_extra_state()


def test_a_set_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="MSES learns from a held-out set after each epoch"):
        trainer(tmp_path, 1).fit(Own(net(), MSES(patience=1)), keyed())


def test_a_metric_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"ReduceLROnPlateau waits for a metric: .* one of \['train/loss'.*found None"):
        trainer(tmp_path, 1).fit(Own(net(), Joint(), watched=False), keyed(), keyed(10))


def test_impossible_settings_are_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"Expected one optimizer, found 2; use parameter groups\."):
        trainer(tmp_path, 1).fit(Own(net(), Joint(), optimizers=2), keyed())
    with pytest.raises(ValueError, match="accumulate must be a number of at least 1, found 0"):
        module(Joint(), net(), accumulate=0)
    with pytest.raises(Exception, match="gradient clipping is not supported for manual optimization"):
        trainer(tmp_path, 1, gradient_clip_val=1.0).fit(module(Joint(), net()), loader(batches()))
    with pytest.raises(Exception, match="accumulation is not supported for manual optimization"):
        trainer(tmp_path, 1, accumulate_grad_batches=2).fit(module(Joint(), net()), loader(batches()))
    sharded = module(Joint(), net())
    sharded._trainer = SimpleNamespace(strategy=SimpleNamespace(model=sharded, optimizers=[1]))  # type: ignore[assignment]
    with pytest.raises(ValueError, match=r"found SimpleNamespace, which is not supported: .*strategy='ddp'"):
        sharded._backward(None, None)
