"""A pace for each modality, set by held-out data: its own learning rate (MSLR), its own end of training (MSES)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from msam.batches import average_over
from msam.coalition import Absent
from msam.method import Method, class_indices, in_range, one_of
from msam.model_state import restore_state
from msam.objective import Objective
from msam.remembering import Remembering
from msam.types import Batches, Inputs, Outcome


class MSLR(Remembering, Method):
    """Modality-specific learning rates (Yao and Mihalcea 2022, Findings of ACL).

    Each encoder, with its modality's head where the fusion has one, follows the joint loss at a pace of its own, which
    rises while the modality's own held-out accuracy does:

        g_m     <- initial_m ratio_m g_m
        ratio_m  = 1                                                      in the first `window` epochs
                   accuracy_m / mean of accuracy_m in the `window` epochs before    afterwards

    A modality's own accuracy is that of its coalition alone; with late fusion and zero features that is its own head.
    With a shared fusion the encoders alone have paces, and the fusion keeps its gradient. The form is that of AGM's
    code; the paper's could not be compared (another implementation from the paper multiplies the learning rate by the
    ratio every `window` epochs, the last of which is in the mean).

    What this does to `.grad` is what the authors do to the learning rate only for an optimizer whose step is
    proportional to the gradient (SGD without weight decay, whose momentum follows by and by). Adam divides such a
    factor out again. Guard: where a modality's mean accuracy is zero, its ratio is 1.

    Passes a batch: 1 forward, 1 backward; each epoch, one forward of the held-out set.

    Limits: all factors 1 is joint training.

    Args:
        initial: modality -> factor, at least 0; 1 where not named. On CREMA-D, AGM's authors use 0.9 for audio and 1.1
            for image, on AV-MNIST 1.3 and 0.7.
        window: number of epochs that an accuracy is compared with, at least 1; 5 in the code of AGM.
        absent: what the other modalities look like when one is tested alone.

    Raises:
        ValueError: if an argument is out of its range.
    """

    name, family = "mslr", "balance"
    paper = "Yao and Mihalcea 2022, Findings of ACL"
    # its factors belong to named modalities of other data sets: the learning rate
    search = {"lr": [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]}

    remembers = ("accuracies", "ratios")

    needs = frozenset({"separate_encoders", "fuse"})
    learns_from = frozenset({"valid"})

    def __init__(
        self, initial: Mapping[str, float] | None = None, window: int = 5, absent: Absent = "zero-feature"
    ) -> None:
        super().__init__()
        self.initial = {name: in_range(f"initial[{name!r}]", factor, 0) for name, factor in (initial or {}).items()}
        self.window, self.absent = int(in_range("window", window, 1)), absent
        self._accuracies: list[Tensor] = []
        self._ratios: list[float] = []

    def check(self, objective: Objective) -> None:
        """Refuses a model without a modality that has an initial factor."""
        super().check(objective)
        unknown = [name for name in self.initial if name not in objective.encoders]
        if unknown:
            raise ValueError(f"MSLR expects factors for modalities of {list(objective.encoders)}, found {unknown}.")

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient, each modality's part times its factor."""
        ratios = self._ratios or [1.0] * len(objective.encoders)
        pairs = zip(objective.encoders, ratios, strict=True)
        return _paced(objective, inputs, target, {name: self.initial.get(name, 1.0) * ratio for name, ratio in pairs})

    def next_epoch(self, objective: Objective, train: Batches | None = None, valid: Batches | None = None) -> None:
        """Compares each modality's held-out accuracy with the ones before."""
        assert valid is not None
        accuracy = average_over(objective, valid, lambda inputs, target: self._alone(objective, inputs, target)).cpu()
        if len(self._accuracies) >= self.window:
            mean = torch.stack(self._accuracies).mean(0)
            self._ratios = torch.where(mean > 0, accuracy / mean.clamp(min=1e-12), 1.0).tolist()
        self._accuracies = [*self._accuracies, accuracy][-self.window :]

    def _alone(self, objective: Objective, inputs: Inputs, target: Tensor) -> Tensor:
        logits = _alone_logits(objective, inputs, self.absent)
        return (logits.argmax(-1) == class_indices(self, logits[0], target)).float().mean(-1)


