"""Readers of sound, video, pictures and pickles, on real files that the tests make."""

from __future__ import annotations

import io
import math
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import signal as scipy_signal

from clips import POINTER, tone, write_jpg, write_video, write_wav
from msam_bench.data.media import audio, images, opening, pickles, spectrograms, video

RED, GREEN, BLUE = (200, 30, 30), (30, 200, 30), (30, 30, 200)


def noise(samples: int = 66_150) -> NDArray[np.float64]:
    return np.clip(0.3 * np.random.default_rng(0).standard_normal(samples), -1, 1)


# --------------------------------------------------------------------------------------------------------------- sound


@pytest.mark.parametrize("ending", ["wav", "flac", "flv", "mp4"])
def test_sound_is_read_as_it_was_written(tmp_path: Path, ending: str) -> None:
    path, wave = tmp_path / f"clip.{ending}", tone(440, rate=22_050)
    if ending in ("flv", "mp4"):
        write_video(path, [RED, GREEN], sound=wave, rate=22_050)
    else:
        write_wav(path, wave, 22_050)
    signal, rate = audio.sound(path)
    assert (rate, signal.dtype) == (22_050, torch.float32)
    # a lossless file has the 16-bit samples; a compressed one has the tone, and up to three frames of 1,152 more
    assert len(signal) == len(wave) if ending in ("wav", "flac") else 0 <= len(signal) - len(wave) <= 3 * 1152
    loudest = torch.fft.rfft(signal).abs().argmax() * rate / len(signal)
    assert loudest == pytest.approx(440, abs=1)
    assert signal[5000:-5000].square().mean().sqrt() == pytest.approx(0.5 / 2**0.5, rel=0.1)


def test_channels_are_averaged(tmp_path: Path) -> None:
    wave = tone(440)
    write_wav(tmp_path / "two.wav", np.stack([wave, -wave / 2], 1))
    signal, _ = audio.sound(tmp_path / "two.wav")
    torch.testing.assert_close(signal, torch.from_numpy(wave) / 4, atol=2**-15, rtol=0)  # half a step of 16 bits


def test_another_rate_keeps_the_tone() -> None:
    wave = torch.from_numpy(tone(440, seconds=3))
    there = audio.resampled(wave, 16_000, 22_050)
    expected = torch.from_numpy(tone(440, seconds=3, rate=22_050))
    assert len(there) == 66_150
    torch.testing.assert_close(there[100:-100], expected[100:-100], atol=2e-3, rtol=0)  # the filter's passband ripple
    assert audio.resampled(wave, 16_000, 16_000) is wave


def test_signals_are_cut_or_filled_up() -> None:
    assert audio.fitted(torch.ones(4), 6).tolist() == [1, 1, 1, 1, 0, 0]
    assert audio.fitted(torch.arange(4.0), 2).tolist() == [0, 1]


def test_a_file_without_samples_is_an_empty_signal(tmp_path: Path) -> None:
    write_wav(tmp_path / "empty.wav", np.empty(0, "f4"))
    signal, rate = audio.sound(tmp_path / "empty.wav")
    assert (signal.shape, rate) == ((0,), 16_000)
    assert audio.fitted(audio.resampled(signal, rate, 22_050), 3).tolist() == [0, 0, 0]


# ---------------------------------------------------------------------------------------------------- pictures of sound


def numpy_log_magnitude(wave: NDArray[np.float64]) -> NDArray[np.float64]:
    """The definition that librosa documents, computed without it: centred frames, periodic Hann, silence outside."""
    padded = np.concatenate([np.zeros(256), wave, np.zeros(256)])
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(512) / 512)
    frames = [padded[start : start + 512] * hann for start in range(0, len(wave) + 1, 353)]
    time, frequency = np.arange(512), np.arange(257)
    basis = np.exp(-2j * np.pi * np.outer(frequency, time) / 512)
    return np.log(np.abs(basis @ np.array(frames).T) + 1e-7)


def test_the_picture_of_ogm_ge_is_librosas() -> None:
    wave = noise()
    picture = spectrograms.log_magnitude(torch.from_numpy(wave))
    assert picture.shape == (257, 188)
    np.testing.assert_allclose(picture, numpy_log_magnitude(wave), atol=1e-6, rtol=0)
    # librosa 0.11.0, librosa.stft(wave, n_fft=512, hop_length=353) on this wave in float64, printed once
    expected = [0.5469593, 0.07901, 0.6011226, 0.3102378]
    np.testing.assert_allclose(picture[[0, 7, 128, 256], [0, 93, 187, 40]], expected, atol=1e-6, rtol=0)


def test_the_picture_of_pmr_is_scipys() -> None:
    wave = noise(48_000)
    _, _, density = scipy_signal.spectrogram(wave, 16_000, nperseg=512, noverlap=353)
    picture = spectrograms.log_power(torch.from_numpy(wave), 16_000)
    assert picture.shape == (257, 299)
    np.testing.assert_allclose(picture, np.log(density + 1e-7), atol=2e-6, rtol=0)  # values up to 16 in float32
    assert spectrograms.log_power(torch.zeros(160_000), 16_000).shape == (257, 1004)


