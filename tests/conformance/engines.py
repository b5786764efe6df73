"""Each engine trains a case as its own documentation says; `reference` is raw torch, without msam where it can be.

weights = ENGINES["lightning"](case, rank, ranks)               # name -> tensor, after twenty steps
wanted = reference(casting("lightning", case), case, rank, ranks)

Both sides round alike, whatever the processor: the same kernels see the same numbers in the same order. Twenty steps of
momentum, batch normalisation and maxout carry one flipped rounding of a 16-bit number on to 1e-3 and more, so a
reference in another order would ask for a tolerance that no processor can promise.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from functools import cache
from types import MethodType
from typing import Any, Literal

import torch
import torch.distributed
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from conformance.cases import (
    CLIP,
    LITERAL,
    LR,
    METHODS,
    MOMENTUM,
    RHO,
    SCALE,
    STEPS,
    Batch,
    Case,
    KeywordModel,
    micro_batches,
    network,
)
from msam import FusionModel
from msam.types import Inputs

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}
Casting = Literal["cached", "anew", "outputs"]
"""What an engine casts: each weight once a step, each weight anew in every pass, or the logits to float32 as well."""
Weights = dict[str, Tensor]
Engine = Callable[[Case, int, int], Weights]


def optimizer_of(parameters: Iterable[nn.Parameter]) -> torch.optim.SGD:
    return torch.optim.SGD(parameters, LR, momentum=MOMENTUM)


def scaler_of(case: Case) -> torch.amp.GradScaler:
    return torch.amp.GradScaler("cpu", init_scale=SCALE, enabled=case.precision == "fp16")


def autocast_of(case: Case, casts: Casting = "cached") -> Any:
    if case.precision not in HALF:
        return nullcontext()
    return torch.autocast("cpu", HALF[case.precision], cache_enabled=casts != "anew")


def stepped(case: Case, net: nn.Module, optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> None:
    scaler.unscale_(optimizer)
    if case.clip:
        nn.utils.clip_grad_norm_(net.parameters(), CLIP)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()


def trained(net: nn.Module) -> Weights:
    return {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}


# ---- raw torch -------------------------------------------------------------------------------------------------------


def casting(engine: str, case: Case) -> Casting:
    """What of an engine's casts a case can tell: AGM alone differentiates by logits, and by passes that share weights.

    Lightning switches autocast's cache off; Accelerate, and the Trainer with it, returns logits in float32.
    """
    known: dict[str, Casting] = {"lightning": "anew", "accelerate": "outputs", "transformers": "outputs"}
    return known.get(engine, "cached") if case.method == "agm" and case.precision in HALF else "cached"


@cache
def reference(casts: Casting, case: Case, rank: int, ranks: int) -> Weights:
    """For joint and SAM a loop that knows nothing of msam, for the others the raw loop with it."""
    return literal(case, rank, ranks) if case.method in LITERAL else raw(case, rank, ranks, casts)


def literal(case: Case, rank: int, ranks: int) -> Weights:
    """Gradients by `loss.backward()`, SAM's second pass by moving the weights, ranks by all-reducing `.grad`."""
    net, scaler = network(case), scaler_of(case)
    optimizer, weights = optimizer_of(net.parameters()), list(net.parameters())
    for count, batch in enumerate(micro_batches(case, rank, ranks), start=1):
        earlier = [None if weight.grad is None else weight.grad.clone() for weight in weights]
        _gradient(case, net, scaler, batch)
        if case.method == "sam":
            _ascended(case, net, scaler, batch)
        for weight, before in zip(weights, earlier, strict=True):
            weight.grad = weight.grad if before is None else weight.grad + before
        if count % case.accumulate == 0:
            for weight in weights if ranks > 1 else ():
                torch.distributed.all_reduce(weight.grad)
                weight.grad /= ranks
            stepped(case, net, optimizer, scaler)
    return trained(net)


def _gradient(case: Case, net: nn.Module, scaler: torch.amp.GradScaler, batch: Batch) -> None:
    net.zero_grad()
    with autocast_of(case):
        loss = F.cross_entropy(net(batch[0]), batch[1]) / case.accumulate
    scaler.scale(loss).backward()


def _ascended(case: Case, net: nn.Module, scaler: torch.amp.GradScaler, batch: Batch) -> None:
    """The gradient at theta + rho g / |g|; running statistics stay as the first pass left them."""
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    norm = nn.utils.get_total_norm([weight.grad for weight in net.parameters()])  # in the order that clipping takes
    with torch.no_grad():
        for weight in net.parameters():
            weight.addcmul_(weight.grad, RHO / norm)
    _gradient(case, net, scaler, batch)
    net.load_state_dict(before)


def raw(case: Case, rank: int, ranks: int, casts: Casting = "cached") -> Weights:
    """The loop of the documentation: DistributedDataParallel, autocast, GradScaler, accumulation, clipping."""
    net, scaler = network(case), scaler_of(case)
    optimizer = optimizer_of(net.parameters())
    if casts == "outputs":
        net.forward = MethodType(_in_float32, net)  # type: ignore[method-assign]
    wrapped = DistributedDataParallel(net) if ranks > 1 else net
    backward = METHODS[case.method]().on(
        wrapped,
        F.cross_entropy,
        backward=lambda loss: scaler.scale(loss / case.accumulate).backward(),
        context=lambda: autocast_of(case, casts),
    )
    for count, batch in enumerate(micro_batches(case, rank, ranks), start=1):
        last = count % case.accumulate == 0
        with wrapped.no_sync() if isinstance(wrapped, DistributedDataParallel) and not last else nullcontext():
            backward(*batch)
        if last:
            stepped(case, net, optimizer, scaler)
    return trained(net)


