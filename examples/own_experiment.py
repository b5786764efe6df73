"""An experiment of your own: a Transformer on text, a CNN on pictures, loaders that give dicts, your optimizer.

Stopped at any moment, the same command trains only what is missing. The command line asks the same:
`msam compare --experiment own_experiment:experiment --seeds 6 --workers 2`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

from msam_bench import Experiment


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(32, 4, 64, batch_first=True)
        text = nn.Sequential(nn.Embedding(50, 32), nn.TransformerEncoder(layer, 1))
        image = nn.Sequential(nn.Conv2d(1, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.ReLU(), nn.Flatten())
        self.encoders = nn.ModuleDict({"text": text, "image": image})
        self.head = nn.Linear(32 + 64, 4)

    def fuse(self, features: dict[str, Tensor]) -> Tensor:
        return self.head(torch.cat([features["text"].mean(1), features["image"]], dim=1))

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.fuse({name: encode(inputs[name]) for name, encode in self.encoders.items()})


def load(seed: int) -> dict[str, DataLoader]:
    draw = torch.Generator().manual_seed(seed)

    def sample() -> dict[str, object]:
        label = torch.randint(4, (), generator=draw)
        words, image = torch.randint(4, 50, (8,), generator=draw), torch.rand(1, 12, 12, generator=draw)
        words[0] = label if torch.rand((), generator=draw) < 0.8 else words[0]
        image[0, 3 * label : 3 * label + 2] += 0.3
        return {"inputs": {"text": words, "image": image}, "label": label}

    sizes = {"train": 400, "valid": 100, "test": 200}
    return {name: DataLoader([sample() for _ in range(size)], 32, name == "train") for name, size in sizes.items()}


def optimizer(model: Net, lr: float = 2e-3) -> torch.optim.Optimizer:
    others = [*model.encoders["image"].parameters(), *model.head.parameters()]
    return torch.optim.AdamW([{"params": model.encoders["text"].parameters(), "lr": lr / 2}, {"params": others}], lr)


experiment = Experiment(
    data=load, model=Net, criterion=F.cross_entropy, metrics=["macro_f1"], optimizer=optimizer, epochs=12,
    unpack=lambda batch: (batch["inputs"], batch["label"]), early_stopping=4,
)  # fmt: skip

if __name__ == "__main__":
    print(experiment.diagnose(seeds=6, workers=2).verdict)
    found = experiment.compare("joint,sam,gnp,msam,ogm", seeds=6, workers=2)
    print(found, found.report("reports/own"))
    print(experiment.flatness("joint,msam", seeds=6, workers=2).verdict)
