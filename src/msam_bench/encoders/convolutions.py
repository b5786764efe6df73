"""Small convolutional encoders: over time, over a picture, and LeNet as MultiBench has it for AV-MNIST."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from msam_bench.encoders.base import ModalitySpec, encodes


@encodes("series", usual_for="series")
def cnn1d(spec: ModalitySpec, features: int, hidden: int = 64) -> nn.Module:
    """Three strided convolutions over time, then the mean over time."""
    sizes = (spec.shape[0], hidden, hidden, features)
    blocks = [
        layer
        for a, b in pairwise(sizes)
        for layer in (nn.Conv1d(a, b, 5, stride=2, padding=2), nn.BatchNorm1d(b), nn.ReLU())
    ]
    return nn.Sequential(*blocks, nn.AdaptiveAvgPool1d(1), nn.Flatten())


@encodes("image", "spectrogram", "frames", usual_for=("image", "spectrogram", "frames"))
def cnn2d(spec: ModalitySpec, features: int, hidden: int = 64) -> nn.Module:
    """Three convolutions with pooling, then the mean over the picture."""
    return Convolutions((spec.shape[-3], max(1, hidden // 2), hidden, features), first=3)


@encodes("image", "spectrogram", "frames")
def lenet(spec: ModalitySpec, features: int) -> nn.Module:
    """As many convolutions with pooling as halve the picture down to one point; channels double up to the features.

    With 48 features for pictures of 28 x 28 and 192 for spectrograms of 112 x 112 it has the channels 6, 12, ... of
    MultiBench (Liang et al. 2021, arXiv 2107.07502).
    """
    stages = max(1, min(spec.shape[-2:]).bit_length() - 1)
    channels = [max(1, features // 2 ** (stages - stage)) for stage in range(1, stages + 1)]
    return Convolutions((spec.shape[-3], *channels), first=5)


class Pictures(nn.Module):
    """A module for pictures `[batch, channels, height, width]`, or the mean over frames `[batch, times, ...]`.

    All frames of a batch pass as one batch of pictures: batch normalisation sees them together.
    """

    def forward(self, pictures: Tensor) -> Tensor:
        """Features `[batch, features]`."""
        if pictures.dim() == 4:
            return self.seen(pictures)
        features = self.seen(pictures.flatten(0, 1))
        return features.reshape(len(pictures), -1, features.shape[1]).mean(1)

    def seen(self, pictures: Tensor) -> Tensor:
        """Features of pictures."""
        raise NotImplementedError


class Convolutions(Pictures):
    """Convolution, batch normalisation, ReLU and pooling by 2, again and again; then the mean over the picture.

    Args:
        channels: Of the picture, and after each convolution.
        first: Size of the first kernel; the others are 3 x 3.
    """

    def __init__(self, channels: tuple[int, ...], first: int) -> None:
        super().__init__()
        kernels = (first, *[3] * len(channels))
        blocks = [
            layer
            for (a, b), kernel in zip(pairwise(channels), kernels, strict=False)
            for layer in (
                nn.Conv2d(a, b, kernel, padding=kernel // 2, bias=False),
                nn.BatchNorm2d(b),
                nn.ReLU(),
                nn.MaxPool2d(2, ceil_mode=first == 3),
            )
        ]
        self.net = nn.Sequential(*blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten())

    def seen(self, pictures: Tensor) -> Tensor:
        """See `Pictures`."""
        features: Tensor = self.net(pictures)
        return features
