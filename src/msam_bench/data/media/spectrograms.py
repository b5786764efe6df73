"""Pictures of sound: those of the literature on CREMA-D and AVE, and that of av-digits.

    log_magnitude(signal)                    # OGM-GE: STFT of 512 samples every 353, [257, frames]
    log_power(signal, rate)                  # PMR: windows of 512 samples that share 353, [257, frames]
    filterbank(signal, rate, bands=128)      # Kaldi's log-mel energies, 25 ms every 10 ms, [128, frames]
    mel_decibels(signal, rate, 256, 200, 32) # decibels under the loudest point, [32, frames]

All are computed in float64 and returned in float32, frequency from low to high along the first axis and time along the
second.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

EPSILON = 1e-7
"""What is added before the logarithm: a silent picture is log(1e-7) = -16.1."""

_KALDI_FLOOR = torch.finfo(torch.float32).eps
_PREEMPHASIS = 0.97


def log_magnitude(signal: Tensor, window: int = 512, hop: int = 353) -> Tensor:
    """`log(|STFT| + 1e-7)` with a periodic Hann window and frames centred on multiples of `hop`, silence outside.

    This is the picture of OGM-GE (Peng et al. 2022, arXiv 2203.15332), which librosa makes there. Frames overlap by
    159 samples: the 353 of the code is the hop, though papers quote it as the overlap.

    Args:
        signal: `[samples]`.
        window: Samples of a frame.
        hop: Samples from one frame to the next.

    Returns:
        `[window // 2 + 1, 1 + samples // hop]`.
    """
    hann = torch.hann_window(window, dtype=torch.float64)
    wave = signal.double()
    spectrum = torch.stft(wave, window, hop, window=hann, center=True, pad_mode="constant", return_complex=True)
    return (spectrum.abs() + EPSILON).log().float()


def log_power(signal: Tensor, rate: int, window: int = 512, overlap: int = 353) -> Tensor:
    """`log(power density + 1e-7)` of frames that share `overlap` samples, their mean removed, none padded.

    This is the picture of PMR (Fan et al. 2023, arXiv 2211.07089), which `scipy.signal.spectrogram` makes there: a
    Tukey window with a quarter tapered, one-sided density.

    Args:
        signal: `[samples]`, at least `window` of them.
        rate: Samples a second.
        window: Samples of a frame.
        overlap: Samples that neighbours share.

    Returns:
        `[window // 2 + 1, (samples - overlap) // (window - overlap)]`.
    """
    taper = _tukey(window, 0.25)
    frames = signal.double().unfold(0, window, window - overlap)
    spectrum = torch.fft.rfft((frames - frames.mean(1, keepdim=True)) * taper)
    density = spectrum.abs().square() / (rate * taper.square().sum())
    density[:, 1:-1] *= 2  # negative frequencies; the first and the last bin have none
    picture: Tensor = (density + EPSILON).log().T.float().contiguous()
    return picture


def filterbank(signal: Tensor, rate: int = 16_000, bands: int = 128) -> Tensor:
    """Kaldi's log-mel energies: 25 ms every 10 ms, Hann window, pre-emphasis 0.97, no dither, 20 Hz to half the rate.

    The settings of MMPareto (Wei and Hu 2024, arXiv 2405.17730) and of the audio spectrogram transformer before it.

    Args:
        signal: `[samples]`; its mean is removed first.
        rate: Samples a second.
        bands: Triangles on the mel scale.

    Returns:
        `[bands, frames]`, without any frame if the signal is shorter than one.
    """
    size, step = rate * 25 // 1000, rate * 10 // 1000
    if len(signal) < size:
        return torch.empty(bands, 0)
    frames = (signal - signal.mean()).double().unfold(0, size, step)
    frames = frames - frames.mean(1, keepdim=True)
    before = torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    tapered = (frames - _PREEMPHASIS * before) * torch.hann_window(size, periodic=False, dtype=torch.float64)
    length = 2 ** math.ceil(math.log2(size))
    power = torch.fft.rfft(tapered, length).abs().square()
    energies = power @ _mel_triangles(bands, length, rate, 20.0).T
    picture: Tensor = energies.clamp(min=_KALDI_FLOOR).log().T.float().contiguous()
    return picture


def mel_decibels(signal: Tensor, rate: int, window: int, hop: int, bands: int, lowest: float = 50.0) -> Tensor:
    """Mel energies in decibels under the loudest of the picture; frames are centred, silence is all zero.

    Args:
        signal: `[samples]`.
        rate: Samples a second.
        window: Samples of a Hann frame.
        hop: Samples from one frame to the next.
        bands: Triangles on the mel scale.
        lowest: Hertz where the first triangle begins.

    Returns:
        `[bands, 1 + samples // hop]`, at most 0.
    """
    hann = torch.hann_window(window, dtype=torch.float64)
    spectrum = torch.stft(
        signal.double(), window, hop, window=hann, center=True, pad_mode="constant", return_complex=True
    )
    energies = _mel_triangles(bands, window, rate, lowest) @ spectrum.abs().square()
    loudest = energies.max()
    if loudest == 0:
        return torch.zeros_like(energies).float()
    return (10 * (energies / loudest).clamp(min=torch.finfo(torch.float64).tiny).log10()).float()


def standardised(picture: Tensor) -> Tensor:
    """The picture with mean 0 and variance 1; one that is constant becomes zero."""
    if bool((picture == picture.flatten()[0]).all()):
        return torch.zeros_like(picture)
    return (picture - picture.mean()) / picture.std(correction=0)


def fitted(picture: Tensor, frames: int) -> Tensor:
    """The first `frames` frames of a picture `[..., times]`; zeros where it has ended."""
    return torch.nn.functional.pad(picture[..., :frames], (0, max(0, frames - picture.shape[-1])))


def _tukey(samples: int, share: float) -> Tensor:
    """A periodic window that is flat but for cosine flanks over `share` of it."""
    position = torch.arange(samples, dtype=torch.float64) / samples
    flank = torch.minimum(position, 1 - position) * 2 / share
    return 0.5 * (1 - torch.cos(math.pi * flank.clamp(max=1.0)))


def _mel_triangles(bands: int, length: int, rate: int, lowest: float) -> Tensor:
    """Weights `[bands, length // 2 + 1]`: triangles of equal width and height 1 on the mel scale of Kaldi."""
    low, high = _mel(torch.tensor([lowest, rate / 2], dtype=torch.float64)).tolist()
    step = (high - low) / (bands + 1)
    left = low + step * torch.arange(bands, dtype=torch.float64)[:, None]
    mel = _mel(torch.arange(length // 2 + 1, dtype=torch.float64) * rate / length)
    weights = torch.minimum((mel - left) / step, (left + 2 * step - mel) / step).clamp(min=0.0)
    weights[:, -1] = 0.0  # Kaldi leaves the bin at half the rate out
    return weights


def _mel(hertz: Tensor) -> Tensor:
    return 1127.0 * (1.0 + hertz / 700.0).log()
