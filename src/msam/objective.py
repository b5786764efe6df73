"""The objective: the only way a method asks a model anything, and the only place that back-propagates.

    objective = Objective(model, F.cross_entropy)
    step = objective.descend(inputs, target)                      # one forward, one backward, into .grad
    live = objective.forward(inputs, target)                      # the same in parts, for losses of one's own:
    found = objective.gradients(live.loss, objective.parameters())     # weight -> gradient, as often as needed,
    objective.deposit({weight: 0.5 * g for weight, g in found.items()})    # then once into .grad
    logits = objective.coalition_logits(inputs, masks, "zero-input")   # [coalitions, batch, classes]

A model shows as much as it has. Any module `forward(inputs) -> logits` will do; `encoders` says which parameters belong
to which modality; `fuse(features) -> logits` beside it lets coalitions and second passes reuse encoder outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from math import log
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parallel import DistributedDataParallel

from msam.coalition import Absent, absent_features, absent_inputs, mixed
from msam.interventions import (
    Capture,
    RandomState,
    captured,
    evaluation,
    only,
    random_state,
    replayed,
    seeded_state,
    unrecorded,
)
from msam.types import Coalition, Counts, Criterion, Features, Gradients, Inputs, Note, Outcome

_ROWS = 8192
"""Rows of stacked coalitions that one fusion call takes at most; bounds memory, not results."""


_ONCE = (
    "A part of the model has no second derivative ({}); use a measure that needs no Hessian, or another "
    "implementation of that part."
)

_PARALLEL = (DistributedDataParallel, nn.DataParallel)


@dataclass(frozen=True)
class Pass:
    """One training pass: with its graph as `Objective.forward` makes it, detached once it has been back-propagated.

    Args:
        loss: the unweighted loss, 0-d.
        logits: `[batch, classes]`.
        features: encoder outputs `[batch, ...]`, empty if they could not be observed (shared or uncalled encoders).
        start: random state before the forward pass.
        before: random state before each encoder.
        between: random state between the encoders and the fusion.
    """

    loss: Tensor
    logits: Tensor
    features: Features
    start: RandomState
    before: Mapping[str, RandomState]
    between: RandomState

    def detached(self) -> Pass:
        """The same without its graph."""
        features = {name: feature.detach() for name, feature in self.features.items()}
        return replace(self, loss=self.loss.detach(), logits=self.logits.detach(), features=features)

    def outcome(self, **record: Note) -> Outcome:
        """This pass as the outcome of a method."""
        return Outcome(self.loss.detach(), self.logits.detach(), record)


@dataclass(frozen=True)
class Part:
    """A linear combination of coalitions' logits, such as one modality's Shapley logits.

    Args:
        masks: coalitions, booleans `[coalitions, modalities]`.
        coefficients: `[coalitions]`.
        absent: what an absent modality looks like.
    """

    masks: Tensor
    coefficients: Tensor
    absent: Absent


class Objective:
    """A model and a criterion, with everything a method may ask of them.

    Args:
        model: any module; wrappers (`torch.compile`, DistributedDataParallel, Fabric) are looked through.
        criterion: (logits, target) -> scalar loss, a mean over the batch.
        encoders: modality -> module, for a model that has no attribute `encoders`.
        call: (model, inputs) -> logits, for a model whose forward does not take a mapping.
        backward: what to call instead of `loss.backward()`, e.g. `lambda loss: scaler.scale(loss).backward()`.
        context: makes a context for forward passes, e.g. `lambda: torch.autocast("cuda", torch.bfloat16)`.

    Attributes:
        counts: passes made so far.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        *,
        encoders: Mapping[str, nn.Module] | None = None,
        call: Callable[[Any, Inputs], Tensor] | None = None,
        backward: Callable[[Tensor], Any] = Tensor.backward,
        context: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        self.model = model
        self.wrappers = list(_wrappers(model))
        self.bare: Any = self.wrappers[-1]
        self.criterion = criterion
        self.encoders = _mapping(encoders or getattr(self.bare, "encoders", None) or {})
        self._call = call or (lambda module, inputs: module(inputs))
        self._backward = backward
        self._context = context
        self.counts = Counts()

    # ---- what the model shows -------------------------------------------------------------------------------------

    @cached_property
    def capabilities(self) -> frozenset[str]:
        """What this model offers: any of `encoders`, `separate_encoders`, `fuse`, `additive_fusion`, `heads`."""
        shown = {
            "encoders": bool(self.encoders),
            "separate_encoders": bool(self.encoders) and self._separate,
            "fuse": self._fuses,
            "additive_fusion": self._fuses and getattr(self.bare, "partial", None) is not None,
            "heads": self._fuses and (len(self.encoders) == 1 or getattr(self.bare, "heads", None) is not None),
        }
        return frozenset(name for name, present in shown.items() if present)

    @property
    def _fuses(self) -> bool:
        return bool(self.encoders) and callable(getattr(self.bare, "fuse", None))

    @cached_property
    def separable(self) -> bool:
        """Whether one encoder can be re-run alone: features fuse again, weights are not shared, nothing is compiled."""
        return self._fuses and self._separate and self._joint is None

    @property
    def _separate(self) -> bool:
        owners = [id(weight) for encoder in self.encoders.values() for weight in set(encoder.parameters())]
        modules = {id(encoder) for encoder in self.encoders.values()}
        return len(owners) == len(set(owners)) and len(modules) == len(self.encoders)

    def modalities(self, inputs: Inputs) -> tuple[str, ...]:
        """The modalities in canonical order: the encoders', else all inputs that are tensors.

        Raises:
            TypeError: if the inputs are no mapping.
            ValueError: if a modality is missing from the inputs.
        """
        if not isinstance(inputs, Mapping):
            raise TypeError(f"Inputs must map modality to tensor, found {type(inputs).__name__}; name each modality.")
        names = tuple(self.encoders or (name for name, found in inputs.items() if isinstance(found, Tensor)))
        missing = [name for name in names if name not in inputs]
        if missing:
            raise ValueError(f"The model expects the modalities {list(names)}, found {list(inputs)}; add {missing}.")
        return names

    def parameters(self, modality: str | None = None, *, head: bool = False) -> list[Tensor]:
        """Trainable parameters: all (those of a criterion that has some too), or those of one encoder.

        With `head`, those of the encoder and of its modality's part of the fusion.
        """
        modules = [self.bare, *([self.criterion] if isinstance(self.criterion, nn.Module) else [])]
        if modality is not None and not (head and len(self.encoders) == 1):
            modules = [self.encoders[modality], *([self.bare.heads[modality]] if head else [])]
        weights = dict.fromkeys(weight for module in modules for weight in module.parameters())
        return [weight for weight in weights if weight.requires_grad]

    @property
    def device(self) -> torch.device:
        """Where the parameters are (the CPU for a model without any)."""
        return next((weight.device for weight in self.bare.parameters()), torch.device("cpu"))

    # ---- training passes ------------------------------------------------------------------------------------------

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """The criterion's value, 0-d.

        Raises:
            TypeError: if the model's output or the criterion's is not a tensor.
            ValueError: if the model's output has another batch size than the target, or the loss is not a scalar.
        """
        if not isinstance(logits, Tensor):
            raise TypeError(
                f"The model must return a tensor of logits, found {type(logits).__name__}; "
                "pass call=lambda model, inputs: ... to pick it out."
            )
        if logits.dim() == 0 or len(logits) != len(target):
            raise ValueError(
                f"The model must return logits [batch={len(target)}, ...], found shape {list(logits.shape)}; "
                "check the fusion or pass call=lambda model, inputs: ..."
            )
        loss = self.criterion(logits, target)
        if not isinstance(loss, Tensor):
            raise TypeError(f"The criterion must return a scalar tensor, found {type(loss).__name__}.")
        if loss.dim() != 0:
            raise ValueError(
                f"The criterion must return a scalar mean, found shape {list(loss.shape)}; reduce it first."
            )
        return loss

    def descend(self, inputs: Inputs, target: Tensor, weight: float | Tensor = 1.0, *, local: bool = False) -> Pass:
        """Adds `weight` times the loss's gradient to `.grad`: one forward, one backward.

        Args:
            inputs: modality -> `[batch, ...]`.
            target: `[batch, ...]`.
            weight: of the gradient; the returned loss is the plain one.
            local: in data-parallel training, leave this gradient on its own rank.
        """
        with self._on_this_rank(local):
            step = self._pass(inputs, target)
            self.backpropagate(_weighted(step.loss, weight))
        return step.detached()

    def forward(self, inputs: Inputs, target: Tensor, *, local: bool = False) -> Pass:
        """One forward pass with its graph, for a method that builds losses of its own from logits and features.

        It is to be followed by `backpropagate`, or by any number of `gradients` and one `deposit`. Nothing is written
        before either, so a criterion that raises in between leaves no trace.

        Args:
            inputs: modality -> `[batch, ...]`.
            target: `[batch, ...]`.
            local: in data-parallel training, leave what is back-propagated from this pass on its own rank.
        """
        with self._on_this_rank(local), self._keeping_buffers():
            return self._pass(inputs, target)

    def backpropagate(self, loss: Tensor) -> None:
        """Adds a loss's gradient to `.grad`, as the user would: with their scaling, in one shared reduction."""
        self._count_backward(name for name, encoder in self.encoders.items() if _trains(encoder))
        self._backward(loss)

    def gradients(self, loss: Tensor, weights: Iterable[Tensor], *, again: bool = False) -> Gradients:
        """Gradients of a loss, of this rank, in the loss's own units; weights that it does not reach are left out.

        The graph is kept, so that several losses of one pass can be asked one after the other. The user's loss scale is
        applied on the way, against underflow in half precision, and taken out of the result.

        Args:
            loss: 0-d, built from a pass with its graph.
            weights: parameters, features or logits to differentiate with respect to.
            again: keep what differentiating the result needs.
        """
        weights, scale = list(weights), self.scale()
        if not weights:
            return {}
        with self._keeping_buffers():
            found: Sequence[Tensor | None] = torch.autograd.grad(
                loss * scale, weights, retain_graph=True, create_graph=again, allow_unused=True
            )
        reached = {weight: g / scale for weight, g in zip(weights, found, strict=True) if g is not None}
        self._count_gradients(reached)
        return reached

    def deposit(self, gradients: Gradients) -> None:
        """Adds gradients to `.grad` as if they had been back-propagated: scaled, and shared between ranks, alike.

        Args:
            gradients: of the loss in its own units; one call a `forward`, with all of them.
        """
        if gradients:
            self._backward(_Deposit.apply(list(gradients.values()), *gradients))  # type: ignore[no-untyped-call]

    def scale(self) -> Tensor | float:
        """What the user's `backward` multiplies gradients by, measured on a loss of one."""
        if self._backward is Tensor.backward:
            return 1.0
        one = torch.ones((), device=self.device, requires_grad=True)
        self._backward(one.clone())
        return 1.0 if one.grad is None else one.grad

    def again(self, first: Pass, inputs: Inputs, target: Tensor, weight: float | Tensor = 1.0) -> Pass:
        """A pass like `first` at other weights: same random draws, no trace in running statistics; ranks share it."""
        with replayed(first.start), unrecorded(self.bare):
            return self.descend(inputs, target, weight)

    def again_within(
        self,
        modality: str,
        block: Sequence[Tensor],
        first: Pass,
        inputs: Inputs,
        target: Tensor,
        weight: float | Tensor,
    ) -> Pass:
        """Like `again`, but gradients flow into `block` only, and stay on this rank.

        Where the model allows it, only the encoder of `modality` and the fusion are run; the other features are those
        of the first pass, dropout masks included, so the gradients are identical to those of a full pass.
        """
        with only(block, among=self.parameters()), unrecorded(self.bare):
            if not (self.separable and first.features):
                with replayed(first.start):
                    return self.descend(inputs, target, weight, local=True)
            second = self._forward_within(modality, first, inputs, target)
            self.backpropagate(_weighted(second.loss, weight))
        return second.detached()

    def forward_within(self, modality: str, first: Pass, inputs: Inputs, target: Tensor) -> Pass:
        """A forward pass like `first` at other weights of one encoder, which alone is run where the model allows it.

        Same random draws, no trace in running statistics; for `gradients` with respect to that encoder.
        """
        with unrecorded(self.bare):
            if self.separable and first.features:
                return self._forward_within(modality, first, inputs, target)
        return self.forward_again(first, inputs, target)

    def forward_again(self, first: Pass, inputs: Inputs, target: Tensor) -> Pass:
        """A forward pass like `first` at other weights, or on a part of its samples; for `gradients`, on this rank.

        Same random state, no trace in running statistics.
        """
        with replayed(first.start), unrecorded(self.bare):
            return self.forward(inputs, target, local=True)

    def coalitions(
        self, live: Pass, inputs: Inputs, masks: Tensor, absent: Absent = "zero-input", *, in_evaluation: bool = False
    ) -> Tensor:
        """Logits of coalitions with their graph, `[coalitions, batch, classes]`; all modalities' are those of `live`.

        In the mode of training they are made from the features and random draws of `live`; in evaluation mode inputs
        are encoded again. An all-zero input is encoded in evaluation mode, with gradient, in both. A model that cannot
        fuse features is run once a coalition. There is no trace in running statistics or the random stream.

        Args:
            live: the training pass at the same inputs.
            inputs: modality -> `[batch, ...]`.
            masks: booleans `[coalitions, modalities]`.
            absent: what an absent modality looks like.
            in_evaluation: run the coalitions that leave out a modality in evaluation mode.
        """
        make = self._fused_coalitions if self._fuses else self._masked_coalitions
        mode = evaluation(self.bare) if in_evaluation else unrecorded(self.bare)
        with self._context(), mode, replayed(live.start):
            found = iter(make(live, inputs, masks[~masks.all(1)], absent, in_evaluation))
        return torch.stack([live.logits if full else next(found) for full in masks.all(1).tolist()])

    def descend_along(
        self,
        first: Pass,
        inputs: Inputs,
        target: Tensor,
        part: Part,
        weight: float = 1.0,
        *,
        local: bool = False,
    ) -> Pass:
        """Adds `weight` times the gradient of one part of the logits: `J_Phi^T dl/dz` with `Phi = sum_S c_S z_S`.

        The loss's derivative `dl/dz` is held constant; the parts of all modalities sum to the plain gradient
        (AGM, Li et al. 2023). Absent features are constants. Coalitions are run one by one in the model's own mode with
        the random draws of `first`, so that batch statistics and dropout masks are those of its pass; no trace is left
        in running statistics.

        Args:
            first: the pass at the same inputs whose random draws are repeated.
            inputs: modality -> `[batch, ...]`.
            target: `[batch, ...]`.
            part: the coalitions and their coefficients.
            weight: of the gradient.
            local: in data-parallel training, leave this gradient on its own rank.
        """
        with replayed(first.start), unrecorded(self.bare), self._on_this_rank(local):
            live = self._pass(inputs, target)
            with self._context():
                (slope,) = torch.autograd.grad(live.loss, live.logits)
                along = self._along(part, live, inputs)
            self.backpropagate((along * slope).sum() * weight)
        return live.detached()

    def descend_coalition(self, inputs: Inputs, target: Tensor, modality: str, absent: Absent) -> Pass:
        """Adds the gradient of the loss of one modality alone; only its encoder and the fusion are trained."""
        block = set(self.encoders[modality].parameters()) | set(self._fusion_parameters())
        start = self._random_state()
        with only(list(block), among=self.parameters()):
            with self._context():
                logits = self._alone(inputs, modality, absent)
                loss = self.loss(logits, target)
            self.backpropagate(loss)
        self.share_gradients()
        return Pass(loss, logits, {}, start, {}, start).detached()

    def share_gradients(self, weights: Iterable[Tensor] | None = None) -> None:
        """Averages `.grad` over the ranks, for passes that the data-parallel wrapper did not see; one reduction.

        Args:
            weights: which ones; the model's if None.
        """
        wrapper = self._data_parallel
        if wrapper is None or not wrapper.require_backward_grad_sync:
            return
        wrapper.require_forward_param_sync = True  # as after a pass of its own: buffers are spread before the next one
        weights = self.parameters() if weights is None else weights
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        if not gradients:
            return
        together = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(together, group=wrapper.process_group)
        together /= torch.distributed.get_world_size(wrapper.process_group)
        parts = torch.split(together, [gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    # ---- looking without touching ---------------------------------------------------------------------------------

    @contextmanager
    def inspecting(self) -> Iterator[None]:
        """Evaluation mode, no gradients: model and random stream are the same afterwards."""
        present = self._random_state()
        with torch.no_grad(), evaluation(self.bare), unrecorded(self.bare), replayed(present), self._context():
            yield

    def logits(self, inputs: Inputs) -> Tensor:
        """The model's output in evaluation mode, `[batch, classes]`."""
        with self.inspecting():
            self._count_forward()
            return self._call(self.bare, inputs)

    def features(self, inputs: Inputs) -> dict[str, Tensor]:
        """Encoder outputs in evaluation mode, `[batch, ...]` each."""
        with self.inspecting():
            self.counts.encoder_forwards.update(self.encoders.keys())
            return self._encode(inputs)

    @contextmanager
    def uncounted(self) -> Iterator[None]:
        """Passes inside do not count, such as those that measure a model."""
        counts, self.counts = self.counts, Counts()
        try:
            yield
        finally:
            self.counts = counts

    def coalition_logits(
        self,
        inputs: Inputs,
        masks: Tensor,
        absent: Absent,
        features: Features | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Logits of several coalitions, in evaluation mode, `[coalitions, batch, classes]`.

        Encoders run once (never, with `features` given) if the model can fuse, else the model runs once a coalition.

        Args:
            inputs: modality -> `[batch, ...]`.
            masks: booleans `[coalitions, modalities]`.
            absent: what an absent modality looks like.
            features: encoder outputs to use instead of encoding, `[batch, ...]` each.
            generator: for `absent="shuffle"`.
        """
        names = self.modalities(inputs)
        with self.inspecting():
            if not self._fuses:
                return self._masked_logits({name: inputs[name] for name in names}, inputs, masks, absent, generator)
            present = features or self.features(inputs)
            replacements = self._absent_features(inputs, present, absent, generator)
            if "additive_fusion" in self.capabilities:
                self.counts.fusions += 2
                return self._summed_logits(present, replacements, masks)
            self.counts.fusions += len(masks)
            rows = torch.split(masks.to(self.device), max(1, _ROWS // len(next(iter(present.values())))))
            return torch.cat([self._fused_logits(present, replacements, some) for some in rows])

    def parts(self, live: Pass) -> Tensor:
        """Each modality's additive part of a pass's logits, without gradients, `[modalities, batch, classes]`."""
        self.counts.fusions += 1
        with torch.no_grad(), self._context():
            parts = self.bare.partial(live.features)
            return torch.stack([parts[name] for name in self.encoders])

    def unit(self, logits: Tensor, target: Tensor) -> Tensor:
        """What one cross-entropy is in units of the criterion: its value for equal logits over `log(classes)`.

        1 for cross-entropy, 1/4 for a quarter of it; 1 where the criterion gives no scale (a single output, a loss that
        vanishes). For methods that compare or add a loss to a number without a unit.
        """
        even = torch.zeros_like(logits, dtype=torch.promote_types(logits.dtype, torch.float32))
        loss = self.loss(even, target).detach()
        entropy = log(logits.shape[1]) if logits.dim() > 1 else 0.0
        return loss / entropy if entropy and loss.isfinite() and loss > 0 else torch.ones_like(loss)

    @contextmanager
    def examined(
        self,
        inputs: Inputs,
        target: Tensor,
        weights: Sequence[Tensor] = (),
        coalition: Coalition | None = None,
        absent: Absent = "zero-input",
        seed: int = 0,
    ) -> Iterator[Tensor]:
        """The loss in evaluation mode as a function of `weights` alone, for `gradient` and `hessian_product` inside.

        The model is the same afterwards. What an absent modality looks like moves with the weights it is made from, so
        that the loss of a coalition is one function of the weights. Attention is computed by the formula, and recurrent
        layers without cuDNN, because the fused kernels have no second derivative.

        Args:
            inputs: modality -> `[batch, ...]`.
            target: `[batch, ...]`.
            weights: parameters to differentiate by; without any, nothing is kept for derivatives.
            coalition: modalities that are present, None for all.
            absent: what the others look like.
            seed: of the partners of `absent="shuffle"`, and of a model that draws even in evaluation mode.

        Raises:
            ValueError: if the coalition is empty or has an unknown modality.
        """
        with ExitStack() as inside:
            for found in (evaluation(self.bare), unrecorded(self.bare), only(weights, among=self.parameters())):
                inside.enter_context(found)
            inside.enter_context(replayed(seeded_state(seed, [self.device])))
            inside.enter_context(_twice_differentiable(self.bare) if weights else torch.no_grad())
            with self._context():
                loss = self.loss(self._coalition_logits(inputs, coalition, absent, seed), target)
            yield loss

    def gradient(self, loss: Tensor, weights: Sequence[Tensor], *, again: bool = False) -> list[Tensor]:
        """`d loss / d weights`, one tensor a weight; `.grad` is not touched.

        Args:
            loss: what `examined` gives.
            weights: those that it was given.
            again: keep what differentiating the result needs.

        Raises:
            ValueError: if the loss depends on none of the weights.
        """
        parts: Sequence[Tensor | None] = [None]
        if loss.requires_grad:
            parts = torch.autograd.grad(loss, list(weights), create_graph=again, allow_unused=True)
        if all(part is None for part in parts):
            raise ValueError("The loss does not depend on these weights; choose others, or a coalition that uses them.")
        return [torch.zeros_like(w) if part is None else part for w, part in zip(weights, parts, strict=True)]

    def hessian_product(self, loss: Tensor, weights: Sequence[Tensor], vectors: Sequence[Tensor]) -> list[Tensor]:
        """`H v` by differentiating twice (Pearlmutter 1994), `H` the Hessian of the loss by the weights.

        Args:
            loss: what `examined` gives.
            weights: those that it was given.
            vectors: one tensor a weight.

        Raises:
            ValueError: if the gradient is, to automatic differentiation, no function of the weights, or only in part.
        """
        slopes = self.gradient(loss, weights, again=True)
        moving = [(slope, vector) for slope, vector in zip(slopes, vectors, strict=True) if slope.requires_grad]
        if not moving:
            raise ValueError(
                "The gradient does not depend on the weights: the loss is linear in them, or a part of the model or of "
                "the criterion cannot be differentiated twice; use a measure that needs no Hessian."
            )
        outputs, along = zip(*moving, strict=True)
        if "torch::autograd::Error" in _nodes(outputs):  # left by once_differentiable; torch would pass over it
            raise ValueError(_ONCE.format("a custom function marked once_differentiable"))
        try:
            return list(torch.autograd.grad(outputs, list(weights), along, materialize_grads=True))
        except RuntimeError as error:
            if "not implemented" not in str(error):
                raise
            raise ValueError(_ONCE.format(str(error).splitlines()[0])) from error

    def average(self, values: Tensor, count: int) -> Tensor:
        """Mean over the ranks of data-parallel training, each weighted by its number of samples."""
        wrapper = self._data_parallel
        if wrapper is None:
            return values
        total = torch.cat([values.flatten() * count, values.new_tensor([count])])
        torch.distributed.all_reduce(total, group=wrapper.process_group)
        return (total[:-1] / total[-1]).view_as(values)

    # ---- inside ---------------------------------------------------------------------------------------------------

    @cached_property
    def _data_parallel(self) -> DistributedDataParallel | None:
        found = (wrapper for wrapper in self.wrappers if isinstance(wrapper, DistributedDataParallel))
        return next(found, None)

    @cached_property
    def _joint(self) -> Callable[[Inputs], tuple[Tensor, dict[str, Tensor]]] | None:
        """For a compiled model that can fuse: one compiled graph that also returns the features."""
        if not self._fuses or self._data_parallel or not self._compiled:
            return None

        def joint(inputs: Inputs) -> tuple[Tensor, dict[str, Tensor]]:
            features = self._encode(inputs)
            return self.bare.fuse(features), features

        compiled = next(wrapper for wrapper in self.wrappers if hasattr(wrapper, "_orig_mod"))
        return getattr(compiled, "dynamo_ctx", torch.compile)(joint)  # the user's backend and options

    @cached_property
    def _capturable(self) -> dict[str, nn.Module]:
        """Encoders whose outputs one hook each can tell apart."""
        distinct = len({id(encoder) for encoder in self.encoders.values()}) == len(self.encoders)
        return self.encoders if distinct and (self._fuses or not self._compiled) else {}

    @property
    def _compiled(self) -> bool:
        return any(hasattr(wrapper, "_orig_mod") for wrapper in self.wrappers)

    def _random_state(self) -> RandomState:
        return random_state([self.device])

    @contextmanager
    def _keeping_buffers(self) -> Iterator[None]:
        """What is compiled inside can be differentiated more than once: it gives no buffers away to its first time.

        Compiled code is looked up by keys that do not tell the two kinds apart, so that nothing is looked up either.
        """
        if not self._compiled:
            yield
            return
        import torch._functorch.config as tracing
        import torch._inductor.config as generation

        with (
            tracing.patch(donated_buffer=False, enable_autograd_cache=False),
            generation.patch(fx_graph_cache=False),
        ):
            yield

    def _on_this_rank(self, local: bool) -> AbstractContextManager[Any]:
        wrapper = self._data_parallel
        return wrapper.no_sync() if local and wrapper is not None else nullcontext()

    def _pass(self, inputs: Inputs, target: Tensor) -> Pass:
        start = self._random_state()
        logits, capture = self._forward(inputs)
        with self._context():
            loss = self.loss(logits, target)
        return Pass(loss, logits, self._observed(capture), start, capture.states, capture.end)

    def _forward(self, inputs: Inputs) -> tuple[Tensor, Capture]:
        self.modalities(inputs)
        self._count_forward()
        with self._context():
            if self._joint is not None:
                capture = Capture([self.device])
                logits, capture.outputs = self._joint(inputs)
                return logits, capture
            with captured(self._capturable, [self.device]) as capture:
                return self._call(self.model, inputs), capture

    def _forward_within(self, modality: str, first: Pass, inputs: Inputs, target: Tensor) -> Pass:
        self.counts.encoder_forwards[modality] += 1
        self.counts.fusions += 1
        others = {name: feature.detach() for name, feature in first.features.items()}
        with self._context():
            with replayed(first.before[modality]):
                feature = self.encoders[modality](inputs[modality])
            with replayed(first.between):
                logits = self.bare.fuse({**others, modality: feature})
            return replace(first, loss=self.loss(logits, target), logits=logits, features={**others, modality: feature})

    def _encode(self, inputs: Inputs) -> dict[str, Tensor]:
        return {name: encoder(inputs[name]) for name, encoder in self.encoders.items()}

    def _observed(self, capture: Capture) -> dict[str, Tensor]:
        """Features of a pass, or nothing if some encoder was not called as a module."""
        if len(capture.outputs) < len(self.encoders):
            return {}
        return {name: capture.outputs[name] for name in self.encoders}

    def _count_forward(self) -> None:
        self.counts.forwards += 1
        self.counts.fusions += 1
        self.counts.encoder_forwards.update(self.encoders.keys())

    def _count_backward(self, reached: Iterable[str]) -> None:
        self.counts.backwards += 1
        self.counts.encoder_backwards.update(reached)

    def _count_gradients(self, reached: Gradients) -> None:
        """Counts a back-propagation if it went into the model, not only to its outputs."""
        if any(weight in reached for weight in self.bare.parameters()):
            encoders = self.encoders.items()
            self._count_backward(name for name, each in encoders if any(w in reached for w in each.parameters()))

    def _encoded_again(self, inputs: Inputs, first: Pass) -> dict[str, Tensor]:
        """Features of a pass in which they could not be observed."""
        self.counts.encoder_forwards.update(self.encoders.keys())
        with replayed(first.start):
            return self._encode(inputs)

    def _along(self, part: Part, live: Pass, inputs: Inputs) -> Tensor:
        present = live.features or self._encoded_again(inputs, live)
        absent = self._absent_features(inputs, present, part.absent)
        along = torch.zeros_like(live.logits)
        for mask, coefficient in zip(part.masks.tolist(), part.coefficients.tolist(), strict=True):
            if all(mask):
                along = along + coefficient * live.logits
            elif coefficient:
                along = along + coefficient * self._fused_again(live, present, absent, mask)
        return along

    def _fused_again(self, live: Pass, present: Features, absent: Features, mask: Sequence[bool]) -> Tensor:
        """One coalition's logits with the random draws that the fusion had in a pass, with their graph."""
        self.counts.fusions += 1
        members = zip(self.encoders, mask, strict=True)
        features = {name: present[name] if chosen else absent[name] for name, chosen in members}
        with replayed(live.between):
            logits: Tensor = self.bare.fuse(_expanded(features, len(live.logits)))
        return logits

    def _fused_coalitions(
        self, live: Pass, inputs: Inputs, masks: Tensor, absent: Absent, in_evaluation: bool
    ) -> list[Tensor]:
        if in_evaluation or not live.features:
            present = self._encoded_again(inputs, live)
        else:
            present = dict(live.features)
        replacements = absent_features(absent, present, partial(self._encode_zeros, inputs))
        if in_evaluation and len(masks):
            self.counts.fusions += len(masks)
            return list(self._fused_logits(present, replacements, masks.to(self.device)))
        return [self._fused_again(live, present, replacements, mask) for mask in masks.tolist()]

    def _masked_coalitions(
        self, live: Pass, inputs: Inputs, masks: Tensor, absent: Absent, in_evaluation: bool
    ) -> list[Tensor]:
        seen, logits = {name: inputs[name] for name in self.modalities(inputs)}, []
        for mask in masks:
            with replayed(live.start):
                logits += list(self._masked_logits(seen, inputs, mask[None], absent, None))
        return logits

    def _alone(self, inputs: Inputs, modality: str, absent: Absent) -> Tensor:
        with self.inspecting():
            one = self._encode({name: inputs[name][:1] for name in self.encoders})
        self.counts.encoder_forwards[modality] += 1
        self.counts.fusions += 1
        feature = self.encoders[modality](inputs[modality])
        replacements = self._absent_features(inputs, one, absent)
        logits: Tensor = self.bare.fuse(_expanded({**replacements, modality: feature}, len(feature)))
        return logits

    def _fusion_parameters(self) -> list[Tensor]:
        owned = {id(weight) for encoder in self.encoders.values() for weight in encoder.parameters()}
        return [weight for weight in self.parameters() if id(weight) not in owned]

    def _absent_features(
        self, inputs: Inputs, present: Features, absent: Absent, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        with self.inspecting() if absent == "zero-input" else torch.no_grad():
            return absent_features(absent, present, partial(self._encode_zeros, inputs), generator)

    def _encode_zeros(self, inputs: Inputs, name: str) -> Tensor:
        """What a modality's encoder makes of an all-zero input, in evaluation mode, `[1, ...]`."""
        with evaluation(self.encoders[name]):
            feature: Tensor = self.encoders[name](torch.zeros_like(inputs[name][:1]))
            return feature

    def _coalition_logits(self, inputs: Inputs, coalition: Coalition | None, absent: Absent, seed: int) -> Tensor:
        """Logits of one coalition, differentiable; encoders of absent modalities run on no more than they have to."""
        names = self.modalities(inputs)
        gone = [] if coalition is None else [name for name in names if name not in coalition]
        if coalition is not None and not 0 < len(coalition) == len(names) - len(gone):
            raise ValueError(f"A coalition is some of the modalities {list(names)}, found {sorted(coalition)}.")
        generator = torch.Generator().manual_seed(seed)
        if gone and self._fuses:
            features = self._replaced_features(inputs, gone, absent, generator)
            features |= {name: self.encoders[name](inputs[name]) for name in names if name not in gone}
            logits: Tensor = self.bare.fuse({name: features[name] for name in names})
            return logits
        replaced = absent_inputs(absent, {name: inputs[name] for name in gone}, generator) if gone else {}
        return self._call(self.bare, {**inputs, **replaced})

    def _replaced_features(
        self, inputs: Inputs, gone: Sequence[str], absent: Absent, generator: torch.Generator
    ) -> dict[str, Tensor]:
        rows = slice(1) if absent in ("zero-input", "zero-feature") else slice(None)
        seen = {name: self.encoders[name](inputs[name][rows]) for name in gone}
        replaced = absent_features(absent, seen, partial(self._encode_zeros, inputs), generator)
        return _expanded(replaced, len(inputs[gone[0]]))

    def _summed_logits(self, present: Features, absent: Features, masks: Tensor) -> Tensor:
        """Additive fusion in closed form: `z_S = sum_m A_m + sum_{m in S} (P_m - A_m)`, one small matrix product."""
        batch = len(next(iter(present.values())))
        parts, without = (self.bare.partial(features) for features in (present, _expanded(absent, batch)))
        parts, without = (torch.stack([each[name] for name in self.encoders]) for each in (parts, without))
        chosen = masks.to(parts.device, parts.dtype)
        return without.sum(0) + torch.einsum("sm,mbc->sbc", chosen, parts - without)

    def _fused_logits(self, present: Features, absent: Features, masks: Tensor) -> Tensor:
        logits: Tensor = self.bare.fuse(mixed(present, absent, masks))
        return logits.reshape(len(masks), -1, *logits.shape[1:])

    def _masked_logits(
        self, seen: Inputs, inputs: Inputs, masks: Tensor, absent: Absent, generator: torch.Generator | None
    ) -> Tensor:
        replacements = absent_inputs(absent, seen, generator)
        logits = []
        for mask in masks.tolist():
            chosen = {m: seen[m] if present else replacements[m] for m, present in zip(seen, mask, strict=True)}
            self._count_forward()
            logits.append(self._call(self.bare, {**inputs, **chosen}))
        return torch.stack(logits)


class _Deposit(torch.autograd.Function):
    """A loss of zero whose gradient is what one says it is."""

    @staticmethod
    def forward(ctx: Any, gradients: list[Tensor], *weights: Tensor) -> Tensor:
        ctx.gradients = gradients
        return weights[0].new_zeros(())

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        return (None, *torch._foreach_mul(ctx.gradients, slope))


def _mapping(encoders: Any) -> dict[str, nn.Module]:
    if not hasattr(encoders, "keys"):
        raise TypeError(
            f"A model's `encoders` must map modality to module, found {type(encoders).__name__}; pass encoders={{...}}."
        )
    return dict(encoders)


def _weighted(loss: Tensor, weight: float | Tensor) -> Tensor:
    return loss * (weight.to(loss) if isinstance(weight, Tensor) else weight)


def _trains(module: nn.Module) -> bool:
    return any(weight.requires_grad for weight in module.parameters())


def _expanded(features: Features, batch: int) -> dict[str, Tensor]:
    """Features with as many rows as the batch; single rows are repeated without being copied."""
    return {name: feature.expand(batch, *feature.shape[1:]) for name, feature in features.items()}


def _wrappers(model: nn.Module) -> Iterator[nn.Module]:
    """The model and what it wraps, outermost first."""
    yield model
    attributes = ["_orig_mod", "_forward_module", *(["module"] if isinstance(model, _PARALLEL) else [])]
    inner = next((model._modules[name] for name in attributes if name in model._modules), None)
    if inner is not None:
        yield from _wrappers(inner)


def _nodes(outputs: Iterable[Tensor]) -> set[str]:
    """Names of the operations behind some tensors."""
    waiting, seen = [output.grad_fn for output in outputs], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [behind for behind, _ in node.next_functions]
    return {node.name() for node in seen}


@contextmanager
def _twice_differentiable(model: nn.Module) -> Iterator[None]:
    """Derivatives on, and kernels that have second ones."""
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    plain = torch.backends.cudnn.flags(enabled=False) if recurrent else nullcontext()
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), plain:
        yield
