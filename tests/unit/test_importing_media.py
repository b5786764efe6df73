"""Files of the user's own: every ending, depth, orientation, transparency; clips that lack sound or frames."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

from clips import tone, write_video, write_wav
from imports import built, names, note, planned, write_table
from msam_bench.data.media.images import deep_picture, depth_of, picture, sized
from msam_bench.data.media.video import _upright

LABELS = [("cat", "dog")[row % 2] for row in range(12)]
ROWS = range(12)


def folder_of(folder: Path, ending: str, write: Callable[[int, Path], None], **more: Any) -> Path:
    """A folder of twelve files with a table of them."""
    folder.mkdir(exist_ok=True)
    for row in ROWS:
        write(row, folder / f"{row}{ending}")
    write_table(folder / "list.csv", {"file": [f"{row}{ending}" for row in ROWS], "label": LABELS, **more})
    return folder


def pixels(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("ending", [".tif", ".tiff", ".gif", ".jfif", ".bmp", ".webp", ".PNG", ".ppm", ".tga", ".jp2"])
def test_pictures_of_every_ending_are_read(tmp_path: Path, ending: str) -> None:
    kind = {".jfif": "JPEG", ".tga": "TGA"}.get(ending)
    place = folder_of(tmp_path, ending, lambda row, path: Image.fromarray(pixels(row, 9, 9, 3)).save(path, format=kind))
    plan = planned(place)
    assert {name: (column.name, column.spec.kind) for name, column in zip(["it"], plan.columns, strict=True)} == {
        "it": ("file", "image")
    }
    assert plan.read(3)["file"].shape == (3, 9, 9)


@pytest.mark.parametrize("ending", [".aiff", ".aif", ".opus", ".au", ".flac", ".ogg", ".mp3", ".caf"])
def test_sounds_of_every_ending_are_read(tmp_path: Path, ending: str) -> None:
    opus = {".opus": {"format": "OGG", "subtype": "OPUS"}, ".aif": {"format": "AIFF"}}.get(ending, {})
    place = folder_of(tmp_path, ending, lambda row, path: soundfile.write(path, tone(440, 0.3), 16_000, **opus))
    assert [(column.name, column.spec.kind) for column in planned(place).columns] == [("file", "spectrogram")]


def write_sound_alone(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=22_050)
        wave = av.AudioFrame.from_ndarray(tone(440, 1.0, 22_050)[None], format="fltp", layout="mono")
        wave.rate, wave.pts = 22_050, 0
        container.mux(stream.encode(wave))
        container.mux(stream.encode(None))


def test_sound_in_a_container_of_videos_is_sound(tmp_path: Path) -> None:
    assert names(planned(folder_of(tmp_path, ".m4a", lambda row, path: write_sound_alone(path)))) == ["file"]
    place = folder_of(tmp_path, ".mp4", lambda row, path: write_sound_alone(path))
    assert names(planned(place)) == ["file-sound"]


@pytest.mark.parametrize("cell", ["{row}.dcm", "scan{row}.xyz", "a/b/{row}.heic", "{row}.nii"])
def test_files_that_are_not_read_are_refused_by_name(tmp_path: Path, cell: str) -> None:
    files = [cell.format(row=row) for row in ROWS]
    path = write_table(tmp_path / "t.csv", {"file": files, "x": np.sin(ROWS), "label": LABELS})
    with pytest.raises(
        ValueError, match=rf"Expected a file in column 'file' that is read \(.*\), found '{files[0]}' in l"
    ):
        planned(path)
    assert names(planned(path, leave_out=("file",))) == ["x"]


def test_files_of_two_kinds_in_one_column_are_refused(tmp_path: Path) -> None:
    place = folder_of(tmp_path, ".png", lambda row, path: Image.new("RGB", (8, 8)).save(path))
    write_wav(place / "1.wav", tone(440, 0.3))
    write_table(place / "list.csv", {"file": ["0.png", "1.wav", "2.png"] * 4, "label": LABELS})
    with pytest.raises(
        ValueError, match=r"one kind in column 'file', found pictures in line 2 of list.csv and sounds in l"
    ):
        planned(place)


@pytest.mark.parametrize("cell", [r"sub\{row}.png", r".\sub\{row}.png", "sub/{row}.png", " sub/{row}.png "])
def test_paths_are_read_as_they_are_written_on_any_system(tmp_path: Path, cell: str) -> None:
    folder_of(tmp_path / "sub", ".png", lambda row, path: Image.new("RGB", (8, 8), (row, 0, 0)).save(path))
    path = write_table(tmp_path / "t.csv", {"file": [cell.format(row=row) for row in ROWS], "label": LABELS})
    assert planned(path).read(5)["file"][0, 0, 0] == 5


@pytest.mark.parametrize("cell", [r"C:\data\{row}.png", "C:/data/{row}.png", r"..\{row}.png"])
def test_paths_out_of_the_folder_are_refused_as_they_are_written_on_any_system(tmp_path: Path, cell: str) -> None:
    path = write_table(tmp_path / "t.csv", {"file": [cell.format(row=row) for row in ROWS], "label": LABELS})
    with pytest.raises(ValueError, match=r"Expected a file inside .* in line 2 of t.csv: move it there"):
        planned(path)


def test_names_of_samples_that_are_files_are_read(tmp_path: Path) -> None:
    place = folder_of(tmp_path, ".png", lambda row, path: Image.new("RGB", (8, 8), (row, 0, 0)).save(path))
    write_table(place / "list.csv", {"id": [f"{row}.png" for row in ROWS], "label": LABELS})
    assert names(planned(place)) == ["id"]


# -------------------------------------------------------------------------------------------------------- pictures


def test_deep_pictures_keep_their_depth(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (12, 9, 7)).astype(np.uint16)
    place = folder_of(tmp_path / "f", ".png", lambda row, path: Image.fromarray(values[row]).save(path))
    plan = planned(place, size=9)
    assert note(plan, "file").startswith("pictures of 9 x 9 from .png of more than 8 bits")
    read = deep_picture(place / "3.png")
    torch.testing.assert_close(read[1], torch.from_numpy(values[3].astype("f4") / 65535))
    assert plan.read(3)["file"].unique().numel() > 60  # bytes of the same picture have far fewer after clipping
    split = built(tmp_path, place, size=9).load(0).splits["train"]
    assert split.inputs["file"].dtype == torch.float32
    assert float(split.inputs["file"].max()) <= 1.0


@pytest.mark.parametrize(
    ("array", "ending", "depth"),
    [
        (np.zeros((4, 4, 3), np.uint8), ".png", "8"),
        (np.zeros((4, 4), bool), ".png", "8"),
        (np.full((4, 4), 4095, np.uint16), ".tif", "16"),
        (np.full((4, 4), 0.25, np.float32), ".tif", "raw"),
        (np.full((4, 4), 70_000, np.int32), ".tif", "raw"),
    ],
)
def test_the_depth_of_a_picture_is_in_its_head(tmp_path: Path, array: Any, ending: str, depth: str) -> None:
    path = tmp_path / f"p{ending}"
    Image.fromarray(array).save(path)
    assert depth_of(path) == depth
    if depth == "raw":
        torch.testing.assert_close(deep_picture(path)[0], torch.from_numpy(array).float())


def test_bytes_of_a_deep_picture_are_rounded_and_not_cut_off(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 257, 65535, 32896]], np.uint16)).save(tmp_path / "p.png")
    assert picture(tmp_path / "p.png")[0, 0].tolist() == [0, 1, 255, 128]
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "p.tif")
    with pytest.raises(ValueError, match=r"Expected a picture in .*p.tif, found: 32-bit numbers \(F\)"):
        picture(tmp_path / "p.tif")


def test_deep_and_plain_pictures_share_a_scale_and_raw_numbers_do_not(tmp_path: Path) -> None:
    def write(row: int, path: Path) -> None:
        deep = np.full((8, 8), 65535, np.uint16)
        (Image.fromarray(deep) if row == 5 else Image.new("RGB", (8, 8), "white")).save(path)

    place = folder_of(tmp_path, ".png", write)
    assert planned(place).read(0)["file"].eq(1).all()
    assert planned(place).read(5)["file"].eq(1).all()
    Image.fromarray(np.zeros((8, 8), np.float32)).save(place / "7.tif")
    write_table(
        place / "list.csv", {"file": [f"{row}.{'tif' if row == 7 else 'png'}" for row in ROWS], "label": LABELS}
    )
    with pytest.raises(ValueError, match=r"one depth in 'file', found 32 bits in line 9 of list.csv and fewer in line"):
        planned(place)


def test_deep_pictures_are_squashed_like_others(tmp_path: Path) -> None:
    smooth = np.linspace(0, 255, 40 * 30).reshape(40, 30).round()
    Image.fromarray(smooth.astype(np.uint8)).save(tmp_path / "plain.png")
    Image.fromarray((smooth * 257).astype(np.uint16)).save(tmp_path / "deep.png")
    plain, deep = sized(picture(tmp_path / "plain.png"), 16), sized(deep_picture(tmp_path / "deep.png"), 16)
    torch.testing.assert_close(deep, plain / 255, atol=1 / 255, rtol=0)  # the bytes are rounded


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_what_is_transparent_is_white(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (4, 2), (200, 0, 0, 255))
    image.putpixel((3, 1), (0, 0, 0, 0))
    image = image if mode == "RGBA" else image.convert("LA") if mode == "LA" else image.quantize()
    image.save(tmp_path / "p.png")
    assert picture(tmp_path / "p.png")[:, 1, 3].tolist() == [255, 255, 255]
    assert picture(tmp_path / "p.png", 1)[:, 1, 3].tolist() == [255]
    assert picture(tmp_path / "p.png")[0, 0, 0] != 255


@pytest.mark.parametrize(("orientation", "corner"), [(1, (0, 0)), (3, (1, 3)), (6, (0, 1)), (8, (3, 0))])
def test_pictures_are_turned_as_the_camera_was_held(tmp_path: Path, orientation: int, corner: tuple[int, int]) -> None:
    image, exif = Image.new("L", (4, 2)), Image.Exif()
    image.putpixel((0, 0), 255)
    exif[274] = orientation
    image.save(tmp_path / "p.png", exif=exif)
    assert picture(tmp_path / "p.png")[0].nonzero().tolist() == [list(corner)]


def test_frames_are_turned_as_the_camera_was_held() -> None:
    frame = torch.arange(6, dtype=torch.uint8).reshape(1, 2, 3)
    assert torch.equal(_upright(frame, 0), frame)
    assert _upright(frame, 90).tolist() == [[[2, 5], [1, 4], [0, 3]]]  # counter-clockwise
    assert torch.equal(_upright(frame, -180), frame.flip(1, 2))
    assert _upright(frame, -90).tolist() == [[[3, 0], [4, 1], [5, 2]]]


# ----------------------------------------------------------------------------------------------------------- clips


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve clips: the first and the eighth without sound, the fifth without pictures."""

    def write(row: int, path: Path) -> None:
        if row == 4:
            write_sound_alone(path)
        else:
            sound = None if row in (0, 7) else tone(440, 1.0, 22_050)
            write_video(path, [(20 * row, 90, 60)], sound=sound, size=(16, 16))

    return folder_of(tmp_path_factory.mktemp("clips"), ".mp4", write)


