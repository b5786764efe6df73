"""M-SAM in a raw training loop: three lines differ from a loop that calls `loss.backward()`.

Six views of handwritten digits, one small encoder each, late fusion. Run it with `python examples/01_three_lines.py`.
"""

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, StackDataset

from msam import MSAM, FusionModel, LateFusion
from msam_bench.data import source

torch.manual_seed(0)
splits = source("digits6").load(seed=0).splits
train, test = splits["train"], splits["test"]
loader = DataLoader(StackDataset(StackDataset(**train.inputs), train.target), batch_size=32, shuffle=True)

encoders = {name: nn.Sequential(nn.Linear(*shape, 64), nn.ReLU()) for name, shape in train.shapes.items()}
model = FusionModel(encoders, LateFusion(dict.fromkeys(encoders, 64), classes=10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)

backward = MSAM(rho=0.05).on(model, F.cross_entropy)  # 1: bind the method, once

for epoch in range(10):
    for inputs, target in loader:
        outcome = backward(inputs, target)  # 2: was F.cross_entropy(model(inputs), target).backward()
        optimizer.step()
        optimizer.zero_grad()
    dominant, share = outcome.notes["dominant"], outcome.notes["share"]  # 3: if you want to know
    print(f"epoch {epoch}: loss {outcome.loss:.3f}, dominant {dominant} with a share of {share:.2f}")

model.eval()
with torch.no_grad():
    correct = model(test.inputs).argmax(1) == test.target
print(f"test accuracy {correct.float().mean():.3f}")
