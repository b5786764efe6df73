"""The facade: everything that a method may ask of a model and a criterion, each question answered by one part."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from msam.deprecation import Renamed
from msam.features import FeatureHook
from msam.objective.coalitions import Coalitions
from msam.objective.curvature import Curvature
from msam.objective.distributed import Distributed
from msam.objective.evaluation import Evaluation
from msam.objective.gradients import LossGradients
from msam.objective.model_view import ModelView
from msam.objective.passes import Passes
from msam.objective.runtime import Runtime
from msam.objective.second import SecondPasses
from msam.types import Counts, Criterion, Inputs


class Objective:
    """A model and a criterion, with everything a method may ask of them.

    It holds its parts and adds nothing to them. The common questions are bound here under the names of the parts'
    methods, so that asking costs no further call; the rarer ones are asked of the part, such as
    `objective.curvature.hessian_product(...)`.

    Args:
        model: any module; wrappers (`torch.compile`, DistributedDataParallel, Fabric) are looked through.
        criterion: (logits, target) -> scalar loss, a mean over the batch.
        encoders: modality -> module, for a model that has no attribute `encoders`.
        call: (model, inputs) -> logits, for a model whose forward does not take a mapping.
        backward: what to call instead of `loss.backward()`, e.g. `lambda loss: scaler.scale(loss).backward()`.
        context: makes a context for forward passes, e.g. `lambda: torch.autocast("cuda", torch.bfloat16)`; Fabric's own
            for a model that Fabric has set up, else none.
        parallel: the DistributedDataParallel that shares the model's gradients, where it wraps a module that holds the
            model instead of the model itself, as Lightning's does.
        features: what the feature of an encoder's output is, for encoders that return more than a tensor: a function of
            the output, or modality -> function, see `msam.features`.
        modalities: which of a batch's inputs are modalities, for a model without encoders.

    Attributes:
        model: the model as it was given.
        bare: the model inside all wrappers.
        criterion: the criterion as it was given.
        encoders: modality -> module.
        capabilities: what the model offers, see `ModelView.capabilities`.
        view: what the model shows (`modalities`, `parameters`).
        runtime: how the user runs it, and passes made so far.
        distributed: ranks of data-parallel training (`average`, `share_gradients`).
        passes: training passes (`accumulate_gradient`, `forward`, `backpropagate`, `loss`).
        gradients: gradients of losses of one's own (`compute_gradients`, `add_gradients`, `unit`).
        second: passes like an earlier one (`second_pass`, `second_pass_of_encoder`).
        evaluation: evaluation mode (`logits`, `features`, `coalition_logits`).
        coalitions: training passes of some of the modalities.
        curvature: second derivatives.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        *,
        encoders: Mapping[str, nn.Module] | None = None,
        call: Callable[[Any, Inputs], Tensor] | None = None,
        backward: Callable[[Tensor], Any] = Tensor.backward,
        context: Callable[[], AbstractContextManager[Any]] | None = None,
        parallel: DistributedDataParallel | None = None,
        features: FeatureHook | None = None,
        modalities: Sequence[str] | None = None,
    ) -> None:
        self.view = ModelView(model, criterion, encoders, parallel, features, modalities)
        self.runtime = Runtime(self.view, call, backward, context)
        self.distributed = Distributed(self.view)
        self.passes = Passes(self.view, self.runtime, self.distributed)
        self.gradients = LossGradients(self.passes)
        self.evaluation = Evaluation(self.passes)
        self.second = SecondPasses(self.passes, self.evaluation.assumptions)
        self.coalitions = Coalitions(self.evaluation)
        self.curvature = Curvature(self.evaluation)

        self.model, self.bare, self.criterion = model, self.view.bare, criterion
        self.encoders, self.capabilities = self.view.encoders, self.view.capabilities
        self.modalities, self.parameters = self.view.modalities, self.view.parameters
        self.average, self.share_gradients = self.distributed.average, self.distributed.share_gradients
        self.accumulate_gradient, self.loss = self.passes.accumulate_gradient, self.passes.loss
        self.forward, self.backpropagate = self.passes.forward, self.passes.backpropagate
        self.compute_gradients, self.add_gradients = self.gradients.compute_gradients, self.gradients.add_gradients
        self.unit = self.gradients.unit
        self.second_pass, self.second_pass_of_encoder = self.second.second_pass, self.second.second_pass_of_encoder
        self.logits, self.features = self.evaluation.logits, self.evaluation.features
        self.coalition_logits = self.evaluation.coalition_logits

    @property
    def device(self) -> torch.device:
        """Where the parameters are (the CPU for a model without any)."""
        return self.view.device

    @property
    def counts(self) -> Counts:
        """Passes made so far."""
        return self.runtime.counts

    descend = Renamed("accumulate_gradient")
    deposit = Renamed("add_gradients")
    again = Renamed("second_pass")
    again_within = Renamed("second_pass_of_encoder")
    forward_again = Renamed("second.forward_like")
    forward_like = Renamed("second.forward_like")
    forward_within = Renamed("second.forward_encoder_like")
    forward_encoder_like = Renamed("second.forward_encoder_like")
    inspecting = Renamed("evaluation.evaluating")
    evaluating = Renamed("evaluation.evaluating")
    parts = Renamed("evaluation.parts")
    fused = Renamed("coalitions.fused")
    descend_along = Renamed("coalitions.accumulate_part_gradient")
    accumulate_part_gradient = Renamed("coalitions.accumulate_part_gradient")
    descend_coalition = Renamed("coalitions.accumulate_coalition_gradient")
    accumulate_coalition_gradient = Renamed("coalitions.accumulate_coalition_gradient")
    examined = Renamed("curvature.loss_at")
    loss_at = Renamed("curvature.loss_at")
    gradient = Renamed("curvature.gradient")
    hessian_product = Renamed("curvature.hessian_product")
    average_gradients = Renamed("distributed.average_gradients")
    scale = Renamed("gradients.scale")
    uncounted = Renamed("runtime.uncounted")
    on_part = Renamed("runtime.on_part")
    low_precision = Renamed("runtime.low_precision")
    can_fuse = Renamed("view.can_fuse")
    separable = Renamed("view.separable")
    wrappers = Renamed("view.wrappers")
