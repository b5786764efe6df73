"""Five modalities of different shapes: image, sequence, tokens, points and a plain vector.

Encoders may be anything that turns `[batch, ...]` into features; integer inputs are absent as token 0. At the end,
who contributes what on the test set, by two value functions and two ideas of what an absent modality looks like.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from msam import MSAM, EarlyFusion, FusionModel, Objective, shapley
from msam_bench.data import source

WIDTH = 32


class LastState(nn.Module):
    """A recurrent encoder: the last hidden state."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.recurrent = nn.GRU(width, WIDTH, batch_first=True)

    def forward(self, sequence: Tensor) -> Tensor:
        return self.recurrent(sequence)[1][0]


class Attention(nn.Module):
    """A small Transformer over points; the mean of its outputs."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Linear(width, WIDTH)
        self.layer = nn.TransformerEncoderLayer(WIDTH, nhead=4, dim_feedforward=64, dropout=0.1, batch_first=True)

    def forward(self, points: Tensor) -> Tensor:
        return self.layer(self.embed(points)).mean(dim=1)


class Words(nn.Module):
    """Tokens to the concatenation of their embeddings; 0 is padding."""

    def __init__(self, words: int, length: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, 8, padding_idx=0)
        self.linear = nn.Linear(8 * length, WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        return F.relu(self.linear(self.embed(tokens).flatten(1)))


def shaped(inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The views of a digit in the shapes that they are measured in."""
    return {
        "image": inputs["pix"].view(-1, 1, 16, 15),
        "profile": inputs["fac"].view(-1, 12, 18),  # twelve steps of eighteen numbers
        "shape": ((inputs["mor"] * 4).round().clamp(-10, 10) + 11).long(),  # six tokens of 1 to 21
        "moments": F.pad(inputs["zer"], (0, 1)).view(-1, 12, 4),  # twelve points
        "spectrum": inputs["fou"],
    }


torch.manual_seed(0)
splits = source("digits6").load(seed=0).splits
train, test = splits["train"], splits["test"]
encoders = {
    "image": nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(8 * 7 * 6, WIDTH)),
    "profile": LastState(18),
    "shape": Words(words=22, length=6),
    "moments": Attention(4),
    "spectrum": nn.Sequential(nn.Linear(76, WIDTH), nn.ReLU()),
}
model = FusionModel(encoders, EarlyFusion(dict.fromkeys(encoders, WIDTH), classes=10, hidden=(64,)))
backward = MSAM(rho=0.05).on(model, F.cross_entropy)
optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)

inputs = shaped(train.inputs)
for epoch in range(8):
    for rows in torch.randperm(len(train)).split(40):
        outcome = backward({name: tensor[rows] for name, tensor in inputs.items()}, train.target[rows])
        optimizer.step()
        optimizer.zero_grad()
    print(f"epoch {epoch}: loss {outcome.loss:.3f}, dominant {outcome.notes['dominant']}")

inputs, objective = shaped(test.inputs), Objective(model, F.cross_entropy)
print(f"test accuracy {(objective.logits(inputs).argmax(1) == test.target).float().mean():.3f}")
for value, absent in (("accuracy", "zero-input"), ("accuracy", "mean-feature"), ("loss", "mean-feature")):
    found = shapley(objective, inputs, test.target, value=value, absent=absent)
    parts = ", ".join(f"{name} {share:.3f}" for name, share in found.values.items())
    print(f"contributions by {value}, absent as {absent}: {parts}; dominant {found.dominant}")