def test_clips_that_lack_sound_or_frames_are_refused_wherever_they_stand(clips: Path) -> None:
    with pytest.raises(
        ValueError, match=r"Expected sound in .*0.mp4, found none in line 2 of list.csv and in 2 more of 12"
    ):
        planned(clips)


def test_clips_that_lack_sound_or_frames_are_dropped(clips: Path) -> None:
    plan = planned(clips, missing="drop")
    assert (names(plan), len(plan.plan["all"])) == (["file", "file-sound"], 9)
    assert plan.plan["all"][0].id == "line 3 of list.csv"


def test_clips_that_lack_sound_or_frames_lack_a_modality(tmp_path: Path, clips: Path) -> None:
    store = built(tmp_path, clips, missing="mean", size=8, seconds=0.5)
    assert store.manifest.header.partial == ("file", "file-sound")
    split = store.load(0).splits["train"]
    assert split.presence["file/present"].logical_not().nonzero().flatten().tolist() == [4]
    assert split.presence["file-sound/present"].logical_not().nonzero().flatten().tolist() == [0, 7]
    assert split.inputs["file-sound"][7].eq(0).all()
    assert split.inputs["file-sound"][1].ne(0).any()


def test_an_empty_cell_is_an_absent_file(tmp_path: Path) -> None:
    place = folder_of(tmp_path / "f", ".png", lambda row, path: Image.new("RGB", (8, 8), (row, 9, 9)).save(path))
    files = ["" if row == 0 else f"{row}.png" for row in ROWS]
    write_table(place / "list.csv", {"file": files, "x": np.sin(ROWS), "label": LABELS})
    with pytest.raises(
        ValueError, match=r"Expected a file in column 'file', found '' in line 2 of list.csv: fill it, or"
    ):
        planned(place)
    store = built(tmp_path, place, missing="mean")
    assert store.manifest.header.modalities["file"].shape == (3, 8, 8)
    assert store.manifest.header.partial == ("file",)


