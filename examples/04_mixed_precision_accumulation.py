"""Everything else stays yours: autocast, loss scaling, accumulation, clipping and a scheduler, as without M-SAM.

The method only adds to `.grad`, by the `backward=` that you give, so scaled gradients come out scaled. Here on the CPU;
on a GPU write "cuda" and torch.float16.
"""

import torch
import torch.nn.functional as F
from torch import nn

from msam import MSAM, FusionModel, LateFusion
from msam_bench.data import source

DEVICE, HALF, MICRO_BATCHES = "cpu", torch.bfloat16, 4

torch.manual_seed(0)
splits = source("digits6").load(seed=0).splits
train, test = splits["train"], splits["test"]
encoders = {name: nn.Sequential(nn.Linear(*shape, 64), nn.ReLU()) for name, shape in train.shapes.items()}
model = FusionModel(encoders, LateFusion(dict.fromkeys(encoders, 64), classes=10)).to(DEVICE)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=6)
scaler = torch.amp.GradScaler(DEVICE)

backward = MSAM(rho=0.05).on(
    model,
    lambda logits, target: F.cross_entropy(logits, target) / MICRO_BATCHES,  # accumulation: a mean of means
    backward=lambda loss: scaler.scale(loss).backward(),
    context=lambda: torch.autocast(DEVICE, HALF),
)

for epoch in range(6):
    for count, rows in enumerate(torch.randperm(len(train)).split(10), start=1):
        batch = {name: tensor[rows].to(DEVICE) for name, tensor in train.inputs.items()}
        outcome = backward(batch, train.target[rows].to(DEVICE))
        if count % MICRO_BATCHES == 0:
            scaler.unscale_(optimizer)
            norm = nn.utils.clip_grad_norm_(model.parameters(), max_norm=5.0)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
    scheduler.step()
    rate = scheduler.get_last_lr()[0]
    print(f"epoch {epoch}: loss {MICRO_BATCHES * outcome.loss:.3f}, gradient norm {norm:.2f}, learning rate {rate:.4f}")

logits = backward.predict({name: tensor.to(DEVICE) for name, tensor in test.inputs.items()}).cpu()
print(f"test accuracy {(logits.argmax(1) == test.target).float().mean():.3f}, loss scale {scaler.get_scale():.0f}")
