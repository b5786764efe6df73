"""av-digits from its public parts, and from the array file that holds all of it."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import official
from clips import write_wav
from msam_bench.data.sets.avdigits.mnist import mnist
from msam_bench.data.sets.avdigits.parts import built
from msam_bench.data.sets.avdigits.ready import ready
from msam_bench.data.sets.avdigits.sounds import recordings
from official import prepared, refused

ROOT = Path(__file__).parents[2]
DEVELOPMENT = [folder / "shared/data/av-digits/av-digits.npz" for folder in ROOT.parents]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return official.avdigits_parts(tmp_path_factory.mktemp("files"))


def test_avdigits_pairs_an_image_with_a_sound_of_its_digit(parts: Path, tmp_path: Path) -> None:
    store = prepared("av-digits", parts, tmp_path / "store")
    dataset = store.load(0)
    assert dataset.shapes == {"image": (1, 28, 28), "audio": (1, 32, 32)}
    assert store.sizes() == {"train": 44, "valid": 4, "test": 12}
    inputs, target = dataset.splits["train"].take(slice(None))
    assert target.tolist() == [row % 10 for row in range(44)]
    assert inputs["audio"].amax((1, 2, 3)).tolist() == [1.0] * 44  # the loudest point of each is 0 dB
    assert inputs["audio"].min() >= 0
    assert store.manifest.header.recipe["parts"] == "public parts"


def test_images_are_their_first_principal_components(parts: Path) -> None:
    made, (images, _) = built(parts), mnist(parts / "mnist")
    values = images["train"].astype("f8")
    mean = values.mean(0)
    _, _, axes = np.linalg.svd(values - mean, full_matrices=False)
    for row, components in ((0, 4), (7, 3)):
        expected = mean + (values[row] - mean) @ axes[:components].T @ axes[:components]
        expected = np.rint(expected.clip(0, 255)).reshape(1, 28, 28)
        # float32 scores round a value that lies half-way to the other side
        assert abs(made.image("train", row, components).double() - torch.from_numpy(expected)).max() <= 1


def test_sounds_of_splits_are_of_other_recordings_and_other_noise(parts: Path) -> None:
    spoken = recordings(parts / "fsdd", parts / "esc")
    numbers = {part: {int(path.stem.split("_")[2]) for path in one.recordings} for part, one in spoken.items()}
    assert numbers == {"train": {9, 10}, "valid": {5}, "test": {0}}
    folds = {part: [path.name for path in one.noises] for part, one in spoken.items()}
    assert folds["valid"] == ["4-400-A-0.wav"]
    assert folds["test"] == ["5-500-A-0.wav"]
    assert folds["train"] == ["1-100-A-0.wav", "2-200-A-0.wav", "3-300-A-0.wav"]


def test_spectrograms_are_used_about_equally_often(tmp_path: Path) -> None:
    made = built(official.avdigits_parts(tmp_path, train=480, test=12))
    for part, bank in (("train", 8), ("valid", 4)):
        of_digit = [pair for pair, label in zip(made.pairs[part], made.labels[part], strict=True) if label == 3]  # type: ignore[attr-defined]
        counts = Counter(of_digit)
        assert max(counts.values()) - min(counts[pair] for pair in made.spoken[part].of(3)) <= 1  # type: ignore[attr-defined]
        assert set(of_digit) <= set(made.spoken[part].of(3))  # type: ignore[attr-defined]
        assert len(made.spoken[part].of(3)) == bank  # type: ignore[attr-defined]


def test_the_noise_is_twelve_decibels_louder(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from msam_bench.data.sets.avdigits import sounds as avdigits_sounds

    seen = []
    monkeypatch.setattr(
        avdigits_sounds.spectrograms, "mel_decibels", lambda wave, *_: seen.append(wave) or torch.zeros(32, 33)
    )
    spoken = recordings(parts / "fsdd", parts / "esc")["train"]
    for number in spoken.of(2):
        spoken.spectrogram(number)
    powers = torch.stack(seen).square().mean(1)
    # noise of power 10^1.2, and 0.44 s of unit power in 0.8 s; they are not exactly orthogonal
    torch.testing.assert_close(powers, torch.full_like(powers, 10**1.2 + 0.44 / 0.8), rtol=0.05, atol=0)


def test_a_sample_is_the_same_whenever_it_is_made(parts: Path) -> None:
    one, other = built(parts), built(parts)
    other.audio("train", 3)
    assert torch.equal(one.audio("train", 8), other.audio("train", 8))
    versions = one.spoken["train"].of(4)  # type: ignore[attr-defined]
    assert len({tuple(one.spoken["train"].spectrogram(v).flatten().tolist()) for v in versions}) == len(versions)  # type: ignore[attr-defined]


def test_mnist_is_read_as_idx_and_as_png_files(parts: Path, tmp_path: Path) -> None:
    images, digits = mnist(parts / "mnist")
    counter = 0
    for part in ("train", "test"):
        for pixels, digit in zip(images[part], digits[part], strict=True):
            path = tmp_path / part / str(digit) / f"{counter}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.reshape(28, 28)).save(path)
            counter += 1
    again, labels = mnist(tmp_path)
    for part in ("train", "test"):
        np.testing.assert_array_equal(again[part], images[part])
        np.testing.assert_array_equal(labels[part], digits[part])


def _cut(files: Path) -> None:
    path = files / "mnist/train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-50])


def _other(files: Path) -> None:
    (files / "mnist/t10k-labels-idx1-ubyte").write_bytes(bytes(40))


def _speechless(files: Path) -> None:
    (files / "fsdd/recordings/7_jackson_5.wav").unlink()


def _empty(files: Path) -> None:
    write_wav(files / "fsdd/recordings/0_jackson_9.wav", np.empty(0, "f4"), 8_000)
    write_wav(files / "fsdd/recordings/0_jackson_10.wav", np.empty(0, "f4"), 8_000)


def _quiet(files: Path) -> None:
    for path in (files / "esc/audio").glob("*-A-0.wav"):
        write_wav(path, np.zeros(22_050, "f4"), 22_050)


FAULTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "mnist": (
        lambda files: shutil.rmtree(files / "mnist"),
        "Expected train-images-idx3-ubyte or train/.*neither",
    ),
    "cut": (_cut, "Expected a packed file in .*train-images-idx3-ubyte.gz, found: "),
    "other": (_other, "Expected an idx file of MNIST in .*t10k-labels-idx1-ubyte, found another or a damaged one"),
    "speech": (lambda files: shutil.rmtree(files / "fsdd"), "Expected recordings like 7_jackson_32.wav in .*fsdd"),
    "digit": (_speechless, "Expected recordings of every digit to valid on in .*, found no 7"),
    "noise": (
        lambda files: (files / "esc/audio/4-400-A-0.wav").unlink(),
        "Expected noises of fold 4 in .*, found none",
    ),
    "empty": (_empty, "Expected a spoken digit in .*0_jackson_.*wav, found an empty file"),
    "quiet": (_quiet, "Expected noise to be heard in .*, found silence in 100 cuts"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_avdigits_says_what_is_wrong_with_its_parts(parts: Path, tmp_path: Path, fault: str) -> None:
    files = tmp_path / "files"
    shutil.copytree(parts, files)
    spoil, says = FAULTS[fault]
    spoil(files)
    assert re.search(says, refused("av-digits", files, tmp_path / "store"))


# ------------------------------------------------------------------------------------------------------ the array file


def arrays() -> dict[str, np.ndarray]:
    draw = np.random.default_rng(0)
    found = {"image_mean": draw.uniform(0, 255, 784).astype("f4"), "image_axes": draw.standard_normal((20, 784))}
    for part, count in (("train", 9), ("valid", 4), ("test", 5)):
        found[f"{part}_image"] = (30 * draw.standard_normal((count, 20))).astype("f2")
        found[f"{part}_audio"] = draw.integers(0, 64, (3, 32, 32)).astype("u1")
        found[f"{part}_pair"] = (np.arange(count) % 3).astype("u2")
        found[f"{part}_label"] = (np.arange(count) % 10).astype("u1")
    return found


def test_the_array_file_gives_what_its_arrays_say(tmp_path: Path) -> None:
    content = arrays()
    np.savez(tmp_path / "av-digits.npz", **content)
    dataset = prepared("av-digits", tmp_path, tmp_path / "store", "k3").load(0)
    inputs, target = dataset.splits["test"].take(slice(None))
    image = content["image_mean"] + content["test_image"][:, :3].astype("f4") @ content["image_axes"][:3]
    expected = torch.from_numpy(image.clip(0, 255) / 255).float().reshape(-1, 1, 28, 28)
    torch.testing.assert_close(inputs["image"], expected, atol=0.5 / 255 + 1e-5, rtol=0)  # whole grey levels
    audio = torch.from_numpy(content["test_audio"][content["test_pair"]])[:, None] / 63
    torch.testing.assert_close(inputs["audio"], audio, atol=1e-6, rtol=0)
    assert target.tolist() == [0, 1, 2, 3, 4]


def test_an_array_file_without_all_arrays_is_refused(tmp_path: Path) -> None:
    content = arrays()
    del content["valid_pair"]
    np.savez(tmp_path / "av-digits.npz", **content)
    said = refused("av-digits", tmp_path, tmp_path / "store")
    assert re.search("Expected the arrays of av-digits in .*av-digits.npz, found: valid_pair", said)
    (tmp_path / "av-digits.npz").write_bytes(b"PK no zip")
    assert "Expected the arrays of av-digits in" in refused("av-digits", tmp_path, tmp_path / "store")


@pytest.mark.skipif(not any(path.is_file() for path in DEVELOPMENT), reason="the array file is not beside the project")
def test_the_development_file_is_read() -> None:
    made = ready(next(path for path in DEVELOPMENT if path.is_file()))
    assert {part: len(labels) for part, labels in made.labels.items()} == {
        "train": 55_000,
        "valid": 5_000,
        "test": 10_000,
    }
    assert made.labels["train"][:10] == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]  # MNIST's first digits
    assert made.audio("test", 9_999).max() == 63
    assert made.image("valid", 0, 4).shape == (1, 28, 28)