def test_the_filterbank_is_kaldis() -> None:
    picture = spectrograms.filterbank(torch.from_numpy(noise(48_000)).float(), bands=64)
    assert picture.shape == (64, 298)
    # kaldi-native-fbank on this wave (no dither, Hann, 64 bands), printed once; it computes in float32
    expected = [-5.09556, -1.21102, 2.87663, 6.81108]
    np.testing.assert_allclose(picture[[0, 10, 31, 63], [0, 100, 200, 297]], expected, atol=5e-4, rtol=0)


def test_a_tone_lights_its_band() -> None:
    for hertz in (440.0, 3000.0):
        wave = torch.from_numpy(tone(hertz))
        assert spectrograms.log_magnitude(wave).mean(1).argmax() == round(hertz * 512 / 16_000)
        assert spectrograms.log_power(wave, 16_000).mean(1).argmax() == round(hertz * 512 / 16_000)
        mel = 1127 * math.log(1 + hertz / 700)
        low, high = (1127 * math.log(1 + edge / 700) for edge in (20, 8000))
        band = spectrograms.filterbank(wave, bands=40).mean(1).argmax()
        assert abs(band - ((mel - low) / (high - low) * 41 - 1)) <= 1


@pytest.mark.parametrize("samples", [0, 399])
def test_a_signal_shorter_than_a_frame_has_no_filterbank_frame(samples: int) -> None:
    assert spectrograms.filterbank(torch.zeros(samples)).shape == (128, 0)


def test_silence_has_a_picture() -> None:
    assert spectrograms.log_magnitude(torch.zeros(66_150)).unique().tolist() == pytest.approx([math.log(1e-7)])
    flat = spectrograms.standardised(spectrograms.log_power(torch.zeros(48_000), 16_000))
    assert flat.abs().max() == 0
    assert torch.isfinite(spectrograms.filterbank(torch.zeros(48_000))).all()


def test_pictures_are_standardised_and_fitted() -> None:
    picture = spectrograms.standardised(torch.randn(5, 9) * 3 + 2)
    assert picture.mean().item() == pytest.approx(0, abs=1e-6)
    assert picture.std(correction=0).item() == pytest.approx(1, abs=1e-6)
    assert spectrograms.fitted(torch.ones(2, 3), 4)[:, 3].tolist() == [0, 0]
    assert spectrograms.fitted(torch.ones(2, 3), 2).shape == (2, 2)


# ------------------------------------------------------------------------------------------------- videos and pictures


@pytest.mark.parametrize("ending", ["flv", "mp4"])
@pytest.mark.parametrize(("rate", "expected"), [(1, [RED, GREEN, BLUE]), (2, [RED, RED, GREEN, GREEN, BLUE, BLUE])])
def test_pictures_are_those_at_their_moments(
    tmp_path: Path, ending: str, rate: float, expected: list[tuple[int, int, int]]
) -> None:
    path = tmp_path / f"clip.{ending}"
    write_video(path, [RED, GREEN, BLUE], sound=tone(440, rate=22_050))
    found = video.pictures(path, rate)
    assert (found.shape, found.dtype) == ((len(expected), 3, 32, 48), torch.uint8)
    for shown, colour in zip(found, expected, strict=True):
        # both codecs keep a flat colour within a few steps of 255
        torch.testing.assert_close(shown.float().mean((1, 2)), torch.tensor(colour).float(), atol=6, rtol=0)


def test_no_more_pictures_are_taken_than_asked_for(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.flv", [RED, GREEN, BLUE])
    assert len(video.pictures(tmp_path / "clip.flv", 1, limit=2)) == 2


@pytest.mark.parametrize("ending", ["flv", "mp4"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.8])
def test_a_cut_off_video_is_refused(tmp_path: Path, ending: str, share: float) -> None:
    path = tmp_path / f"clip.{ending}"
    write_video(path, [RED, GREEN, BLUE, RED, GREEN, BLUE], sound=tone(440, 6, 22_050))
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ValueError, match=r"Expected .*clip\.(flv|mp4).*, found.*fetch"):
        video.pictures(path)


def test_a_clip_without_a_picture_is_refused(tmp_path: Path) -> None:
    write_wav(tmp_path / "clip.wav", tone(440))
    (tmp_path / "clip.flv").write_bytes((tmp_path / "clip.wav").read_bytes())
    with pytest.raises(ValueError, match=r"Expected at least one picture in .*clip.flv, found none"):
        video.pictures(tmp_path / "clip.flv")


def test_a_video_without_sound_is_refused(tmp_path: Path) -> None:
    write_video(tmp_path / "clip.mp4", [RED])
    with pytest.raises(ValueError, match=r"Expected sound in .*clip.mp4, found a video without any"):
        audio.sound(tmp_path / "clip.mp4")


