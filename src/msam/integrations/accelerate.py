"""Any method under Accelerate: what is different from raw torch is how a loss is back-propagated, and in which context.

accelerator = Accelerator(mixed_precision="bf16", gradient_accumulation_steps=4)
model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)
backward = bound(MSAM(rho=0.05), accelerator, model, F.cross_entropy)
for inputs, target in loader:
    with accelerator.accumulate(model):
        outcome = backward(inputs, target)                     # was: accelerator.backward(loss)
        if accelerator.sync_gradients:
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        optimizer.zero_grad()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from accelerate import Accelerator
from accelerate.utils import DistributedType
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from msam.features import FeatureHook
from msam.method import Backward, Method
from msam.types import Criterion, Inputs

TESTED = {DistributedType.NO, DistributedType.MULTI_CPU, DistributedType.MULTI_GPU}
"""One device, or data-parallel on several; the others cut the model or its gradients into pieces."""


def bound(
    method: Method,
    accelerator: Accelerator,
    model: nn.Module,
    criterion: Criterion,
    *,
    encoders: Mapping[str, nn.Module] | None = None,
    call: Callable[[Any, Inputs], Tensor] | None = None,
    features: FeatureHook | None = None,
) -> Backward:
    """Binds a method to a prepared model: losses are scaled, accumulated and shared as the accelerator does it.

    The method is registered with the accelerator: `save_state` and `load_state` hold what it remembers.

    Args:
        method: what turns a batch into gradients.
        accelerator: that prepared the model.
        model: as `accelerator.prepare` returned it.
        criterion: (logits, target) -> scalar loss.
        encoders: modality -> module, for a model that has no attribute `encoders`.
        call: (model, inputs) -> logits, for a model whose forward does not take a mapping.
        features: what the feature of an encoder's output is, see `msam.features`.

    Raises:
        ValueError: if the method does not fit the model, the model has not been prepared, the accelerator cuts it into
            pieces (FSDP, DeepSpeed, Megatron), or it does not do the precision that it was asked for.
    """
    kind = accelerator.distributed_type
    if kind not in TESTED:
        raise ValueError(
            f"Expected one device or data-parallel training, found {kind.value}, which is not supported: it would "
            "share each pass of a method; launch with MULTI_GPU or MULTI_CPU."
        )
    if accelerator.num_processes > 1 and not any(isinstance(part, DistributedDataParallel) for part in model.modules()):
        raise ValueError("Expected the model that accelerator.prepare returned, found one that was not prepared.")
    if accelerator.mixed_precision == "fp16" and accelerator.scaler is None:
        raise ValueError(
            "Accelerate has no fp16 on this device and would train in float32; use mixed_precision='bf16'."
        )
    accelerator.register_for_checkpointing(method)
    return method.on(
        model,
        criterion,
        encoders=encoders,
        call=call,
        backward=accelerator.backward,
        context=accelerator.autocast,
        features=features,
    )
