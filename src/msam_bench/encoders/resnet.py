"""ResNet-18 (He et al. 2015, arXiv 1512.03385) without its classifier; weights are named as in torchvision."""

from __future__ import annotations

from torch import Tensor, nn

from msam_bench.encoders.base import ModalitySpec, encodes
from msam_bench.encoders.convolutions import Pictures


@encodes("image", "spectrogram", "frames")
def resnet18(spec: ModalitySpec, features: int) -> nn.Module:
    """The ResNet-18 whose last stage has as many channels as features: 512 is the usual one.

    Raises:
        ValueError: The number of features is not a multiple of 8.
    """
    if features % 8:
        raise ValueError(f"Expected a multiple of 8 as the features of a ResNet-18, found {features}.")
    return ResNet18(spec.shape[-3], features // 8)


class ResNet18(Pictures):
    """Four stages of two residual blocks, then the mean over the picture; of frames, also over time.

    Convolutions start from a normal distribution of variance 2 / fan-out, as in the paper.

    Args:
        channels: Of the picture: 3 for colour, 1 for a spectrogram.
        width: Channels of the first stage; the last one has 8 times as many.
    """

    def __init__(self, channels: int = 3, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(Block(width, width, 1), Block(width, width, 1))
        self.layer2 = nn.Sequential(Block(width, 2 * width, 2), Block(2 * width, 2 * width, 1))
        self.layer3 = nn.Sequential(Block(2 * width, 4 * width, 2), Block(4 * width, 4 * width, 1))
        self.layer4 = nn.Sequential(Block(4 * width, 8 * width, 2), Block(8 * width, 8 * width, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def seen(self, pictures: Tensor) -> Tensor:
        """See `Pictures`."""
        maps = self.maxpool(self.relu(self.bn1(self.conv1(pictures))))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            maps = stage(maps)
        features: Tensor = maps.mean((2, 3))
        return features


class Block(nn.Module):
    """`relu(x + bn(conv(relu(bn(conv(x))))))`; where the shape changes, x passes a 1 x 1 convolution.

    Args:
        before: Channels that come in.
        after: Channels that go out.
        stride: Of the first convolution.
    """

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.downsample = None
        if stride != 1 or before != after:
            self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, maps: Tensor) -> Tensor:
        """`[batch, before, height, width]` to `[batch, after, height / stride, width / stride]`."""
        ahead = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(maps)))))
        out: Tensor = self.relu(ahead + (maps if self.downsample is None else self.downsample(maps)))
        return out
