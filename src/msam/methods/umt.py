"""UMT: each encoder is held near the features of a teacher that has learned the task from its modality alone."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam.features import reason_of
from msam.heads import Heads
from msam.losses import Losses, LossMethod
from msam.method import in_range
from msam.model_state import evaluation, restore_state
from msam.objective import Objective, Pass
from msam.remembering import Remembering
from msam.types import Inputs, Outcome


class UMT(Remembering, LossMethod):
    """Uni-modal teachers (Du et al. 2021, arXiv 2106.11059): distillation of features.

        loss = l + scale sum_m mean((h_m - t_m(x_m))^2)

    The teachers `t_m` are frozen, in evaluation mode, and have features of the size of the encoders'. Give `teachers=`
    that were trained elsewhere, as the authors do, and again when a run is resumed; they are not part of the state.

    Given `widths` and `classes` instead, the method trains its teachers itself in the first `teaching` epochs of the
    run: each encoder follows the loss of a linear classifier of its own, and the fusion the fused loss, which does not
    reach the encoders. At the end of these epochs (`next_epoch`) the encoders are kept as teachers and the model is put
    back to its first weights, to start again with their help. That is the one time that this method writes to the model
    itself. What stands in for `loss.backward()` cannot make a new optimizer or schedule: momentum and learning rate go
    on. Teachers that had less than a training of their own are weaker than the authors'; in return the run's count of
    gradients has their training in it.

    The distance is in units of the criterion (`Objective.unit`), so that the sum is proportional to it.

    Passes a batch: 1 forward, 1 backward, 1 forward of each teacher; while teaching, 1 forward, 1 backward of the
    encoders and 1 of the fusion.

    Limits: `scale=0` is joint training, once the teachers are there.

    Args:
        widths: modality -> size of its encoder's output, flattened; if the method trains its teachers.
        classes: number of logits; likewise.
        teachers: modality -> module from its input to features; trained by the method if None.
        scale: weight of the distance, at least 0; 10 is usual.
        teaching: epochs of training the teachers, at least 1.
        seed: of the classifiers' initial values.

    Raises:
        ValueError: if an argument is out of its range, or there are neither teachers nor sizes.
    """

    name, family = "umt", "balance"
    paper = "Du et al. 2021, arXiv 2106.11059"
    # scale: 10 in BalanceBenchmark; the authors' teachers have a training of their own, these have some of the
    # epochs
    search = {"scale": [1.0, 10.0, 50.0, 1.0, 10.0, 50.0, 10.0], "teaching": [3, 3, 3, 6, 6, 6, 10]}
    remedies = {"umt": "support"}

    remembers = ("epoch", "first", "learned")

    needs = frozenset({"separate_encoders"})

    def __init__(
        self,
        widths: Mapping[str, int] | None = None,
        classes: int | None = None,
        teachers: Mapping[str, nn.Module] | None = None,
        scale: float = 10.0,
        teaching: int = 10,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.scale, self.teaching = in_range("scale", scale, 0), int(in_range("teaching", teaching, 1))
        if teachers is None and (widths is None or classes is None):
            raise ValueError("UMT needs teachers, or widths and classes to train some itself; found neither.")
        self.heads = Heads(widths, classes, seed) if teachers is None and widths and classes else None
        self._given = None if teachers is None else dict(teachers)
        if teachers is None:
            self.stands_alone = "it trains in two stages and puts the model back in between; give it `teachers`"
        self._epoch = 0
        self._first: dict[str, Tensor] = {}
        self._learned: dict[str, dict[str, Tensor]] = {}
        self._built: dict[str, nn.Module] = {}

    def check(self, objective: Objective) -> None:
        """Refuses a model without a teacher for each modality; moves those given to its device and precision."""
        super().check(objective)
        if self._given is None:
            return
        if set(self._given) != set(objective.encoders):
            raise ValueError(
                f"UMT was given teachers for {list(self._given)}, but the model has encoders for "
                f"{list(objective.encoders)}; give one for each."
            )
        example = next((w for w in objective.bare.parameters() if w.is_floating_point()), torch.zeros(0))
        for teacher in self._given.values():
            teacher.to(example.device, example.dtype)

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient of the loss with the distances to the teachers, or that of teaching them."""
        if self.heads is not None and self._epoch < self.teaching:
            return self._teach(self.heads, objective, inputs, target)
        return super().backward(objective, inputs, target)

    def losses(self, objective: Objective, live: Pass, inputs: Inputs, target: Tensor) -> Losses:
        """The loss and the distances to the teachers."""
        if self.scale == 0:
            return Losses(live.loss, record=dict.fromkeys(_distances(objective), 0.0))
        distances = torch.stack([self._distance(objective, live, inputs, modality) for modality in objective.encoders])
        pull = self.scale * distances.sum()
        record = dict(zip(_distances(objective), distances.detach(), strict=True))
        return Losses(live.loss, penalty=objective.unit(live.logits, target) * pull, record=record)

    def _distance(self, objective: Objective, live: Pass, inputs: Inputs, modality: str) -> Tensor:
        teacher = self._teachers(objective)[modality]
        with objective.evaluation.evaluating(), evaluation(teacher):
            taught = objective.view.feature(modality, teacher(inputs[modality]))
        objective.counts.encoder_forwards[modality] += 1
        feature = live.features.get(modality)
        if feature is None or feature.shape != taught.shape:
            shape = "none: " + reason_of(live.features, modality) if feature is None else list(feature.shape)
            raise ValueError(
                f"UMT needs features of encoder {modality!r} like its teacher's, {list(taught.shape)}, found {shape}."
            )
        wide = torch.promote_types(feature.dtype, torch.float32)
        return F.mse_loss(feature.to(wide), taught.to(wide))

    def _teach(self, heads: Heads, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Each encoder learns alone, the fusion from what they are."""
        self._first = self._first or _copied(objective.bare)
        live = objective.forward(inputs, target)
        losses = heads.losses(objective, live, target)
        encoders = dict.fromkeys(weight for modality in objective.encoders for weight in objective.parameters(modality))
        gradients = objective.compute_gradients(live.loss, [w for w in objective.parameters() if w not in encoders])
        gradients |= objective.compute_gradients(
            torch.stack(list(losses.values())).sum(), [*encoders, *heads.parameters()]
        )
        objective.add_gradients(gradients)
        return live.outcome(**dict.fromkeys(_distances(objective), 0.0))

    def next_epoch(self, objective: Objective, train: Any = None, valid: Any = None) -> None:
        """Moves on; at the end of teaching, keeps the teachers and puts the model back to its first weights."""
        self._epoch += 1
        if self.heads is not None and self._epoch == self.teaching:
            self._learned = {name: _copied(encoder) for name, encoder in objective.encoders.items()}
            restore_state(objective.bare.state_dict(), self._first)
            self._first = {}

    def _teachers(self, objective: Objective) -> Mapping[str, nn.Module]:
        """The modules given, or copies of the encoders with the weights that they had learned."""
        if self._given is None and not self._built:
            self._built = {name: copy.deepcopy(encoder) for name, encoder in objective.encoders.items()}
            for name, teacher in self._built.items():
                restore_state(teacher.state_dict(), self._learned[name])
        return self._built if self._given is None else self._given

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Continues where `get_extra_state` left off."""
        super().set_extra_state(state)
        self._built = {}


def _distances(objective: Objective) -> list[str]:
    return [f"distance/{modality}" for modality in objective.encoders]


def _copied(module: nn.Module) -> dict[str, Tensor]:
    """Weights and buffers, as they are now."""
    state = module.state_dict()
    return {name: value.detach().clone() for name, value in state.items() if isinstance(value, Tensor)}