def test_a_sound_without_a_sample_is_absent(tmp_path: Path) -> None:
    place = folder_of(tmp_path, ".wav", lambda row, path: write_wav(path, tone(440, 0.0 if row == 6 else 0.3)))
    with pytest.raises(ValueError, match=r"Expected sound in .*6.wav, found none in line 8 of list.csv: fill it"):
        planned(place)
    assert len(planned(place, missing="drop").plan["all"]) == 11


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            np.zeros((2, 6)),
            r"Expected shape \[2, 5\] in every sample of 'file', found \[2, 6\] in line 10 of list.csv: cut",
        ),
        (np.full((2, 5), np.inf), "Expected finite numbers in 'file', found infinite ones in line 10 of list.csv"),
        (np.ones((2, 5)) * 1j, "Expected real numbers in 'file' of 'line 10 of list.csv', found complex128"),
        (
            np.full((2, 5), np.nan),
            "Expected finite numbers in 'file', found nan in line 10 of list.csv: fill it, or say",
        ),
    ],
)
def test_an_array_unlike_the_others_is_named_before_anything_is_written(
    tmp_path: Path, value: Any, message: str
) -> None:
    place = folder_of(tmp_path / "f", ".npy", lambda row, path: np.save(path, value if row == 8 else np.ones((2, 5))))
    with pytest.raises(ValueError, match=message):
        built(tmp_path, place)
    assert [path.name for path in tmp_path.iterdir()] == ["f"]


def test_arrays_of_other_types_than_the_first_keep_their_values(tmp_path: Path) -> None:
    place = folder_of(
        tmp_path / "f", ".npy", lambda row, path: np.save(path, np.full(3, row if row < 5 else row + 0.5))
    )
    split = built(tmp_path, place).load(0).splits["train"]
    assert split.inputs["file"][8].tolist() == [8.5] * 3


def test_a_damaged_file_leaves_nothing_behind(tmp_path: Path) -> None:
    place = folder_of(tmp_path / "f", ".wav", lambda row, path: write_wav(path, tone(440, 0.3)))
    place.joinpath("9.wav").write_bytes(place.joinpath("9.wav").read_bytes()[:60])
    write = place.joinpath("8.wav").write_bytes
    write(b"RIFF")
    with pytest.raises(ValueError, match=r"Expected sound in .*8.wav, found: "):
        built(tmp_path, place)
    assert [path.name for path in tmp_path.iterdir()] == ["f"]