class MSES(Remembering, Method):
    """Modality-specific early stopping (Fujimori et al. 2019, ACPR).

    Each modality trains until its own held-out loss `l_m` stops falling, and then stays at its best epoch, while the
    others go on:

        faithful="paper"     L_m  <- 0.6 L_m + 0.4 l_m                     a running mean
                             stop    once L_m has had no new least for `patience` epochs
        faithful="code"      L_m   = 0.6 (l_m of the epoch before) + 0.4 l_m
                             stop    once that has been so for more than `patience` epochs

    A modality's own loss is that of its coalition alone; with late fusion and zero features that is its own head. With
    a shared fusion the encoders alone stop, and the fusion goes on.

    `faithful="paper"` (the default) is the method as it is described. A stopped encoder, with its head where the fusion
    has one, is put back to its best epoch and receives no gradient, which PyTorch's optimizers pass over. Statistics of
    normalisation, and weights that hold zeros instead of no gradient, would move nevertheless; so the best state is put
    back at the end of every epoch.

    `faithful="code"` is what the code of AGM, which has MSES among its baselines, does: when a modality stops, the
    whole model goes back to that modality's best epoch, once, the other modalities with it; afterwards the stopped
    weights receive gradients of zero, which momentum and weight decay still move. That code also puts the optimizer
    back, which a method does not see, and ends the training when all have stopped; here their gradients stay zero.

    The end of an epoch is the one time that this method writes to the model itself.

    Passes a batch: 1 forward, 1 backward; each epoch, one forward of the held-out set.

    Limits: until the first modality stops, joint training.

    Args:
        patience: epochs without improvement, at least 1; 10, 30 and 80 in the code of AGM, 80 on CREMA-D.
        smoothing: weight of the losses before, in [0, 1); 0.6 in the code of AGM.
        absent: what the other modalities look like when one is tested alone.
        faithful: what is smoothed, when it stops and what is put back; see above.

    Raises:
        ValueError: if an argument is out of its range.
    """

    name, family = "mses", "balance"
    paper = "Fujimori et al. 2019, ACPR"
    # patience: 10 epochs in AGM's code
    search = {"patience": [1, 2, 3, 4, 5, 7, 10]}

    remembers = ("before", "smooth", "least", "waited", "best")

    stands_alone = "it puts stopped modalities back to their best epoch, which an ascent would move"
    needs = frozenset({"separate_encoders", "fuse"})
    learns_from = frozenset({"valid"})

    def __init__(
        self,
        patience: int = 10,
        smoothing: float = 0.6,
        absent: Absent = "zero-feature",
        faithful: Literal["paper", "code"] = "paper",
    ) -> None:
        super().__init__()
        self.patience, self.smoothing = int(in_range("patience", patience, 1)), in_range("smoothing", smoothing, 0, 1)
        self.absent, self.faithful = absent, one_of("faithful", faithful, ("paper", "code"))
        self._before: list[float] = []
        self._smooth: list[float] = []
        self._least: list[float] = []
        self._waited: list[int] = []
        self._best: list[dict[str, Tensor]] = []

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the gradient, without the parts of modalities that have stopped."""
        waited = self._waited or [0] * len(objective.encoders)
        factors = {name: float(not self._over(epochs)) for name, epochs in zip(objective.encoders, waited, strict=True)}
        return _paced(objective, inputs, target, factors, zeros=self.faithful == "code")

    def _over(self, waited: int) -> bool:
        """Whether a modality stops after this many epochs without a new least."""
        return waited >= self.patience + (self.faithful == "code")

    def next_epoch(self, objective: Objective, train: Batches | None = None, valid: Batches | None = None) -> None:
        """Measures each modality's held-out loss, keeps its best state, and puts back that of the stopped ones."""
        assert valid is not None
        losses: list[float] = average_over(objective, valid, lambda *batch: self._alone(objective, *batch)).tolist()
        pairs = zip(self._before or losses, losses, strict=True)
        self._smooth = [self.smoothing * old + (1 - self.smoothing) * new for old, new in pairs]
        self._before = self._smooth if self.faithful == "paper" else losses
        self._least = self._least or [float("inf")] * len(losses)
        self._waited = self._waited or [0] * len(losses)
        self._best = self._best or [{} for _ in losses]
        for index, name in enumerate(objective.encoders):
            self._judge(index, objective, name)

    def _judge(self, index: int, objective: Objective, name: str) -> None:
        """Keeps the state at the best epoch of one modality, or lets it wait, or puts that state back."""
        state, running = self._state(objective, name), not self._over(self._waited[index])
        if running:
            self._waited[index] += 1
            if self._smooth[index] < self._least[index]:
                self._least[index], self._waited[index] = self._smooth[index], 0
                self._best[index] = {key: value.detach().clone() for key, value in state.items()}
        if self._over(self._waited[index]) and (running or self.faithful == "paper"):
            restore_state(state, self._best[index])

    def _state(self, objective: Objective, name: str) -> dict[str, Tensor]:
        """What a stop puts back: the modality's encoder and head, in `code` the whole model."""
        parts = {"encoder": objective.encoders[name], **_head(objective, name)}
        if self.faithful == "code":
            parts = {"model": objective.bare}
        entries = ((part, key, value) for part, each in parts.items() for key, value in each.state_dict().items())
        return {f"{part}.{key}": value for part, key, value in entries if isinstance(value, Tensor)}

    def _alone(self, objective: Objective, inputs: Inputs, target: Tensor) -> Tensor:
        logits = _alone_logits(objective, inputs, self.absent)
        return torch.stack([objective.loss(each, target) for each in logits])

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Continues where `get_extra_state` left off; checkpoints of the running mean alone left out `before`."""
        super().set_extra_state({"before": state["smooth"], **state})


def _paced(
    objective: Objective, inputs: Inputs, target: Tensor, factors: Mapping[str, float], *, zeros: bool = False
) -> Outcome:
    """The joint gradient with each modality's part times its factor; zero leaves the part out, unless `zeros`."""
    record = {f"factor/{name}": factor for name, factor in factors.items()}
    if all(factor == 1 for factor in factors.values()):
        return objective.accumulate_gradient(inputs, target).outcome(**record)
    live = objective.forward(inputs, target, local=True)
    gradients = objective.compute_gradients(live.loss, objective.parameters())
    for name, factor in factors.items():
        for weight in _block(objective, name):
            if weight in gradients:
                gradients[weight] = gradients[weight] * factor
                if factor == 0 and not zeros:
                    del gradients[weight]
    objective.add_gradients(gradients)
    objective.share_gradients(gradients)
    return live.outcome(**record)


def _block(objective: Objective, name: str) -> list[Tensor]:
    return objective.parameters(name, head=bool(_head(objective, name)))


def _head(objective: Objective, name: str) -> dict[str, Any]:
    """The modality's part of the fusion, if there is one."""
    heads = getattr(objective.bare, "heads", None)
    return {} if heads is None else {"head": heads[name]}


def _alone_logits(objective: Objective, inputs: Inputs, absent: Absent) -> Tensor:
    """Logits of each modality alone, in evaluation mode, `[modalities, batch, classes]`."""
    return objective.coalition_logits(inputs, torch.eye(len(objective.encoders), dtype=torch.bool), absent)
