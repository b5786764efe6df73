"""Any method inside Lightning: manual optimisation, with what the Trainer then no longer does.

    module = MethodModule(model, MSAM(rho=0.05), F.cross_entropy, lambda weights: SGD(weights, lr=0.1), clip=1.0)
    Trainer(max_epochs=100, precision="bf16-mixed").fit(module, train_loader, valid_loader)

A module of your own inherits from `ByMethod` (first, if it has other bases), calls `train_by` in its `__init__` and has
no `training_step`:

    class Mine(ByMethod):
        def __init__(self, net: nn.Module) -> None:
            super().__init__()
            self.net = net
            self.train_by(MSAM(rho=0.05), net, F.cross_entropy, accumulate=4, clip=1.0)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from msam.features import FeatureHook
from msam.method import Backward, Method, in_range
from msam.types import Criterion, Inputs, Outcome


class ByMethod(LightningModule):
    """A module that is trained by a method.

    It steps the optimizer and its schedulers (each at its interval and frequency), accumulates, clips what has been
    accumulated and unscaled, and logs `train/loss` and the method's notes once an epoch, averaged over the ranks. The
    method is a submodule (`method`): its state is in every checkpoint, its parameters are in `parameters()`. A hook
    that you override (`on_train_batch_start`, `on_before_optimizer_step`, `on_train_epoch_end`) calls `super()`.

    One optimizer, on one device or data-parallel; other strategies are refused. The Trainer's own
    `accumulate_grad_batches` and `gradient_clip_val` are for automatic optimisation, and refused by it.
    """

    def train_by(
        self,
        method: Method,
        model: nn.Module,
        criterion: Criterion,
        *,
        accumulate: int = 1,
        clip: float | None = None,
        monitor: str | None = None,
        encoders: Mapping[str, nn.Module] | None = None,
        call: Callable[[Any, Inputs], Tensor] | None = None,
        features: FeatureHook | None = None,
    ) -> None:
        """Says how this module is trained.

        Args:
            method: what turns a batch into gradients.
            model: what is trained, a submodule of this one.
            criterion: (logits, target) -> scalar loss.
            accumulate: micro-batches a step of the optimizer; an epoch's last step takes what is there.
            clip: largest norm of the gradient, None for no limit.
            monitor: the logged metric that a ReduceLROnPlateau waits for; Lightning drops the one that it is given.
            encoders: modality -> module, for a model that has no attribute `encoders`.
            call: (model, inputs) -> logits, for a model whose forward does not take a mapping.
            features: what the feature of an encoder's output is, see `msam.features`.

        Raises:
            ValueError: if the method does not fit the model, or a number is out of its range.
        """
        self.automatic_optimization = False
        self.method = method
        self.accumulate = int(in_range("accumulate", accumulate, 1))
        self.clip = clip if clip is None else in_range("clip", clip, 0)
        self.monitor = monitor
        self._bind = partial(method.on, model, criterion, encoders=encoders, call=call, features=features)
        self._bind()
        ignored = [*method.named_parameters(prefix="method"), *method.named_buffers(prefix="method")]
        self._ddp_params_and_buffers_to_ignore = [name for name, _ in ignored]  # the method shares its own gradients
        self._bound: tuple[object, Backward] | None = None
        self._seen: list[Outcome] = []

    def unpack(self, batch: Any) -> tuple[Inputs, Tensor]:
        """Inputs by modality and the target of a batch as the loader gives it; override it for another form."""
        inputs, target = batch
        return inputs, target

    def predict(self, inputs: Inputs) -> Tensor:
        """Logits at test time as the method makes them, `[batch, classes]`."""
        return self._bind().predict(inputs)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Has running statistics spread from the first rank before a step, which Lightning leaves out here."""
        super().on_train_batch_start(batch, batch_idx)
        parallel = self._parallel
        if parallel is not None and batch_idx % self.accumulate == 0:
            parallel.require_forward_param_sync = True

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Tensor]:
        """One micro-batch, and a step of the optimizer after the last one."""
        inputs, target = self.unpack(batch)
        last = (batch_idx + 1) % self.accumulate == 0 or self.trainer.is_last_batch
        parallel = self._parallel
        unshared = parallel.no_sync() if parallel is not None and not last else nullcontext()
        with unshared, torch.autocast(self.device.type, enabled=False):  # the method's passes have their own
            outcome = self._backward(inputs, target)
        self._seen.append(replace(outcome, logits=outcome.logits.new_empty(0)))
        if last:
            self._step(batch_idx)
        return {"loss": outcome.loss}

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Clips, where gradients are whole and no longer scaled."""
        super().on_before_optimizer_step(optimizer)
        if self.clip is not None:
            self.clip_gradients(optimizer, self.clip, "norm")

    def on_train_epoch_end(self) -> None:
        """Logs, tells the method that an epoch has ended, and moves the schedulers."""
        super().on_train_epoch_end()
        self.log_dict(_means(self._seen), sync_dist=True)
        self._seen = []
        sets = {"train": self.trainer.train_dataloader, "valid": self.trainer.val_dataloaders}
        wanted = {name: loader for name, loader in sets.items() if name in self.method.learns_from and loader}
        self._backward.next_epoch(**{name: _Unpacked(loader, self.unpack) for name, loader in wanted.items()})
        self._schedule("epoch", self.current_epoch + 1)

    # ---- inside ---------------------------------------------------------------------------------------------------

    @property
    def _parallel(self) -> DistributedDataParallel | None:
        wrapper = self.trainer.strategy.model
        return wrapper if isinstance(wrapper, DistributedDataParallel) else None

    @property
    def _backward(self) -> Backward:
        """The method, bound to the model as the Trainer has wrapped it."""
        strategy = self.trainer.strategy
        if self._bound is None or self._bound[0] is not strategy.model:
            if not isinstance(strategy, SingleDeviceStrategy | DDPStrategy):
                raise ValueError(
                    f"Expected one device or data-parallel training, found {type(strategy).__name__}, which is not "
                    "supported: it would share each pass of a method; use Trainer(strategy='ddp')."
                )
            if len(strategy.optimizers) != 1:
                raise ValueError(f"Expected one optimizer, found {len(strategy.optimizers)}; use parameter groups.")
            bound = self._bind(
                parallel=self._parallel, backward=self._backpropagate, context=strategy.precision_plugin.forward_context
            )
            self._bound = (strategy.model, bound)
        return self._bound[1]

    def _backpropagate(self, loss: Tensor) -> None:
        self.manual_backward(loss / self.accumulate)

    def _step(self, batch: int) -> None:
        optimizer = self.optimizers()
        assert not isinstance(optimizer, list)
        optimizer.step()
        self.optimizer_zero_grad(self.current_epoch, batch, optimizer)  # type: ignore[arg-type]
        self._schedule("step", self.global_step)

    def _schedule(self, interval: str, count: int) -> None:
        for config in self.trainer.strategy.lr_scheduler_configs:
            if config.interval == interval and count % config.frequency == 0:
                waits = isinstance(config.scheduler, ReduceLROnPlateau)
                self.lr_scheduler_step(config.scheduler, self._metric() if waits else None)

    def _metric(self) -> Tensor:
        metrics = self.trainer.callback_metrics
        if self.monitor not in metrics:
            raise ValueError(
                f"ReduceLROnPlateau waits for a metric: expected monitor= to name one of {sorted(metrics)}, "
                f"found {self.monitor!r}."
            )
        return metrics[self.monitor]


class MethodModule(ByMethod):
    """A fusion model, a method, an optimizer: ready for a Trainer, whose loaders give (inputs by modality, target).

    Logs `valid/loss` and, for class indices, `valid/accuracy`.

    Args:
        model: any model that `method.on` takes.
        method: what turns a batch into gradients.
        criterion: (logits, target) -> scalar loss.
        optimizer: makes an optimizer of the parameters, the method's own among them.
        scheduler: makes a scheduler of that optimizer, stepped once an epoch.
        accumulate: micro-batches a step of the optimizer.
        clip: largest norm of the gradient, None for no limit.
        monitor: the logged metric that a ReduceLROnPlateau waits for.

    Raises:
        ValueError: if the method does not fit the model.
    """

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        criterion: Criterion,
        optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler] | None = None,
        accumulate: int = 1,
        clip: float | None = None,
        monitor: str | None = None,
    ) -> None:
        super().__init__()
        self.model, self.criterion = model, criterion
        self._optimizer, self._scheduler = optimizer, scheduler
        self.train_by(method, model, criterion, accumulate=accumulate, clip=clip, monitor=monitor)

    def configure_optimizers(self) -> Any:
        """The optimizer, with its scheduler if there is one."""
        optimizer = self._optimizer(self.parameters())
        return optimizer if self._scheduler is None else ([optimizer], [self._scheduler(optimizer)])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Loss and accuracy of the method's predictions."""
        inputs, target = self.unpack(batch)
        logits = self.predict(inputs)
        metrics = {"valid/loss": self.criterion(logits, target)}
        if target.dim() == 1 and not target.is_floating_point():
            metrics["valid/accuracy"] = (logits.argmax(-1) == target).float().mean()
        self.log_dict(metrics, batch_size=len(target), sync_dist=True)

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Logits of a batch."""
        return self.predict(self.unpack(batch)[0])


class _Unpacked:
    """A loader's batches as (inputs, target)."""

    def __init__(self, loader: Iterable[Any], unpack: Callable[[Any], tuple[Inputs, Tensor]]) -> None:
        self.loader, self.unpack = loader, unpack

    def __iter__(self) -> Iterator[tuple[Inputs, Tensor]]:
        return map(self.unpack, self.loader)


def _means(outcomes: list[Outcome]) -> dict[str, float]:
    """Means over an epoch's batches, and the share of them that each modality dominated."""
    notes = [outcome.notes for outcome in outcomes]
    numbers = dict.fromkeys(key for note in notes for key, value in note.items() if isinstance(value, float))
    means = {key: fmean(float(note[key]) for note in notes if key in note) for key in numbers}
    named = Counter(str(note["dominant"]) for note in notes if "dominant" in note)
    means |= {f"dominant/{name}": count / named.total() for name, count in named.items()}
    means["loss"] = fmean(float(outcome.loss) for outcome in outcomes)
    return {f"train/{key}": value for key, value in means.items()}
