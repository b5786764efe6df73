"""Two models of your own: one that shows its parts, and one that shows nothing but `forward`.

The library asks a model for two names, `encoders` and `fuse`, and makes do without. Shown, they let it reuse encoder
outputs; and M-SAM in its encoder scope needs to know which weights belong to which modality.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam import MSAM
from msam.method import Backward
from msam_bench.data import source

splits = source("digits6").load(seed=0).splits
train, test = splits["train"], splits["test"]


class Open(nn.Module):
    """Shows what belongs to which modality, and how features become logits: `forward(x) == fuse(encoded x)`."""

    def __init__(self) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict({"pix": encoder(240), "fou": encoder(76)})
        self.gate = nn.Linear(128, 64)
        self.head = nn.Linear(64, 10)

    def fuse(self, features: dict[str, Tensor]) -> Tensor:
        pix, fou = features["pix"], features["fou"]
        gate = torch.sigmoid(self.gate(torch.cat([pix, fou], dim=1)))
        return self.head(gate * pix + (1 - gate) * fou)

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.fuse({name: encode(inputs[name]) for name, encode in self.encoders.items()})


class Closed(nn.Module):
    """Somebody else's: takes two arguments, returns two things, and calls its parts what it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.vision, self.spectrum = encoder(240), encoder(76)
        self.head = nn.Linear(128, 10)

    def forward(self, pixels: Tensor, fourier: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.cat([self.vision(pixels), self.spectrum(fourier)], dim=1)
        return self.head(hidden), hidden


def encoder(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(width, 64), nn.ReLU())


def fit(name: str, model: nn.Module, backward: Backward) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    order = torch.Generator().manual_seed(0)
    inputs = {name: train.inputs[name] for name in ("pix", "fou")}
    for _ in range(15):
        for rows in torch.randperm(len(train), generator=order).split(32):
            outcome = backward({name: tensor[rows] for name, tensor in inputs.items()}, train.target[rows])
            optimizer.step()
            optimizer.zero_grad()
    correct = backward.predict(test.inputs).argmax(1) == test.target
    print(f"{name}: test accuracy {correct.float().mean():.3f}, dominant {outcome.notes['dominant']}")


torch.manual_seed(0)
model = Open()
fit("a model with `encoders` and `fuse`", model, MSAM(rho=0.05, scope="encoder").on(model, F.cross_entropy))

model = Closed()
backward = MSAM(rho=0.05, scope="encoder").on(
    model,
    F.cross_entropy,
    call=lambda model, inputs: model(inputs["pix"], inputs["fou"])[0],
    encoders={"pix": model.vision, "fou": model.spectrum},
)
fit("a model with `forward` only, told by `call=` and `encoders=`", model, backward)

try:  # what cannot work is refused before training, and the sentence says what would
    MSAM(scope="shapley").on(Closed(), F.cross_entropy)
except ValueError as error:
    print(f"refused: {error}")
