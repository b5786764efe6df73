"""What every engine has to train: two small models, fixed batches, twenty steps of SGD with momentum.

    net, method, batches = network(case), METHODS[case.method](), micro_batches(case, rank, ranks)

A step sees the same samples whatever is accumulated and however many ranks there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn

from msam import AGM, MSAM, SAM, EarlyFusion, FusionModel, Joint, LateFusion, Method
from msam.types import Inputs

STEPS, SAMPLES, CLASSES = 20, 32, 3
SHAPES = {"audio": (8,), "image": (2, 5)}
LR, MOMENTUM, RHO, CLIP, SCALE = 0.05, 0.9, 0.3, 0.2, 1024.0
FUSIONS = ("late", "early")
PRECISIONS = ("float32", "bf16", "fp16")
"""What forward passes run in; weights are float32. fp16 comes with a GradScaler, on the CPU."""
METHODS: dict[str, Callable[[], Method]] = {
    "joint": Joint,
    "sam": lambda: SAM(RHO),
    "msam": lambda: MSAM(RHO),
    "msam-encoder": lambda: MSAM(RHO, scope="encoder"),
    "agm": lambda: AGM(1.5, faithful="code"),
}
LITERAL = ("joint", "sam")
"""Methods whose reference knows nothing of msam."""

Batch = tuple[Inputs, Tensor]


@dataclass(frozen=True)
class Case:
    """One trajectory.

    Args:
        method: key of `METHODS`.
        fusion: late or early; the early one has batch normalisation. Dropout is off: engines draw from the stream too.
        precision: of the forward passes.
        accumulate: micro-batches a step.
        clip: whether the gradient's norm is limited.
    """

    method: str
    fusion: str
    precision: str
    accumulate: int
    clip: bool

    @property
    def name(self) -> str:
        return f"{self.method}/{self.fusion}/{self.precision}/{self.accumulate}/{'clip' if self.clip else 'free'}"


CASES = [Case(*factors) for factors in product(METHODS, FUSIONS, PRECISIONS, (1, 4), (False, True))]


def covering(ranks: int) -> list[Case]:
    """The cases of the suite: each method in each precision, on both models (two ranks: on one), settings in turn."""
    settings, chosen = [*product((1, 4), (False, True))], []
    for m, method in enumerate(METHODS):
        for p, precision in enumerate(PRECISIONS):
            fusions = FUSIONS if ranks == 1 else (FUSIONS[(m + p) % 2],)
            for f, fusion in enumerate(fusions):
                accumulate, clip = settings[(m + p + (3 * f if ranks == 1 else m // 2)) % 4]
                chosen.append(Case(method, fusion, precision, accumulate, clip))
    return chosen


class KeywordModel(FusionModel):
    """The same model, called as a Hugging Face model is."""

    def forward(self, audio: Tensor, image: Tensor) -> dict[str, Tensor]:  # type: ignore[override]
        return {"logits": super().forward({"audio": audio, "image": image})}


def network(case: Case, kind: type[FusionModel] = FusionModel) -> FusionModel:
    """The model of a case, always with the same weights."""
    torch.manual_seed(0)
    widths = {"audio": 6, "image": 4}
    flat = {name: torch.Size(shape).numel() for name, shape in SHAPES.items()}
    encoders = {n: nn.Sequential(nn.Flatten(), nn.Linear(flat[n], w), nn.Tanh()) for n, w in widths.items()}
    late = LateFusion(widths, CLASSES)
    return kind(encoders, late if case.fusion == "late" else EarlyFusion(widths, CLASSES, (8,), dropout=0.0))


def micro_batches(case: Case, rank: int, ranks: int) -> list[Batch]:
    """This rank's part of every micro-batch, in order; the classes can be told from the sum of an input's elements."""
    generator = torch.Generator().manual_seed(1)
    total, size = STEPS * SAMPLES, SAMPLES // case.accumulate
    target = torch.arange(total) % CLASSES
    shift = (target - 1.0) / 2
    inputs = {
        name: torch.randn(total, *shape, generator=generator) + shift.view(-1, *[1] * len(shape))
        for name, shape in SHAPES.items()
    }
    rows = [torch.arange(start + rank, start + size, ranks) for start in range(0, total, size)]
    return [({name: tensor[row] for name, tensor in inputs.items()}, target[row]) for row in rows]