def test_a_picture_is_read_in_colour_or_grey_and_sized(tmp_path: Path) -> None:
    write_jpg(tmp_path / "red.jpg", RED)
    colour, grey = images.picture(tmp_path / "red.jpg"), images.picture(tmp_path / "red.jpg", channels=1)
    assert (colour.shape, grey.shape) == ((3, 24, 32), (1, 24, 32))
    torch.testing.assert_close(colour.float().mean((1, 2)), torch.tensor(RED).float(), atol=3, rtol=0)
    assert grey.float().mean().item() == pytest.approx(0.299 * 200 + 0.587 * 30 + 0.114 * 30, abs=3)  # ITU-R 601
    assert images.sized(colour, 16).shape == (3, 16, 16)
    assert images.sized(grey, 16).shape == (1, 16, 16)
    assert images.sized(colour[:, :, :24], 24).shape == (3, 24, 24)


def test_a_picture_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    from PIL import Image

    pixels = Image.new("RGB", (8, 4))
    exif = pixels.getexif()
    exif[0x0112] = 6  # a quarter turn
    pixels.save(tmp_path / "turned.jpg", exif=exif)
    assert images.picture(tmp_path / "turned.jpg").shape == (3, 8, 4)


def test_imagenets_scale_standardises_bytes() -> None:
    scale, shift = images.imagenet_scale()
    for factor, offset, mean, deviation in zip(
        scale, shift, images.IMAGENET_MEAN, images.IMAGENET_DEVIATION, strict=True
    ):
        assert 255 * mean * factor + offset == pytest.approx(0, abs=1e-12)
        assert 255 * (mean + deviation) * factor + offset == pytest.approx(1)


# ----------------------------------------------------------------------------------------------------- what is no file

READERS: dict[str, Callable[[Path], object]] = {
    "clip.wav": audio.sound,
    "clip.mp4": video.pictures,
    "sound.mp4": audio.sound,
    "clip.png": images.picture,
    "clip.pkl": pickles.plain,
}


@pytest.mark.parametrize("name", READERS)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=rf"Expected the file .*{name}, found none: fetch it"):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize("name", READERS)
def test_a_git_lfs_pointer_is_recognised(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(POINTER)
    with pytest.raises(
        ValueError, match=rf"Expected .*{name} itself, found a Git-LFS pointer to it: run 'git lfs pull'"
    ):
        READERS[name](tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"neither sound nor picture nor pickle" * 9])
@pytest.mark.parametrize("name", READERS)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"Expected .*{name}, found.*[^.][:;] .*fetch the file"):
        READERS[name](tmp_path / name)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ValueError, match=r"Expected the package 'av' .* found it missing: pip install 'msam\[media\]'"):
        opening.needed("av")


# ------------------------------------------------------------------------------------------------------------- pickles

VALUES = {
    12: {"text": np.arange(6, dtype="f4").reshape(2, 3), "empty": np.empty((0, 3)), "words": ["a", "ä"]},
    "number": np.float64(0.5),
    "objects": np.array([{"a": 1}, [1, 2]], dtype=object),
    "ints": np.arange(3, dtype=">i8"),
}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_values_come_back(tmp_path: Path, protocol: int) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(VALUES, protocol))
    found = pickles.plain(tmp_path / "x.pkl")
    assert found.keys() == VALUES.keys()
    np.testing.assert_array_equal(found[12]["text"], VALUES[12]["text"])
    assert (found[12]["empty"].shape, found[12]["words"], found["number"]) == ((0, 3), ["a", "ä"], 0.5)
    assert found["objects"][1] == [1, 2]
    np.testing.assert_array_equal(found["ints"], [0, 1, 2])


def test_pickles_of_older_numpy_are_read(tmp_path: Path) -> None:
    content = pickle.dumps(np.arange(3.0), 2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    (tmp_path / "x.pkl").write_bytes(content)
    assert pickles.plain(tmp_path / "x.pkl").tolist() == [0, 1, 2]


class Runs:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, ("1 / 0",)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Runs(), "builtins.eval"),
        (print, "builtins.print"),
        (Path("x"), "pathlib"),
        (OrderedDict(), "collections.Ordered"),
    ],
)
def test_a_pickle_that_wants_more_is_refused_before_it_runs(tmp_path: Path, value: object, name: str) -> None:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([np.zeros(2), value]))
    with pytest.raises(ValueError, match=rf"found a call of {name}.*: nothing of it was run"):
        pickles.plain(tmp_path / "x.pkl")


def test_a_cut_off_pickle_is_refused(tmp_path: Path) -> None:
    whole = io.BytesIO(pickle.dumps(VALUES)).getvalue()
    for length in range(0, len(whole), 7):
        (tmp_path / "x.pkl").write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"found .*: nothing of it was run; fetch the file"):
            pickles.plain(tmp_path / "x.pkl")
