"""Diagnosing and re-learning: encoders that have memorised more than they have learned are put back part of the way."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from msam.batches import moved
from msam.memory import recall, remember
from msam.method import Method, class_indices, in_range
from msam.model_state import restore_state
from msam.objective import Objective
from msam.remembering import Remembering
from msam.types import Batches, Inputs, Outcome


class Relearning(Remembering, Method):
    """Diagnosing and Re-learning (Wei et al. 2024, ECCV, arXiv 2407.09705).

    In the last batches of some epochs, the features of each encoder on the training set and on a held-out set are
    scaled to [-1, 1] and clustered into C clusters; the purity P is the accuracy of each cluster's majority class:

        gap_m   = |P_m(train) - P_m(valid)|
        w_m     = tanh(strength gap_m)
        theta_m <- w_m theta_m(0) + (1 - w_m) theta_m          all parameters of encoder m

    In between, training is joint. This is done after every `every` epochs, at most `times` times. The clusters are
    those of Lloyd's algorithm with ten iterations from C distinct samples, drawn from `seed`; the authors call
    scikit-learn's. Their held-out set is the file that others test on; here it is what `next_epoch(valid=...)` is
    given. The method writes to the encoders itself, in `next_epoch` only; momentum and running statistics go on.

    Passes a batch: 1 forward, 1 backward; at a diagnosis the encoders' forward over both sets. It keeps one copy of the
    encoders.

    Limits: `strength=0` is joint training.

    Args:
        strength: lambda, at least 0; 3 in the authors' settings.
        every: epochs between diagnoses, at least 1; 15 in the code.
        times: how often encoders are put back at most, at least 0; 2 in the code.
        seed: of the clusters' first centres.

    Raises:
        ValueError: if an argument is out of its range.
    """

    stands_alone = "it puts encoders part of the way back to where they started"
    name, family = "relearning", "balance"
    paper = "Wei et al. 2024, ECCV, arXiv 2407.09705"
    # strength: 3 in the authors' settings; every: 15 epochs of 70 and more, scaled down for short runs
    search = {"strength": [0.5, 1.0, 2.0, 3.0, 3.0, 5.0, 10.0], "every": [10.0, 10.0, 10.0, 5.0, 15.0, 10.0, 10.0]}

    needs = frozenset({"separate_encoders"})
    learns_from = frozenset({"train", "valid"})

    remembers = ("epoch", "first")

    def __init__(self, strength: float = 3.0, every: int = 15, times: int = 2, seed: int = 0) -> None:
        super().__init__()
        self.strength, self.every = in_range("strength", strength, 0), int(in_range("every", every, 1))
        self.times, self.seed = int(in_range("times", times, 0)), seed
        self._epoch = 0
        self._first: dict[str, Tensor] = {}

    def backward(self, objective: Objective, inputs: Inputs, target: Tensor) -> Outcome:
        """Adds the plain gradient; keeps the weights that training starts from."""
        if not self._first and self.strength > 0:
            weights = _encoder_weights(objective)
            self._first = remember(objective, {}, weights, [weight.detach().clone() for weight in weights])
        return objective.accumulate_gradient(inputs, target).outcome()

    def next_epoch(self, objective: Objective, train: Batches | None = None, valid: Batches | None = None) -> None:
        """Every few epochs, puts each encoder back by how much purer its training clusters are."""
        self._epoch += 1
        due = self._epoch % self.every == 0 and self._epoch // self.every <= self.times
        if not (due and self._first):
            return
        assert train is not None
        assert valid is not None
        sets = [self._features(objective, batches) for batches in (train, valid)]
        for modality in objective.encoders:
            pure = [purity(features[modality], labels, self.seed) for features, labels in sets]
            self._put_back(objective, modality, float(torch.tanh(self.strength * (pure[0] - pure[1]).abs())))

    def _features(self, objective: Objective, batches: Batches) -> tuple[dict[str, Tensor], Tensor]:
        """Features of a set by modality, `[samples, width]`, and its labels."""
        rows: dict[str, list[Tensor]] = {modality: [] for modality in objective.encoders}
        labels = []
        for inputs, target in moved(objective, batches):
            target = class_indices(self, None, target)
            kept = target >= 0
            for modality, feature in objective.features(inputs).items():
                rows[modality].append(feature[kept].flatten(1).float())
            labels.append(target[kept])
        return {modality: torch.cat(parts) for modality, parts in rows.items()}, torch.cat(labels)

    def _put_back(self, objective: Objective, modality: str, share: float) -> None:
        weights = objective.parameters(modality)
        firsts = recall(objective, self._first, weights)
        named = {str(index): weight for index, weight in enumerate(weights)}
        mixed = [torch.lerp(weight.detach(), first, share) for weight, first in zip(weights, firsts, strict=True)]
        restore_state(named, dict(zip(named, mixed, strict=True)))


def purity(features: Tensor, labels: Tensor, seed: int = 0) -> Tensor:
    """Accuracy of each cluster's majority class, 0-d, with as many clusters as there are classes.

    Args:
        features: `[samples, width]`.
        labels: class indices `[samples]`.
        seed: of the first centres.
    """
    low, high = features.amin(0), features.amax(0)
    scaled = 2 * (features - low) / (high - low).clamp(min=1e-12) - 1
    classes = int(labels.max()) + 1
    members = F.one_hot(clusters(scaled, min(classes, len(scaled)), seed)).to(scaled)
    return (members.T @ F.one_hot(labels, classes).to(scaled)).amax(1).sum() / len(labels)


def clusters(points: Tensor, count: int, seed: int, iterations: int = 10) -> Tensor:
    """The cluster of each point by Lloyd's algorithm from distinct samples, `[samples]`; empty clusters stay put."""
    order = torch.randperm(len(points), generator=torch.Generator().manual_seed(seed))
    centres = points[order[:count].to(points.device)].clone()
    for _ in range(iterations):
        members = F.one_hot(torch.cdist(points, centres).argmin(1), count).to(points)
        sizes = members.sum(0)[:, None]
        centres = torch.where(sizes > 0, (members.T @ points) / sizes.clamp(min=1), centres)
    return torch.cdist(points, centres).argmin(1)


def _encoder_weights(objective: Objective) -> list[Tensor]:
    return [weight for modality in objective.encoders for weight in objective.parameters(modality)]