def _in_float32(net: FusionModel, inputs: Inputs) -> Tensor:
    return type(net).forward(net, inputs).float()


# ---- engines ---------------------------------------------------------------------------------------------------------


def fabric(case: Case, rank: int, ranks: int) -> Weights:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins import MixedPrecision

    half = {"bf16": lambda: MixedPrecision("bf16-mixed", "cpu")}
    half["fp16"] = lambda: MixedPrecision("16-mixed", "cpu", scaler_of(case))
    plugins = [half[case.precision]()] if case.precision in half else []
    engine = Fabric(accelerator="cpu", devices=ranks, strategy="ddp" if ranks > 1 else "auto", plugins=plugins)
    engine.launch()
    bare = network(case)
    net, optimizer = engine.setup(bare, optimizer_of(bare.parameters()))
    backward = METHODS[case.method]().on(
        net, F.cross_entropy, backward=lambda loss: engine.backward(loss / case.accumulate), context=engine.autocast
    )
    for count, batch in enumerate(micro_batches(case, rank, ranks), start=1):
        last = count % case.accumulate == 0
        with engine.no_backward_sync(net, enabled=ranks > 1 and not last):
            backward(*batch)
        if last:
            if case.clip:
                engine.clip_gradients(net, optimizer, max_norm=CLIP)
            optimizer.step()
            optimizer.zero_grad()
    return trained(bare)


def lightning(case: Case, rank: int, ranks: int) -> Weights:
    from lightning.pytorch import Trainer
    from lightning.pytorch.plugins import MixedPrecision

    from msam.integrations.lightning import MethodModule

    half = {"bf16": lambda: MixedPrecision("bf16-mixed", "cpu")}
    half["fp16"] = lambda: MixedPrecision("16-mixed", "cpu", scaler_of(case))
    plugins = [half[case.precision]()] if case.precision in half else []
    engine = Trainer(
        accelerator="cpu",
        devices=ranks,
        strategy="ddp" if ranks > 1 else "auto",
        plugins=plugins,
        max_epochs=1,
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    net, clip = network(case), CLIP if case.clip else None
    method = METHODS[case.method]()
    module = MethodModule(net, method, F.cross_entropy, optimizer_of, accumulate=case.accumulate, clip=clip)
    engine.fit(module, DataLoader(micro_batches(case, rank, ranks), batch_size=None))  # type: ignore[arg-type]
    return trained(net)


def accelerate(case: Case, rank: int, ranks: int) -> Weights:
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    from msam.integrations.accelerate import bound

    AcceleratorState._reset_state(reset_partial_state=True)
    half = {"bf16": "bf16", "fp16": "fp16"}.get(case.precision, "no")
    engine = Accelerator(cpu=True, mixed_precision=half, gradient_accumulation_steps=case.accumulate)
    bare = network(case)
    net, optimizer = engine.prepare(bare, optimizer_of(bare.parameters()))
    backward = bound(METHODS[case.method](), engine, net, F.cross_entropy)
    for batch in micro_batches(case, rank, ranks):
        with engine.accumulate(net):
            backward(*batch)
            if case.clip and engine.sync_gradients:
                engine.clip_grad_norm_(net.parameters(), CLIP)
            optimizer.step()
            optimizer.zero_grad()
    return trained(bare)


def transformers(case: Case, rank: int, ranks: int) -> Weights:
    from accelerate.state import AcceleratorState
    from transformers import TrainingArguments

    from msam.integrations.transformers import MethodTrainer

    class Ordered(MethodTrainer):
        def get_train_dataloader(self) -> DataLoader[Any]:
            batches = [{**inputs, "labels": target} for inputs, target in micro_batches(case, rank, ranks)]
            return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]

    AcceleratorState._reset_state(reset_partial_state=True)
    net = network(case, KeywordModel)
    with tempfile.TemporaryDirectory() as folder:
        settings = TrainingArguments(
            folder,
            use_cpu=True,
            max_steps=STEPS,
            gradient_accumulation_steps=case.accumulate,
            max_grad_norm=CLIP if case.clip else 0.0,
            lr_scheduler_type="constant",
            bf16=case.precision == "bf16",
            fp16=case.precision == "fp16",
            ddp_backend="gloo" if ranks > 1 else None,
            save_strategy="no",
            logging_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        Ordered(
            net,
            settings,
            train_dataset=[],  # type: ignore[arg-type]
            optimizers=(optimizer_of(net.parameters()), None),
            method=METHODS[case.method](),
        ).train()
    return trained(net)


ENGINES: dict[str, Engine] = {
    "torch": raw,
    "fabric": fabric,
    "lightning": lightning,
    "accelerate": accelerate,
    "transformers": transformers,
}
